//! What the disk holds, what memory shows, and what happens when they meet trouble.

use super::*;
use crate::store::render;
use serde_json::{Value, json};

const ALL: &[&str] = &["operator.admin"];

fn remove(id: &str) -> Op {
    Op::Remove { device_id: id.into() }
}

fn revoke(id: &str) -> Op {
    Op::Revoke { device_id: id.into(), role: "operator".into() }
}

/// What must be durable of a store: everything but the soft members.
fn hard(devices: &Devices) -> Devices {
    let mut devices = devices.clone();
    for device in devices.paired.values_mut() {
        let device = Arc::make_mut(device);
        device.client_mode = None;
        device.display_name = None;
        device.remote_ip = None;
        device.role = None;
        device.scopes = None;
        for token in device.tokens.iter_mut().flat_map(BTreeMap::values_mut) {
            token.last_used_at_ms = None;
        }
    }
    devices
}

#[test]
fn nothing_is_answered_before_it_is_stored() {
    let mut rig = Rig::new();
    rig.connected(local("a", &["operator.read"]));
    let before = rig.memory().clone();
    let key = rig.submit(revoke("a"));
    rig.turn();
    assert!(matches!(rig.asked, Some(HostRequest::StoreDevices { paired: true, pending: false, .. })));
    assert_eq!(rig.memory(), &before, "memory waits for the disk");
    assert!(rig.closed().is_empty() && rig.done.iter().all(|(have, _)| *have != key));
    rig.turn();
    assert!(matches!(rig.outcome(key), Done::Revoked { .. }));
    assert_eq!(rig.memory(), &rig.on_disk());
}

#[test]
fn an_operation_behind_a_change_waits_for_it() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &[])));
    let revoked = rig.submit(revoke("a"));
    let back = rig.submit(Op::Connect(Box::new(with_token(local("a", &[]), &token))));
    rig.turn();
    let late = rig.submit(Op::Connect(Box::new(with_token(local("a", &[]), &token))));
    let listed = rig.submit(Op::List);
    assert_eq!(rig.done.len(), 1, "only the first connect has an answer");
    rig.settle();
    assert!(matches!(rig.outcome(revoked), Done::Revoked { .. }));
    for key in [back, late] {
        assert!(matches!(rig.outcome(key), Done::TokenRejected { .. }));
    }
    assert!(matches!(rig.outcome(listed), Done::Listed));
}

#[test]
fn who_was_removed_changes_nothing_any_more() {
    for rival in [remove("a"), revoke("a")] {
        for turns in 0..2 {
            for conflict in [false, true] {
                let mut rig = Rig::new();
                rig.connected(local("a", ALL));
                rig.connected(local("b", ALL));
                let id = rig.refused(remote("c", &["operator.read"])).request_id;
                if conflict {
                    rig.fault(Fault::Conflict);
                }
                let first = rig.submit(rival.clone());
                // Behind it: in the same batch, or while that one is being written.
                if turns > 0 {
                    rig.turn();
                }
                let approve = Op::Approve { request_id: id.clone(), approver: Scopes::new(ALL) };
                let late = rig.submit_by(Some("a"), approve.clone());
                let lists = rig.submit_by(Some("a"), Op::List);
                let other = rig.submit_by(Some("b"), Op::List);
                rig.settle();
                assert!(matches!(rig.outcome(first), Done::Removed { .. } | Done::Revoked { .. }));
                for key in [late, lists] {
                    assert!(matches!(rig.outcome(key), Done::Failed(DeviceError::CallerGone)), "{turns}");
                }
                assert!(matches!(rig.outcome(other), Done::Listed));
                assert!(!rig.on_disk().paired.contains_key("c"));
                // A device that came back is another caller.
                rig.connected(local("a", ALL));
                let key = rig.submit_by(Some("a"), approve);
                rig.settle();
                assert!(matches!(rig.outcome(key), Done::Approved { .. }));
            }
        }
    }
}

#[test]
fn who_was_removed_on_disk_changes_nothing_any_more() {
    let mut rig = Rig::new();
    rig.connected(local("a", ALL));
    let id = rig.refused(remote("c", &["operator.read"])).request_id;
    rig.edit(|devices| drop(devices.paired.remove("a")));
    let key = rig.submit_by(Some("a"), Op::Approve { request_id: id, approver: Scopes::new(ALL) });
    rig.settle();
    assert!(matches!(rig.outcome(key), Done::Failed(DeviceError::CallerGone)));
    assert_eq!(rig.closed(), [("a".to_owned(), None)]);
    assert!(!rig.on_disk().paired.contains_key("c"));
}

#[test]
fn a_removal_that_failed_silences_nobody() {
    let mut rig = Rig::new();
    rig.connected(local("a", ALL));
    let id = rig.refused(remote("c", &["operator.read"])).request_id;
    rig.fault(Fault::Fails);
    let removed = rig.submit(remove("a"));
    let approved = rig.submit_by(Some("a"), Op::Approve { request_id: id, approver: Scopes::new(ALL) });
    rig.settle();
    assert!(matches!(rig.outcome(removed), Done::Failed(DeviceError::Unavailable(_))));
    assert!(matches!(rig.outcome(approved), Done::Approved { .. }));
}

#[test]
fn a_conflict_is_redone_on_the_new_content() {
    let mut rig = Rig::new();
    rig.connected(local("a", &[]));
    let key = rig.submit(Op::Connect(Box::new(local("b", &[]))));
    rig.turn();
    rig.edit(|devices| {
        let mut third = (*devices.paired["a"]).clone();
        third.device_id = "c".into();
        devices.paired.insert("c".into(), Arc::new(third));
    });
    rig.settle();
    assert!(matches!(rig.outcome(key), Done::Connected(_)));
    assert_eq!(rig.on_disk().paired.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(rig.memory(), &rig.on_disk());
}

#[test]
fn a_redone_operation_decides_anew() {
    let mut rig = Rig::new();
    let id = rig.refused(remote("a", &[])).request_id;
    let key = rig.submit(Op::Approve { request_id: id.clone(), approver: Scopes::new(ALL) });
    rig.turn();
    rig.edit(|devices| devices.pending.clear());
    rig.settle();
    assert!(matches!(rig.outcome(key), Done::Failed(DeviceError::UnknownRequest)));
    assert!(rig.on_disk().paired.is_empty());
}

#[test]
fn a_disk_that_never_rests_is_given_up() {
    let mut rig = Rig::new();
    for _ in 0..TRIES_MAX {
        rig.fault(Fault::Conflict);
    }
    let error = rig.failed(Op::Connect(Box::new(local("a", &[]))));
    assert!(error.to_string().contains("keeps changing"), "{error}");
    assert!(rig.memory().paired.is_empty());
    rig.connected(local("a", &[]));
}

#[test]
fn a_failed_write_is_an_error_and_leaves_memory_and_disk_agreeing() {
    for fault in [Fault::Fails, Fault::FailsHalfway, Fault::FailsLate] {
        let mut rig = Rig::new();
        let token = token_of(&rig.connected(local("a", &["operator.read"])));
        let id = rig.refused(remote("b", &[])).request_id;
        rig.fault(fault);
        let revoked = rig.submit(revoke("a"));
        let approved = rig.submit(Op::Approve { request_id: id.clone(), approver: Scopes::new(ALL) });
        let listed = rig.submit(Op::List);
        rig.settle();
        for key in [revoked, approved] {
            let Done::Failed(error) = rig.outcome(key) else { panic!("{fault:?}: {:?}", rig.outcome(key)) };
            assert!(matches!(error, DeviceError::Unavailable(_)));
            let text = error.to_string();
            assert!(text.contains("devices/paired.json") && text.contains("no space left"), "{text}");
        }
        assert!(matches!(rig.outcome(listed), Done::Listed));
        assert_eq!(rig.memory(), &rig.on_disk(), "{fault:?}");
        let landed = fault != Fault::Fails;
        assert_eq!(rig.memory().paired.contains_key("b"), landed);
        assert_eq!(
            rig.closed(),
            if landed { vec![("a".to_owned(), Some("operator".to_owned()))] } else { vec![] }
        );
        let again = rig.connect(with_token(local("a", &["operator.read"]), &token));
        assert_eq!(matches!(again, Done::Connected(_)), !landed, "{fault:?}: {again:?}");
        assert!(matches!(rig.run(revoke("a")), Done::Revoked { .. }), "the store works again");
    }
}

#[test]
fn the_host_is_asked_about_what_we_know() {
    let mut rig = Rig::new();
    let known = |rig: &Rig| match rig.asked {
        Some(HostRequest::CheckDevices { known }) => known,
        ref other => panic!("another question: {other:?}"),
    };
    rig.connected(local("a", &[]));
    rig.refused(remote("b", &[]));
    rig.submit(Op::List);
    let content = rig.disk.0.lock().unwrap();
    let wanted = DevicesVersion {
        paired: Some(content.mark(Document::DevicesPaired)),
        pending: Some(content.mark(Document::DevicesPending)),
        setup: Some(Version::MISSING),
        nodes: Some(Version::MISSING),
        node_requests: Some(Version::MISSING),
    };
    drop(content);
    assert_eq!(known(&rig), wanted, "a write of ours is no news");
    rig.settle();
    rig.fault(Fault::Fails);
    rig.submit(revoke("a"));
    rig.turn();
    rig.turn();
    assert_eq!(known(&rig), DevicesVersion::default(), "after a failed write nothing is taken for granted");
}

#[test]
fn what_rested_on_a_failed_change_is_decided_without_it() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &[])));
    rig.fault(Fault::Fails);
    let removed = rig.submit(remove("a"));
    let back = rig.submit(Op::Connect(Box::new(with_token(local("a", &[]), &token))));
    rig.settle();
    assert!(matches!(rig.outcome(removed), Done::Failed(DeviceError::Unavailable(_))));
    assert!(matches!(rig.outcome(back), Done::Connected(_)), "{:?}", rig.outcome(back));
    assert!(rig.closed().is_empty());
}

#[test]
fn an_unreadable_store_is_an_error_and_is_not_written() {
    let mut rig = Rig::new();
    rig.connected(local("a", &[]));
    for broken in ["", "{", "[]", r#"{"a": 7}"#, r#"{"a": {"tokens": "SECRET-VALUE"}}"#] {
        rig.put(Document::DevicesPaired, broken);
        rig.restart();
        rig.notices.clear();
        let ops = [Op::Connect(Box::new(local("b", &[]))), Op::List, remove("a"), revoke("a")];
        for op in ops {
            let text = rig.failed(op).to_string();
            assert!(text.contains("devices/paired.json") && text.contains("repair the file"), "{text}");
            assert!(!text.contains("SECRET-VALUE"));
        }
        assert!(!rig.store.is_loaded());
        assert_eq!(rig.text(Document::DevicesPaired), broken);
        let logged = format!("{:?}", rig.notices);
        assert!(logged.contains("devices.unreadable") && !logged.contains("SECRET-VALUE"));
    }
    // Once it is repaired, the next operation works.
    rig.put(Document::DevicesPaired, "{}");
    rig.connected(local("b", &[]));
    assert!(rig.store.is_loaded());
}

#[test]
fn a_store_that_broke_later_is_not_served_from_memory() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &[])));
    rig.disk.0.lock().unwrap().unreadable = true;
    let error = rig.failed(Op::Connect(Box::new(with_token(local("a", &[]), &token))));
    assert!(error.to_string().contains("input/output error"));
    rig.disk.0.lock().unwrap().unreadable = false;
    rig.connected(with_token(local("a", &[]), &token));
}

#[test]
fn loading_at_start_reports_a_broken_file() {
    let mut rig = Rig::new();
    rig.put(Document::DevicesPending, "nonsense");
    let mut out = Vec::new();
    rig.store.load(rig.now, &mut out);
    rig.store.load(rig.now, &mut out);
    assert_eq!(out.len(), 1, "one request at a time");
    rig.take(out);
    rig.settle();
    assert_eq!(rig.order, ["host", "log"]);
}

#[test]
fn a_silent_host_is_given_up() {
    let mut rig = Rig::new();
    let timeout = rig.limits.host_timeout_ms;
    let key = rig.submit(Op::List);
    let deadline = rig.store.next_deadline().unwrap();
    assert_eq!(deadline, rig.now.mono.plus_millis(timeout));
    rig.pass_ms(timeout - 1);
    rig.time_out();
    assert!(rig.done.is_empty(), "not yet");
    rig.pass_ms(1);
    rig.asked = None; // the answer never comes
    rig.time_out();
    assert!(matches!(rig.outcome(key), Done::Failed(DeviceError::Unavailable(_))));
    assert_eq!(rig.store.next_deadline(), None);

    // Silence during a write: the change is not acknowledged, and the disk is looked at again.
    let key = rig.submit(Op::Connect(Box::new(local("a", &[]))));
    rig.turn();
    let write = rig.asked.take().unwrap();
    rig.pass_ms(timeout);
    rig.time_out();
    assert!(matches!(rig.outcome(key), Done::Failed(DeviceError::Unavailable(_))));
    rig.settle();
    assert!(rig.memory().paired.is_empty());
    // The write lands after all: the next operation finds it.
    assert!(matches!(host::perform(&rig.disk, write), HostAnswer::Stored(Ok(_))));
    rig.run(Op::List);
    assert_eq!(rig.memory(), &rig.on_disk());
    assert!(rig.memory().paired.contains_key("a"));
}

#[test]
fn an_idle_hour_writes_nothing() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.read"])));
    rig.refused(remote("b", &[]));
    let writes = rig.writes();
    for minute in 0..60 {
        rig.pass_ms(60_000);
        rig.connected(with_token(remote("a", &["operator.read"]), &token));
        rig.connected(local("a", &[]));
        rig.run(Op::List);
        if minute % 4 == 0 {
            rig.refused(remote("b", &[]));
        }
    }
    assert_eq!(rig.writes(), writes);
}

#[test]
fn last_seen_facts_live_in_memory_and_ride_along() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.admin"])));
    rig.pass_ms(50);
    let mut op = with_token(remote("a", &["operator.other"]), &token);
    op.client.mode = "ui".into();
    op.client.display_name = Some("desk".into());
    rig.connected(op);
    let device = rig.device("a").clone();
    assert_eq!(device.client_mode.as_deref(), Some("ui"));
    assert_eq!(device.display_name.as_deref(), Some("desk"));
    assert_eq!(device.remote_ip.as_deref(), Some("192.0.2.9"));
    assert_eq!(device.scopes, Some(strings(&["operator.admin", "operator.other"])));
    assert_eq!(
        device.approved_scopes,
        Some(strings(&["operator.admin"])),
        "the baseline moves by approval only"
    );
    assert_eq!(rig.on_disk().paired["a"].client_mode.as_deref(), Some("cli"), "not written yet");
    rig.refused(remote("z", &[]));
    assert_eq!(rig.on_disk().paired["a"].client_mode.as_deref(), Some("cli"), "nor with the other document");
    rig.connected(local("b", &[]));
    assert_eq!(*rig.on_disk().paired["a"], device, "now they are");
    // Absent values erase.
    rig.connected(with_token(local("a", &[]), &token));
    assert_eq!((rig.device("a").display_name.as_ref(), rig.device("a").remote_ip.as_ref()), (None, None));
}

#[test]
fn last_seen_facts_survive_an_edit_of_the_file_where_it_did_not_touch_them() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.read"])));
    let mut op = with_token(remote("a", &[]), &token);
    op.client.mode = "ui".into();
    op.client.display_name = Some("desk".into());
    rig.connected(op);
    let request = rig.refused(remote("z", &[])).request_id;
    rig.pass_ms(1_000);
    rig.refused(remote("z", &[]));
    rig.edit(|devices| {
        Arc::make_mut(devices.paired.get_mut("a").unwrap()).display_name = Some("edited".into())
    });
    rig.run(Op::List);
    let device = rig.device("a");
    assert_eq!(device.client_mode.as_deref(), Some("ui"), "kept");
    assert_eq!(device.display_name.as_deref(), Some("edited"), "the file wins");
    assert!(device.tokens.as_ref().unwrap()["operator"].last_used_at_ms.is_some());
    assert_eq!(rig.memory().pending[&request].ts, rig.now.wall.0, "a retry keeps its request alive");
    assert!(rig.closed().is_empty(), "nobody lost anything");
    rig.connected(local("b", &[]));
    assert_eq!(rig.on_disk().paired["a"].client_mode.as_deref(), Some("ui"));
}

#[test]
fn edits_underneath_close_what_lost_its_ground() {
    type Edit = fn(&mut PairedDevice);
    fn entry(device: &mut PairedDevice) -> &mut store::DeviceToken {
        device.tokens.as_mut().unwrap().get_mut("operator").unwrap()
    }
    let rows: [(&str, Edit, Option<Option<&str>>); 9] = [
        ("a new name", |d| d.display_name = Some("desk".into()), None),
        ("wider", |d| d.approved_scopes = Some(strings(&["operator.admin"])), None),
        ("narrower", |d| d.approved_scopes = Some(Vec::new()), Some(None)),
        ("another key", |d| d.public_key = "other".into(), Some(None)),
        ("the role went", |d| d.roles = Some(strings(&["node"])), Some(Some("operator"))),
        ("revoked", |d| entry(d).revoked_at_ms = Some(1), Some(Some("operator"))),
        ("replaced", |d| entry(d).token = "other".into(), Some(Some("operator"))),
        ("narrowed", |d| entry(d).scopes.clear(), Some(Some("operator"))),
        ("no token", |d| d.tokens = None, Some(Some("operator"))),
    ];
    for (name, edit, closed) in rows {
        let mut rig = Rig::new();
        rig.connected(local("a", &["operator.read"]));
        rig.connected(local("b", &["operator.read"]));
        rig.edit(|devices| edit(Arc::make_mut(devices.paired.get_mut("a").unwrap())));
        rig.run(Op::List);
        let wanted: Vec<_> =
            closed.into_iter().map(|role| ("a".to_owned(), role.map(str::to_owned))).collect();
        assert_eq!(rig.closed(), wanted, "{name}");
        assert_eq!(hard(rig.memory()), hard(&rig.on_disk()), "{name}");
        rig.run(Op::List);
        assert_eq!(rig.closed(), wanted, "{name}: told once");
    }
    let mut rig = Rig::new();
    rig.connected(local("a", &[]));
    rig.edit(|devices| devices.paired.clear());
    let done = rig.connect(remote("a", &[]));
    assert!(matches!(done, Done::PairingRequired(_)), "in force from the next operation on");
    assert_eq!(rig.closed(), [("a".to_owned(), None)]);
    assert!(rig.store.seen.is_empty());
}

#[test]
fn an_edit_of_the_approval_drops_the_scopes_noted_beside_it() {
    let mut rig = Rig::new();
    rig.connected(local("a", &["operator.admin"]));
    rig.connected(local("a", &["operator.other"]));
    rig.edit(|devices| {
        let device = Arc::make_mut(devices.paired.get_mut("a").unwrap());
        device.approved_scopes = Some(strings(&["operator.read"]));
    });
    rig.run(Op::List);
    assert_eq!(rig.device("a").scopes, Some(strings(&["operator.admin"])), "the file's");
}

#[test]
fn a_token_for_a_role_outside_the_approval_closes_its_sockets_too() {
    let mut rig = Rig::new();
    rig.connected(local("a", &[]));
    rig.edit(|devices| {
        let device = Arc::make_mut(devices.paired.get_mut("a").unwrap());
        let token =
            store::DeviceToken { token: "t".into(), role: "node".into(), ..store::DeviceToken::default() };
        device.tokens.as_mut().unwrap().insert("node".into(), token);
    });
    rig.run(Op::List);
    assert!(rig.closed().is_empty());
    rig.edit(|devices| {
        let device = Arc::make_mut(devices.paired.get_mut("a").unwrap());
        device.tokens.as_mut().unwrap().get_mut("node").unwrap().revoked_at_ms = Some(1);
    });
    rig.run(Op::List);
    assert_eq!(rig.closed(), [("a".to_owned(), Some("node".to_owned()))]);
}

#[test]
fn a_person_at_the_shell_approves_by_editing_the_files() {
    let mut rig = Rig::new();
    let id = rig.refused(remote("a", &["operator.read"])).request_id;
    rig.edit(|devices| {
        let request = devices.pending.remove(&id).unwrap();
        let mut device = PairedDevice {
            device_id: request.device_id.clone(),
            public_key: request.public_key.clone(),
            role: request.role.clone(),
            roles: request.roles.clone(),
            scopes: request.scopes.clone(),
            approved_scopes: request.scopes.clone(),
            ..PairedDevice::default()
        };
        device.platform = Some("linux".into());
        devices.paired.insert("a".into(), Arc::new(device));
    });
    assert!(rig.connected(remote("a", &["operator.read"])).token.is_some());
}

/// A record as the reference writes it, with members of a later release.
fn reference_store() -> (Value, &'static str) {
    let token = "ippBEYjeFMcFcfb9qKS5fpCJ-kvCUY6t2eS08r6fEvk";
    let store = json!({
        "a": {
            "deviceId": "a", "publicKey": "key-of-a", "platform": "linux", "clientId": "cli", "clientMode": "cli",
            "role": "operator", "roles": ["operator"], "scopes": ["operator.read"], "approvedScopes": ["operator.read"],
            "tokens": {"operator": {
                "token": token, "role": "operator", "scopes": ["operator.read"], "createdAtMs": 5,
                "later": {"deep": [1, null]}
            }},
            "createdAtMs": 5, "approvedAtMs": 6, "approvedVia": "owner", "laterSecret": "x"
        },
        "n": {
            "deviceId": "n", "publicKey": "key-of-n", "role": "node", "roles": ["node"],
            "tokens": {"node": {"token": "t", "role": "node", "scopes": [], "createdAtMs": 7}},
            "createdAtMs": 7, "approvedAtMs": 7
        }
    });
    (store, token)
}

#[test]
fn a_store_of_the_reference_is_read_and_unknown_members_survive() {
    let mut rig = Rig::new();
    let (before, token) = reference_store();
    rig.put(Document::DevicesPaired, &before.to_string());
    assert!(rig.connected(with_token(remote("a", &["operator.read"]), token)).by_device_token);
    assert!(
        rig.connected(node(with_token(remote("n", &[]), "t"))).by_device_token,
        "no baseline is an empty one"
    );
    assert!(rig.writes().is_empty());
    rig.pass_ms(1);
    rig.run(revoke("a"));
    let text = rig.text(Document::DevicesPaired);
    assert!(text.starts_with("{\n  \"a\": {\n") && text.ends_with('}'), "two spaces, no final newline");
    let after: Value = serde_json::from_str(&text).unwrap();
    let mut wanted = before;
    let now = rig.now.wall.0;
    wanted["a"]["tokens"]["operator"]["revokedAtMs"] = json!(now);
    wanted["a"]["tokens"]["operator"]["lastUsedAtMs"] = json!(now - 1);
    wanted["a"]["remoteIp"] = json!("192.0.2.9");
    wanted["n"]["tokens"]["node"]["lastUsedAtMs"] = json!(now - 1);
    wanted["n"]["remoteIp"] = json!("192.0.2.9");
    wanted["n"]["clientId"] = json!("node-host");
    wanted["n"]["clientMode"] = json!("node");
    assert_eq!(after, wanted);
    // Rotation and approval keep them too.
    rig.connected(local("a", &["operator.write"]));
    let after: Value = serde_json::from_str(&rig.text(Document::DevicesPaired)).unwrap();
    assert_eq!(after["a"]["laterSecret"], "x");
    assert_eq!(after["a"]["tokens"]["operator"]["later"], json!({"deep": [1, null]}));
}

#[test]
fn lists_are_redacted_and_sorted() {
    let mut rig = Rig::new();
    let (store, token) = reference_store();
    rig.put(Document::DevicesPaired, &store.to_string());
    rig.connected(local("b", &["operator.read"]));
    rig.connected(node(local("b2", &[])));
    rig.connected(with_token(local("a", &[]), token));
    let older = rig.refused(remote("z", &["operator.read"])).request_id;
    rig.pass_ms(5);
    let newer = rig.refused(remote("y", &[])).request_id;
    let view = rig.store.view(["a".to_owned()].into());

    let v3 = serde_json::to_value(render::paired_rows(&view)).unwrap();
    let ids: Vec<_> = v3.as_array().unwrap().iter().map(|row| row["deviceId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["b", "b2", "n", "a"], "the latest approval first");
    let row = json!({
        "deviceId": "a", "publicKey": "key-of-a", "platform": "linux", "clientId": "cli", "clientMode": "cli",
        "role": "operator", "roles": ["operator"], "scopes": ["operator.read"], "createdAtMs": 5, "approvedAtMs": 6,
        "tokens": [{
            "role": "operator", "scopes": ["operator.read"], "createdAtMs": 5, "lastUsedAtMs": rig.now.wall.0 - 5
        }]
    });
    assert_eq!(v3[3], row);

    let v4 = serde_json::to_value(render::paired_rows_with_presence(&view)).unwrap();
    let mut wanted = row;
    wanted["lastSeenAtMs"] = json!(rig.now.wall.0 - 5);
    wanted["lastSeenReason"] = json!("connect");
    wanted["connected"] = json!(true);
    assert_eq!(v4[3], wanted);
    assert_eq!((&v4[0]["approvedVia"], &v4[0]["connected"]), (&json!("silent"), &json!(false)));
    assert_eq!(v4[2].get("lastSeenAtMs"), None, "never seen by this process");
    for text in [v3.to_string(), v4.to_string()] {
        assert!(!text.contains(token) && !text.contains("approvedScopes") && !text.contains("laterSecret"));
    }

    let pending = serde_json::to_value(render::pending_rows(&view)).unwrap();
    assert_eq!((&pending[0]["requestId"], &pending[1]["requestId"]), (&json!(newer), &json!(older)));
    assert_eq!(
        pending[1],
        json!({
            "requestId": older, "deviceId": "z", "publicKey": "key-of-z", "platform": "linux", "clientId": "cli",
            "clientMode": "cli", "role": "operator", "roles": ["operator"], "scopes": ["operator.read"],
            "remoteIp": "192.0.2.9", "silent": false, "isRepair": false, "ts": rig.now.wall.0 - 5
        })
    );
    // A person's approval is not a silent one.
    let id = rig.refused(remote("b", &["operator.admin"])).request_id;
    rig.approve(&id, ALL).unwrap();
    assert!(!rig.store.seen["b"].silent);
}
