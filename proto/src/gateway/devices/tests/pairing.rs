//! The pairing rules, row by row.

use super::*;
use crate::gateway::devices::pairing::PairingReason;

const ALL: &[&str] = &["operator.admin"];

/// A device of that name, approved by a person for these scopes as an operator.
fn paired(rig: &mut Rig, id: &str, scopes: &[&str]) {
    let required = rig.refused(remote(id, scopes));
    rig.approve(&required.request_id, ALL).unwrap();
}

#[test]
fn a_new_local_device_is_approved_without_a_person() {
    let mut rig = Rig::new();
    let connected = rig.connected(local("a", &["operator.write", "operator.admin"]));
    assert!(connected.approved_silently && !connected.by_device_token);
    assert_eq!(connected.platform.as_deref(), Some("linux"));
    assert_eq!(rig.order, ["host", "host", "resolved", "done"], "decided, stored, told, answered");
    assert_eq!(rig.writes(), [[Document::DevicesPaired]], "pending.json is not touched");

    let device = rig.device("a");
    let now = rig.now.wall.0;
    assert_eq!((device.created_at_ms, device.approved_at_ms), (now, now));
    assert_eq!(device.roles, Some(strings(&["operator"])));
    assert_eq!(device.scopes, Some(strings(&["operator.write", "operator.admin"])), "in the order asked");
    assert_eq!(device.approved_scopes, device.scopes);
    let entry = &device.tokens.as_ref().unwrap()["operator"];
    assert_eq!(entry.scopes, strings(&["operator.admin", "operator.write"]), "sorted");
    assert_eq!((entry.created_at_ms, entry.rotated_at_ms), (now, None));
    let issued = connected.token.clone().unwrap();
    assert_eq!((issued.token.len(), issued.issued_at_ms), (43, now));
    assert_eq!(issued.token, entry.token);
    assert_eq!(&rig.on_disk(), rig.memory());
}

#[test]
fn a_remote_device_waits_for_a_person() {
    let mut rig = Rig::new();
    let required = rig.refused(remote("a", &["operator.read"]));
    assert_eq!(required.reason, PairingReason::NotPaired);
    assert_eq!((required.approved_roles.len(), required.approved_scopes.len()), (0, 0));
    assert_eq!(rig.order, ["host", "host", "requested", "done"]);
    assert_eq!(rig.writes(), [[Document::DevicesPending]]);
    let request = &rig.on_disk().pending[&required.request_id];
    assert_eq!(request.device_id, "a");
    assert_eq!(request.public_key, "key-of-a");
    assert_eq!(request.role.as_deref(), Some("operator"));
    assert_eq!(request.remote_ip.as_deref(), Some("192.0.2.9"));
    assert!(!request.silent && !request.is_repair);
    assert!(rig.memory().paired.is_empty());
}

#[test]
fn asking_again_for_the_same_is_the_same_request_and_costs_nothing() {
    let mut rig = Rig::new();
    let first = rig.refused(remote("a", &["operator.read", "operator.write"]));
    for _ in 0..5 {
        rig.pass_ms(200_000); // each retry keeps it alive beyond the first one's TTL
        let again = rig.refused(remote("a", &["operator.write", "operator.read"]));
        assert_eq!(again.request_id, first.request_id);
        let narrower = rig.refused(remote("a", &["operator.read"]));
        assert_eq!(narrower.request_id, first.request_id);
    }
    assert_eq!(rig.writes().len(), 1);
    assert_eq!(rig.requested(), 1);
}

#[test]
fn asking_for_more_is_another_request_that_takes_the_place_of_the_first() {
    let mut rig = Rig::new();
    let first = rig.refused(remote("a", &["operator.read"]));
    let mut wider = node(remote("a", &["operator.write"]));
    wider.client.display_name = Some("attic".into());
    let second = rig.refused(wider);
    assert_ne!(first.request_id, second.request_id, "whoever approves the first id approves what was shown");
    assert_eq!(rig.requested(), 2);
    assert!(!rig.on_disk().pending.contains_key(&first.request_id));
    let request = rig.on_disk().pending[&second.request_id].clone();
    assert_eq!(request.role.as_deref(), Some("operator"), "the first role stays");
    assert_eq!(request.roles, Some(strings(&["operator", "node"])));
    assert_eq!(request.scopes, Some(strings(&["operator.read", "operator.write"])));
    assert_eq!(request.display_name.as_deref(), Some("attic"));
    // What the answer says is what this connect asked for.
    assert_eq!((second.role, second.scopes), (Role::Node, Scopes::new(["operator.write"])));
}

#[test]
fn a_request_does_not_gather_scopes_without_end() {
    let mut rig = Rig::with_limits(Limits { pairing_scopes_max: 3, ..Limits::default() });
    rig.refused(remote("a", &["s1", "s2"]));
    let id = rig.refused(remote("a", &["s3"])).request_id;
    assert_eq!(rig.memory().pending[&id].scopes, Some(strings(&["s1", "s2", "s3"])));
    // Who asks for ever other things makes neither requests nor events of it.
    let told = rig.requested();
    for scope in ["s4", "s5", "s4", "s5"] {
        assert_eq!(rig.refused(remote("a", &[scope])).request_id, id, "{scope}");
    }
    assert_eq!(rig.memory().pending[&id].scopes, Some(strings(&["s1", "s2", "s3"])), "what was shown stays");
    assert_eq!(rig.requested(), told);
}

#[test]
fn pending_requests_are_bounded_and_the_oldest_go() {
    let mut rig = Rig::with_limits(Limits { pairing_pending_max: 2, ..Limits::default() });
    let ids: Vec<String> = (0..3)
        .map(|i| {
            rig.pass_ms(10);
            rig.refused(remote(&format!("d{i}"), &[])).request_id
        })
        .collect();
    let disk = rig.on_disk().pending;
    assert!(!disk.contains_key(&ids[0]) && disk.contains_key(&ids[1]) && disk.contains_key(&ids[2]));
}

#[test]
fn an_expired_request_is_unknown_and_forgotten_without_a_write() {
    let mut rig = Rig::new();
    let id = rig.refused(remote("a", &[])).request_id;
    rig.pass_ms(300_000);
    assert!(matches!(rig.run(Op::List), Done::Listed));
    assert!(rig.memory().pending.contains_key(&id), "the last moment still counts");
    rig.pass_ms(1);
    assert!(matches!(rig.run(Op::List), Done::Listed));
    assert!(rig.memory().pending.is_empty());
    assert_eq!(rig.writes().len(), 1, "looking is not worth a write");
    assert_eq!(rig.approve(&id, ALL).unwrap_err(), DeviceError::UnknownRequest);
    let next = rig.refused(remote("a", &[])).request_id;
    assert_ne!(next, id);
    assert_eq!(
        rig.on_disk().pending.keys().collect::<Vec<_>>(),
        [&next],
        "the next write drops it from the file"
    );
}

#[test]
fn the_silent_table() {
    let page = |mut op: ConnectOp| {
        op.locality.origin_present = true;
        op.client.id = "openclaw-control-ui".into();
        op.client.mode = "webchat".into();
        op
    };
    let own_page = |op: ConnectOp| {
        let mut op = page(op);
        op.locality.own_origin_page = true;
        op
    };
    let mut foreign_client = own_page(local("a", &["operator.read"]));
    foreign_client.client.id = "cli".into();
    foreign_client.client.mode = "cli".into();
    let mut far_page = own_page(local("a", &["operator.read"]));
    far_page.locality.local = false;

    let op = || local("a", &["operator.read"]);
    let rows: [(&str, ConnectOp, bool); 7] = [
        ("a local tool", op(), true),
        ("a local node", node(local("a", &[])), true),
        ("a remote tool", remote("a", &["operator.read"]), false),
        ("a local page from anywhere", page(op()), false),
        ("our own page", own_page(op()), true),
        ("our own origin, but it says it is a tool", foreign_client, false),
        ("our own page, from afar", far_page, false),
    ];
    for (name, op, silent) in rows {
        let mut rig = Rig::new();
        let done = rig.connect(op);
        assert_eq!(matches!(done, Done::Connected(_)), silent, "{name}: {done:?}");
    }

    // A device that is known as an operator for reading.
    let rows: [(&str, ConnectOp, Option<PairingReason>); 12] = [
        ("more scopes, shared secret", local("a", &["operator.admin"]), None),
        ("more scopes, remote", remote("a", &["operator.admin"]), Some(PairingReason::ScopeUpgrade)),
        ("more scopes, our own page", own_page(local("a", &["operator.admin"])), None),
        (
            "more scopes, another page",
            page(local("a", &["operator.admin"])),
            Some(PairingReason::ScopeUpgrade),
        ),
        ("the node role, local", node(local("a", &[])), Some(PairingReason::RoleUpgrade)),
        (
            "more scopes, but auth was of another kind",
            {
                let mut op = local("a", &["operator.admin"]);
                op.locality.shared_or_none = false;
                op
            },
            Some(PairingReason::ScopeUpgrade),
        ),
        (
            "another platform, local tool",
            {
                let mut op = op();
                op.client.platform = Some("win32".into());
                op
            },
            Some(PairingReason::MetadataUpgrade),
        ),
        (
            "another platform, local app",
            {
                let mut op = op();
                op.client.platform = Some("win32".into());
                op.locality.native_app = true;
                op
            },
            None,
        ),
        (
            "another platform, local app, by its device token or a proxy",
            {
                let mut op = op();
                op.client.platform = Some("win32".into());
                op.locality.native_app = true;
                op.locality.shared_or_none = false;
                op
            },
            Some(PairingReason::MetadataUpgrade),
        ),
        (
            "another platform, local app, where programs of this machine wait",
            {
                let mut op = op();
                op.client.platform = Some("win32".into());
                op.locality.native_app = true;
                op.locality.local_pairs = false;
                op
            },
            Some(PairingReason::MetadataUpgrade),
        ),
        (
            "another platform, our own page",
            {
                let mut op = own_page(op());
                op.client.platform = Some("win32".into());
                op.locality.native_app = true;
                op
            },
            Some(PairingReason::MetadataUpgrade),
        ),
        (
            "another platform with more scopes behind it",
            {
                let mut op = local("a", &["operator.admin"]);
                op.client.platform = Some("win32".into());
                op.locality.native_app = true;
                op.locality.shared_or_none = false;
                op
            },
            Some(PairingReason::MetadataUpgrade),
        ),
    ];
    for (name, op, wanted) in rows {
        let mut rig = Rig::new();
        paired(&mut rig, "a", &["operator.read"]);
        let resolved = rig.resolved();
        match (rig.connect(op), wanted) {
            (Done::Connected(_), None) => assert!(rig.resolved() > resolved, "{name}"),
            (Done::PairingRequired(required), Some(reason)) => {
                assert_eq!(required.reason, reason, "{name}");
                assert_eq!(required.approved_roles, strings(&["operator"]), "{name}");
                assert_eq!(required.approved_scopes, strings(&["operator.read"]), "{name}");
                let request = &rig.memory().pending[&required.request_id];
                assert!(request.is_repair && !request.silent, "{name}");
            }
            (done, wanted) => panic!("{name}: {done:?}, wanted {wanted:?}"),
        }
    }
}

#[test]
fn a_node_becomes_an_operator_silently_only_at_home() {
    let mut rig = Rig::new();
    rig.connected(node(local("a", &[])));
    let required = rig.refused(remote("a", &["operator.read"]));
    assert_eq!(required.reason, PairingReason::RoleUpgrade);
    assert_eq!(required.approved_roles, strings(&["node"]));
    let id = required.request_id;
    // A request that waits for a person is not passed by, not even from this machine.
    assert_eq!(rig.refused(local("a", &["operator.read"])).request_id, id);
    assert!(matches!(rig.run(Op::Reject { request_id: id }), Done::Rejected { .. }));
    assert!(rig.connected(local("a", &["operator.read"])).approved_silently);
    assert_eq!(rig.device("a").roles, Some(strings(&["node", "operator"])));
    assert_eq!(rig.device("a").tokens.as_ref().unwrap().len(), 2, "the node keeps its token");
}

#[test]
fn a_silent_request_left_behind_grants_nothing_by_itself() {
    let mut rig = Rig::new();
    let left = PendingRequest {
        request_id: "left".into(),
        device_id: "a".into(),
        public_key: "key-of-a".into(),
        role: Some("operator".into()),
        scopes: Some(strings(&["operator.admin"])),
        silent: true,
        ts: rig.now.wall.0,
        ..PendingRequest::default()
    };
    rig.edit(|devices| drop(devices.pending.insert("left".into(), Arc::new(left))));
    rig.connected(local("a", &["operator.read"]));
    assert_eq!(rig.device("a").approved_scopes, Some(strings(&["operator.read"])));
    assert!(rig.on_disk().pending.is_empty());
}

#[test]
fn a_request_that_needs_a_person_now_says_so_on_disk() {
    let mut rig = Rig::new();
    let id = rig.refused(remote("a", &[])).request_id;
    rig.edit(|devices| Arc::make_mut(devices.pending.get_mut(&id).unwrap()).silent = true);
    assert_eq!(rig.refused(remote("a", &[])).request_id, id);
    assert!(!rig.on_disk().pending[&id].silent);
}

#[test]
fn the_approver_holds_what_a_new_role_makes_of_old_scopes() {
    // A node's scopes open nothing, so an admin may have approved any.
    let mut rig = Rig::new();
    let id = rig.refused(node(remote("a", &["operator.admin", "elsewhere"]))).request_id;
    rig.approve(&id, ALL).unwrap();
    // As an operator's they open everything, though the request for that role asks for none.
    let id = rig.refused(remote("a", &[])).request_id;
    let error = rig.approve(&id, &["operator.pairing"]).unwrap_err();
    assert_eq!(error, DeviceError::MissingScope("operator.admin".into()));
    rig.refused(remote("a", &["operator.admin"]));
    let id = rig.refused(remote("a", &[])).request_id;
    let error = rig.approve(&id, ALL).unwrap_err();
    assert_eq!(error, DeviceError::MissingScope("elsewhere".into()));
    rig.approve(&id, &["operator.admin", "elsewhere"]).unwrap();

    // A node's scopes are an operator's when the device is one already.
    let mut rig = Rig::new();
    rig.connected(local("a", &["operator.read"]));
    let id = rig.refused(node(remote("a", &["elsewhere"]))).request_id;
    assert_eq!(rig.approve(&id, ALL).unwrap_err(), DeviceError::MissingScope("elsewhere".into()));

    // What an operator has is not asked for again: who renews it grants nothing.
    let mut rig = Rig::new();
    rig.connected(local("a", ALL));
    let mut op = remote("a", &["operator.read"]);
    op.client.platform = Some("win32".into());
    let id = rig.refused(op).request_id;
    rig.approve(&id, &["operator.pairing", "operator.read"]).unwrap();
}

#[test]
fn the_approver_holds_what_is_granted() {
    type Row<'a> = (bool, &'a [&'a str], &'a [&'a str], Option<&'a str>);
    let rows: [Row<'_>; 10] = [
        (false, &["operator.read"], &["operator.pairing"], Some("operator.read")),
        (false, &["operator.read"], &["operator.pairing", "operator.read"], None),
        (false, &["operator.read"], &["operator.pairing", "operator.write"], None),
        (false, &["operator.write", "operator.admin"], &["operator.write"], Some("operator.admin")),
        (false, &["operator.anything"], &["operator.admin"], None),
        (false, &["elsewhere"], &["operator.admin"], Some("elsewhere")),
        (false, &[], &["operator.pairing"], None),
        (true, &[], &["operator.pairing"], Some("operator.admin")),
        (true, &[], &["operator.admin"], None),
        (true, &["elsewhere"], &["operator.admin"], None),
    ];
    for (is_node, asked, held, missing) in rows {
        let mut rig = Rig::new();
        let op = if is_node { node(remote("a", asked)) } else { remote("a", asked) };
        let id = rig.refused(op).request_id;
        let result = rig.approve(&id, held);
        match missing {
            Some(scope) => {
                assert_eq!(
                    result.unwrap_err(),
                    DeviceError::MissingScope(scope.into()),
                    "{asked:?} by {held:?}"
                );
                assert!(rig.on_disk().paired.is_empty() && rig.on_disk().pending.contains_key(&id));
            }
            None => assert_eq!(result.unwrap().device_id, "a"),
        }
    }
    // An operator's request that a node role was merged into needs an admin as well.
    let mut rig = Rig::new();
    rig.refused(remote("a", &[]));
    let id = rig.refused(node(remote("a", &[]))).request_id;
    assert_eq!(rig.approve(&id, &["operator.write"]).unwrap_err(), DeviceError::MissingScope(ALL[0].into()));
}

#[test]
fn an_approval_pins_adds_up_and_renews_the_token() {
    let mut rig = Rig::new();
    let old = token_of(&rig.connected(local("a", &["operator.read", "operator.write"])));
    rig.connected({
        let mut op = local("a", &["operator.read"]);
        op.client.display_name = Some("desk".into());
        op
    });
    rig.pass_ms(1_000);
    let mut op = local("a", &["operator.approvals"]);
    op.client.platform = Some(" Win32".into());
    op.client.device_family = Some("Windows".into());
    let id = rig.refused(op).request_id;
    rig.order.clear();
    let created = rig.device("a").created_at_ms;
    let device = rig.approve(&id, ALL).unwrap();
    assert_eq!(rig.order, ["host", "host", "resolved", "done"]);
    assert_eq!(rig.writes().last().unwrap(), &[Document::DevicesPaired, Document::DevicesPending]);
    assert_eq!((device.created_at_ms, device.approved_at_ms), (created, rig.now.wall.0));
    assert_eq!(device.platform.as_deref(), Some(" Win32"), "as sent");
    assert_eq!(device.display_name, None, "the request's description stands");
    let scopes = strings(&["operator.read", "operator.write", "operator.approvals"]);
    assert_eq!((device.scopes.as_ref(), device.approved_scopes.as_ref()), (Some(&scopes), Some(&scopes)));
    let entry = &device.tokens.as_ref().unwrap()["operator"];
    assert_ne!(entry.token, old);
    assert_eq!(entry.scopes, strings(&["operator.approvals", "operator.read", "operator.write"]));
    assert_eq!((entry.created_at_ms, entry.rotated_at_ms), (created, Some(rig.now.wall.0)));
    assert!(rig.on_disk().pending.is_empty());
    assert!(rig.closed().is_empty(), "an approval closes no socket");
    // Its old token is dead, and approving twice is not possible.
    let mut op = with_token(local("a", &["operator.read"]), &old);
    op.client.platform = Some("win32".into());
    op.client.device_family = Some("windows".into());
    assert!(matches!(rig.connect(op), Done::TokenRejected { fault: TokenFault::Mismatch, .. }));
    assert_eq!(rig.approve(&id, ALL).unwrap_err(), DeviceError::UnknownRequest);
}

#[test]
fn a_rejection_is_final_and_told() {
    let mut rig = Rig::new();
    let id = rig.refused(remote("a", &[])).request_id;
    let done = rig.run(Op::Reject { request_id: id.clone() });
    assert!(matches!(done, Done::Rejected { request_id, device_id } if request_id == id && device_id == "a"));
    assert!(matches!(rig.notices.last(), Some(Notice::Resolved { approved: false, .. })));
    assert!(rig.on_disk().pending.is_empty());
    assert_eq!(rig.failed(Op::Reject { request_id: id }), DeviceError::UnknownRequest);
    assert_eq!(rig.failed(Op::Reject { request_id: "nobody's".into() }), DeviceError::UnknownRequest);
}

#[test]
fn what_counts_as_another_platform() {
    use PairingReason::MetadataUpgrade;
    /// Client, pinned, claimed, reason, pin afterwards.
    type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<PairingReason>, Option<&'a str>);
    let rows: [Row<'_>; 15] = [
        ("cli", Some("linux"), Some("linux"), None, Some("linux")),
        ("cli", Some("linux"), Some(" LINUX "), None, Some("linux")),
        ("cli", Some("linux"), Some("win32"), Some(MetadataUpgrade), Some("linux")),
        ("cli", Some("linux"), None, Some(MetadataUpgrade), Some("linux")),
        ("cli", None, Some("linux"), None, None),
        ("cli", Some(" "), Some("linux"), None, None),
        ("openclaw-ios", Some("ios 18.3"), Some("iOS 18.4"), None, Some("iOS 18.4")),
        ("openclaw-android", Some("android 15"), Some("android 16"), None, Some("android 16")),
        ("openclaw-ios", Some("ios 18.3"), Some("ios 18.4 evil"), Some(MetadataUpgrade), Some("ios 18.3")),
        ("openclaw-ios", Some("ios 18.3"), Some("android 15"), Some(MetadataUpgrade), Some("ios 18.3")),
        ("cli", Some("linux 6.1"), Some("linux 6.2"), Some(MetadataUpgrade), Some("linux 6.1")),
        ("node-host", Some("darwin"), Some("macos"), None, Some("darwin")),
        ("node-host", Some("windows"), Some("win32"), None, Some("windows")),
        ("cli", Some("darwin"), Some("macos"), Some(MetadataUpgrade), Some("darwin")),
        ("node-host", Some("linux"), Some("win32"), Some(MetadataUpgrade), Some("linux")),
    ];
    for (client, stored, claimed, reason, after) in rows {
        for is_family in [false, true] {
            let mut rig = Rig::new();
            let with = |text: Option<&str>| {
                let mut op = local("a", &["operator.read"]);
                op.client.id = client.into();
                let text = text.map(str::to_owned);
                if is_family {
                    op.client.device_family = text
                } else {
                    op.client.platform = text
                }
                op
            };
            rig.connected(with(stored));
            let writes = rig.writes().len();
            match rig.connect(with(claimed)) {
                Done::Connected(connected) => {
                    assert_eq!(reason, None, "{client} {stored:?} {claimed:?}");
                    let pin = if is_family { connected.device_family } else { connected.platform };
                    assert_eq!(pin.as_deref(), after, "{client} {stored:?} {claimed:?}");
                    assert_eq!(rig.writes().len(), writes, "a pin that follows is not worth a write");
                }
                Done::PairingRequired(required) => {
                    assert_eq!(Some(required.reason), reason, "{client} {stored:?} {claimed:?}");
                }
                done => panic!("{done:?}"),
            }
        }
    }
}

#[test]
fn paired_devices_are_bounded() {
    let mut rig = Rig::with_limits(Limits { devices_paired_max: 2, ..Limits::default() });
    rig.connected(local("a", &[]));
    let id = rig.refused(remote("c", &[])).request_id;
    rig.connected(local("b", &[]));
    assert_eq!(rig.failed(Op::Connect(Box::new(local("d", &[])))), DeviceError::Full(2));
    assert_eq!(rig.approve(&id, ALL).unwrap_err(), DeviceError::Full(2));
    assert!(rig.memory().pending.contains_key(&id), "it can be approved once there is room");
    rig.connected(local("a", &["operator.read"])); // a known device may still grow
    assert!(matches!(rig.run(Op::Remove { device_id: "b".into() }), Done::Removed { .. }));
    rig.approve(&id, ALL).unwrap();
}

#[test]
fn a_record_with_another_key_gives_nothing() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.admin"])));
    rig.edit(|devices| Arc::make_mut(devices.paired.get_mut("a").unwrap()).public_key = "another".into());
    let done = rig.connect(with_token(local("a", &["operator.read"]), &token));
    assert!(matches!(done, Done::TokenRejected { fault: TokenFault::Mismatch, .. }));
    let required = rig.refused(remote("a", &["operator.read"]));
    assert_eq!(required.reason, PairingReason::NotPaired);
    assert!(required.approved_scopes.is_empty(), "what another key was approved for is not told");
    let device = rig.approve(&required.request_id, ALL).unwrap();
    assert_eq!(device.approved_scopes, Some(strings(&["operator.read"])));
    assert_eq!(device.tokens.as_ref().unwrap()["operator"].scopes, strings(&["operator.read"]));
}
