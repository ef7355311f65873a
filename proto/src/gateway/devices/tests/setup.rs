//! Setup codes: once, in time, for what they were made for, by whoever came first.

use super::*;
use crate::gateway::devices::pairing::PairingReason;
use crate::gateway::devices::setup::{Redeemed, SetupAccess, SetupIssued};

const LIMITED: &[&str] =
    &["operator.approvals", "operator.questions", "operator.read", "operator.talk.secrets", "operator.write"];

fn issue(rig: &mut Rig, access: SetupAccess) -> SetupIssued {
    match rig.run(Op::IssueSetup { access, by: Some("admin".into()) }) {
        Done::SetupIssued(issued) => *issued,
        other => panic!("no code: {other:?}"),
    }
}

fn rejected(rig: &mut Rig, op: ConnectOp) {
    match rig.connect(op) {
        Done::SetupRejected => {}
        other => panic!("not rejected: {other:?}"),
    }
}

/// A node host from afar with a code.
fn host(id: &str, code: &Secret) -> ConnectOp {
    with_code(node(remote(id, &[])), code)
}

#[test]
fn a_phone_is_let_in_once_with_a_token_for_each_role() {
    for (access, scopes) in [
        (SetupAccess::Limited, LIMITED.to_vec()),
        (SetupAccess::Full, [&["operator.admin"], LIMITED].concat()),
    ] {
        let mut rig = Rig::new();
        let issued = issue(&mut rig, access);
        assert_eq!(issued.expires_at_ms, rig.now.wall.0 + 600_000);
        assert_eq!(rig.writes(), [[Document::DevicesSetup]]);
        let connected = rig.connected(phone("a", &issued.token));
        assert!(connected.by_setup && !connected.by_device_token && connected.approved_silently);
        let own = connected.token.as_ref().unwrap();
        assert!(own.scopes.is_empty() && own.token.len() == 43);
        let [(role, other)] = &connected.handoff[..] else { panic!("one other role") };
        assert_eq!((role.as_str(), &other.scopes), ("operator", &strings(&scopes)));
        assert_ne!(other.token, own.token);
        let redeemed =
            Redeemed { setup_id: issued.setup_id.clone(), access, device_id: "a".into(), device_name: None };
        assert_eq!(connected.redeemed, Some(redeemed));
        let handed = other.token.clone();
        // Both are durable, and the code is gone from the disk, in one write.
        assert_eq!(rig.writes()[1], [Document::DevicesSetup, Document::DevicesPaired]);
        assert!(rig.on_disk().setup.0.is_empty());
        assert_eq!(rig.device("a").roles, Some(strings(&["node", "operator"])));
        let mut operator = with_token(remote("a", &scopes), &handed);
        operator.client = phone("a", &issued.token).client;
        assert_eq!(token_of(&rig.connected(operator)), handed);
        // Any further use is none, by the same device too.
        rejected(&mut rig, phone("a", &issued.token));
        rejected(&mut rig, phone("b", &issued.token));
    }
}

#[test]
fn a_code_is_for_what_it_was_made_for() {
    let mut rig = Rig::new();
    let issued = issue(&mut rig, SetupAccess::Node);
    // CVE-2026-41386: neither another role, nor scopes, nor a page, whoever shows it and wherever.
    rejected(&mut rig, with_code(remote("a", &[]), &issued.token));
    rejected(&mut rig, with_code(local("a", &["operator.admin"]), &issued.token));
    rejected(&mut rig, with_code(node(local("a", &["operator.read"])), &issued.token));
    assert_eq!(rig.on_disk().setup.0.len(), 1, "a wrong use spends nothing");
    let connected = rig.connected(host("a", &issued.token));
    assert!(connected.handoff.is_empty());
    assert_eq!(rig.device("a").roles, Some(strings(&["node"])));
    assert_eq!(rig.device("a").approved_scopes, None);

    let issued = issue(&mut rig, SetupAccess::Limited);
    rejected(&mut rig, with_code(local("b", &["operator.admin"]), &issued.token));
    rejected(&mut rig, with_code(local("b", &["operator.pairing"]), &issued.token));
}

#[test]
fn the_owners_link_opens_one_browser() {
    let owner: Vec<&str> = [&["operator.admin", "operator.pairing"], LIMITED].concat();
    let page = |id: &str, scopes: &[&str], token: &Secret| {
        let mut op = with_code(remote(id, scopes), token);
        op.client.id = "openclaw-control-ui".into();
        op.locality.origin_present = true;
        op
    };
    let mut rig = Rig::new();
    let issued = issue(&mut rig, SetupAccess::ControlUiOwner);
    // Another kind of client waits for a person, and the link is bound to it.
    let required = rig.refused(with_code(remote("a", &["operator.read"]), &issued.token));
    assert!(required.by_setup && required.reason == PairingReason::NotPaired);
    rejected(&mut rig, page("b", &owner, &issued.token));

    let issued = issue(&mut rig, SetupAccess::ControlUiOwner);
    rejected(&mut rig, with_code(node(remote("b", &[])), &issued.token));
    let connected = rig.connected(page("b", &owner, &issued.token));
    assert!(connected.handoff.is_empty() && connected.token.is_some());
    assert_eq!(rig.device("b").roles, Some(strings(&["operator"])));
    let mut scopes = owner.clone();
    scopes.sort_unstable();
    assert_eq!(rig.device("b").approved_scopes, Some(strings(&scopes)));
    rejected(&mut rig, page("b", &owner, &issued.token));
    rejected(&mut rig, page("c", &owner, &issued.token));
}

#[test]
fn a_client_that_a_code_is_not_made_for_waits_and_the_code_waits_with_it() {
    let mut rig = Rig::new();
    let issued = issue(&mut rig, SetupAccess::Full);
    let required = rig.refused(host("a", &issued.token));
    assert!(required.by_setup && required.reason == PairingReason::NotPaired);
    // The first device that shows it is the only one.
    rejected(&mut rig, host("b", &issued.token));
    rejected(&mut rig, phone("c", &issued.token));
    let mut twin = host("a", &issued.token);
    twin.public_key = "another".into();
    rejected(&mut rig, twin);
    // Waiting again is the same request and costs nothing.
    let writes = rig.writes().len();
    assert_eq!(rig.refused(host("a", &issued.token)).request_id, required.request_id);
    assert_eq!((rig.writes().len(), rig.requested()), (writes, 1));
    rig.approve(&required.request_id, &["operator.admin"]).unwrap();
    // Row `setup-codes`: after the approval it still works, for that device, once, and hands nothing on.
    let connected = rig.connected(host("a", &issued.token));
    assert!(connected.handoff.is_empty() && connected.token.is_some());
    assert_eq!(connected.redeemed.as_ref().map(|redeemed| redeemed.access), Some(SetupAccess::Full));
    rejected(&mut rig, host("a", &issued.token));
}

#[test]
fn a_code_ends_after_ten_minutes() {
    let mut rig = Rig::new();
    let issued = issue(&mut rig, SetupAccess::Node);
    rig.pass_ms(600_000);
    rig.refused(with_code(node_of_another_kind("a"), &issued.token));
    rig.pass_ms(1);
    rejected(&mut rig, host("a", &issued.token));
    assert!(rig.memory().setup.0.is_empty());
    assert_eq!(rig.on_disk().setup.0.len(), 1, "looking is not worth a write");
    issue(&mut rig, SetupAccess::Node);
    assert_eq!(rig.on_disk().setup.0.len(), 1, "the next write drops it");
}

fn node_of_another_kind(id: &str) -> ConnectOp {
    let mut op = node(remote(id, &[]));
    op.client.id = "test".into();
    op
}

#[test]
fn a_code_of_the_older_release_only_lets_its_bearer_ask() {
    let mut rig = Rig::new();
    let code = Secret::new("tHeOlDoNe").unwrap();
    let now = rig.now.wall.0;
    rig.put(
        Document::DevicesSetup,
        &format!(r#"{{"tHeOlDoNe":{{"token":"tHeOlDoNe","ts":{now},"issuedAtMs":{now}}}}}"#),
    );
    // On this machine too: it says nothing of what it opens.
    let required = rig.refused(with_code(local("a", &["operator.admin"]), &code));
    rig.approve(&required.request_id, &["operator.admin"]).unwrap();
    let connected = rig.connected(with_code(local("a", &["operator.admin"]), &code));
    assert_eq!(connected.redeemed, None);
    assert_eq!(rig.text(Document::DevicesSetup), "{}");
}

#[test]
fn what_the_older_release_does_not_know_stays_readable_to_it() {
    let mut rig = Rig::new();
    let issued = issue(&mut rig, SetupAccess::Limited);
    let text: serde_json::Value = serde_json::from_str(&rig.text(Document::DevicesSetup)).unwrap();
    let entry = &text[issued.token.expose()];
    assert_eq!(entry["token"], issued.token.expose());
    assert_eq!((&entry["ts"], &entry["issuedAtMs"]), (&rig.now.wall.0.into(), &rig.now.wall.0.into()));
    // A member that somebody else wrote stays.
    let mut edited = text.clone();
    edited[issued.token.expose()]["theirs"] = 5.into();
    rig.put(Document::DevicesSetup, &edited.to_string());
    rig.refused(with_code(node_of_another_kind("a"), &issued.token));
    let text: serde_json::Value = serde_json::from_str(&rig.text(Document::DevicesSetup)).unwrap();
    assert_eq!(text[issued.token.expose()]["theirs"], 5);
    assert_eq!(text[issued.token.expose()]["deviceId"], "a");
}

#[test]
fn codes_end_with_the_rights_of_whoever_made_them() {
    for undo in [
        Op::Remove { device_id: "admin".into() },
        Op::Revoke { device_id: "admin".into(), role: "operator".into() },
    ] {
        let mut rig = Rig::new();
        rig.connected(local("admin", &["operator.admin"]));
        let issued = issue(&mut rig, SetupAccess::Full);
        rig.run(undo);
        rejected(&mut rig, phone("a", &issued.token));
        assert!(rig.on_disk().setup.0.is_empty());
    }
}

#[test]
fn codes_that_stand_on_the_shared_secret_alone_end_with_it() {
    let mut rig = Rig::new();
    rig.connected(local("admin", &["operator.admin"]));
    let by_device = issue(&mut rig, SetupAccess::Node);
    let by_secret = |rig: &mut Rig| match rig.run(Op::IssueSetup { access: SetupAccess::Node, by: None }) {
        Done::SetupIssued(issued) => *issued,
        other => panic!("no code: {other:?}"),
    };
    let issued = by_secret(&mut rig);
    rig.run(Op::ForgetSecretCodes);
    rejected(&mut rig, host("a", &issued.token));
    let left = rig.on_disk().setup;
    assert_eq!(left.0.keys().collect::<Vec<_>>(), [by_device.token.expose()], "and they are off the disk");
    // Where the disk does not take it, they open nothing all the same.
    let issued = by_secret(&mut rig);
    rig.fault(Fault::Fails);
    rig.failed(Op::ForgetSecretCodes);
    rig.store.void_secret_codes(rig.now);
    rejected(&mut rig, host("a", &issued.token));
    rig.pass_ms(1);
    let fresh = by_secret(&mut rig);
    rig.connected(host("a", &fresh.token));
    rig.connected(host("b", &by_device.token));
}

#[test]
fn a_code_opens_nothing_that_its_maker_could_not_open_now() {
    // However the maker lost it: here by another hand in the file.
    for undo in [
        (|admin: &mut PairedDevice| admin.approved_scopes = Some(strings(&["operator.read"])))
            as fn(&mut PairedDevice),
        |admin| {
            for token in admin.tokens.iter_mut().flat_map(|tokens| tokens.values_mut()) {
                token.revoked_at_ms = Some(1);
            }
        },
        |admin| {
            for token in admin.tokens.iter_mut().flat_map(|tokens| tokens.values_mut()) {
                token.scopes = strings(&["operator.read"]);
            }
        },
    ] {
        let mut rig = Rig::new();
        rig.connected(local("admin", &["operator.admin"]));
        let issued = issue(&mut rig, SetupAccess::Full);
        let mut paired = rig.on_disk().paired;
        let mut admin = (*paired["admin"]).clone();
        undo(&mut admin);
        paired.insert("admin".into(), admin.into());
        rig.put(Document::DevicesPaired, std::str::from_utf8(&store::render_paired(&paired)).unwrap());
        rejected(&mut rig, phone("a", &issued.token));
    }
    let mut rig = Rig::new();
    rig.connected(local("admin", &["operator.admin"]));
    let issued = issue(&mut rig, SetupAccess::Full);
    rig.connected(phone("a", &issued.token));
}

#[test]
fn codes_are_bounded_and_the_oldest_go() {
    let mut rig = Rig::with_limits(Limits { setup_codes_max: 2, ..Limits::default() });
    let codes: Vec<SetupIssued> = (0..3)
        .map(|_| {
            rig.pass_ms(10);
            issue(&mut rig, SetupAccess::Node)
        })
        .collect();
    rejected(&mut rig, host("a", &codes[0].token));
    rig.connected(host("a", &codes[2].token));
    rig.connected(host("b", &codes[1].token));
}

#[test]
fn a_failed_write_spends_no_code_and_lets_nobody_in() {
    let mut rig = Rig::new();
    let issued = issue(&mut rig, SetupAccess::Limited);
    rig.fault(Fault::Fails);
    let done = rig.connect(phone("a", &issued.token));
    assert!(matches!(done, Done::Failed(DeviceError::Unavailable(_))), "{done:?}");
    assert!(rig.memory().paired.is_empty());
    // A power cut behind the first document leaves no code that could be used by somebody else.
    rig.fault(Fault::FailsHalfway);
    rig.connect(phone("a", &issued.token));
    assert!(rig.on_disk().setup.0.is_empty() && rig.on_disk().paired.is_empty());
    rejected(&mut rig, phone("b", &issued.token));
}

#[test]
fn a_changed_platform_is_no_codes_to_approve() {
    let mut rig = Rig::new();
    let first = issue(&mut rig, SetupAccess::Limited);
    rig.connected(phone("a", &first.token));
    let second = issue(&mut rig, SetupAccess::Limited);
    let mut moved = phone("a", &second.token);
    moved.client.id = "openclaw-android".into();
    moved.client.platform = Some("Android 15".into());
    moved.client.device_family = Some("Android".into());
    assert_eq!(rig.refused(moved).reason, PairingReason::MetadataUpgrade);
}

#[test]
fn a_damaged_file_of_codes_keeps_only_codes_out() {
    let mut rig = Rig::new();
    rig.put(Document::DevicesSetup, "{oops");
    rig.connected(local("a", &["operator.admin"]));
    let failed = rig.failed(Op::IssueSetup { access: SetupAccess::Full, by: None });
    let DeviceError::Unavailable(why) = failed else { panic!("{failed:?}") };
    assert!(why.contains("devices/bootstrap.json") && why.contains("line 1"), "{why}");
    assert_eq!(rig.text(Document::DevicesSetup), "{oops", "it is left as it is");
    assert!(rig.order.contains(&"log"));
}

#[test]
fn no_debug_text_shows_a_code() {
    let mut rig = Rig::new();
    let issued = issue(&mut rig, SetupAccess::Limited);
    let op = phone("a", &issued.token);
    let shown = format!("{issued:?} {op:?} {:?} {:?}", rig.memory(), rig.store);
    let connected = rig.connect(op);
    let shown = format!("{shown} {connected:?} {:?}", rig.done);
    assert!(!shown.contains(issued.token.expose()));
}
