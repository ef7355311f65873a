//! Device tokens: coming in with one, getting one, rotating and revoking.

use super::*;
use crate::store::DeviceToken;

fn rejected(rig: &mut Rig, op: ConnectOp) -> TokenFault {
    match rig.connect(op) {
        Done::TokenRejected { fault, explicit } => {
            assert!(explicit);
            fault
        }
        other => panic!("not rejected: {other:?}"),
    }
}

fn entry(rig: &Rig, id: &str, role: &str) -> DeviceToken {
    rig.device(id).tokens.as_ref().unwrap()[role].clone()
}

fn rotate(id: &str, role: &str, scopes: Option<&[&str]>, held: &[&str]) -> Op {
    Op::Rotate {
        device_id: id.into(),
        role: role.into(),
        scopes: scopes.map(strings),
        caller: Caller { scopes: Scopes::new(held), device_id: None, by_device_token: false },
    }
}

fn revoke(id: &str, role: &str) -> Op {
    Op::Revoke { device_id: id.into(), role: role.into() }
}

#[test]
fn a_token_opens_the_door_from_anywhere_and_stays_the_same() {
    let mut rig = Rig::new();
    let scopes = ["operator.admin", "operator.read"];
    let first = rig.connected(local("a", &scopes));
    let token = token_of(&first);
    let writes = rig.writes().len();
    for op in [local("a", &scopes), remote("a", &scopes), local("a", &["operator.read"]), local("a", &[])] {
        let again = rig.connected(with_token(op, &format!("  {token} ")));
        assert!(again.by_device_token && !again.approved_silently);
        assert_eq!(token_of(&again), token);
        assert_eq!(again.token.as_ref().unwrap().issued_at_ms, first.token.as_ref().unwrap().issued_at_ms);
    }
    // An admin's token covers every operator scope, known or not.
    let wider = rig.connected(with_token(local("a", &["operator.admin", "operator.other"]), &token));
    assert_eq!(token_of(&wider), token);
    assert_eq!(rig.writes().len(), writes, "coming back is not worth a write");
    assert_eq!(entry(&rig, "a", "operator").last_used_at_ms, Some(rig.now.wall.0));
}

#[test]
fn how_a_token_fails() {
    use TokenFault::{Mismatch, ScopeMismatch};
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.read"])));
    rig.connected(local("b", &["operator.read"]));
    let mut rows = vec![
        ("another token", local("a", &["operator.read"]), "nonsense".to_owned(), Mismatch),
        ("an unknown device", local("z", &["operator.read"]), token.clone(), Mismatch),
        ("another device", local("b", &["operator.read"]), token.clone(), Mismatch),
        ("wider scopes", local("a", &["operator.write"]), token.clone(), ScopeMismatch),
        (
            "wider scopes beside good ones",
            local("a", &["operator.read", "operator.admin"]),
            token.clone(),
            ScopeMismatch,
        ),
        ("another role", node(local("a", &[])), token.clone(), ScopeMismatch),
        ("a prefix", local("a", &["operator.read"]), token[..42].to_owned(), Mismatch),
    ];
    let before = rig.memory().clone();
    for (name, op, token, fault) in rows.drain(..) {
        assert_eq!(rejected(&mut rig, with_token(op, &token)), fault, "{name}");
    }
    assert_eq!(rig.memory(), &before, "a refused device leaves no trace");
    assert!(rig.notices.iter().all(|notice| !matches!(notice, Notice::Requested(_))));

    // Revoked, and narrowed below what the token says.
    rig.edit(|devices| {
        Arc::make_mut(devices.paired.get_mut("a").unwrap()).approved_scopes = Some(Vec::new());
    });
    assert_eq!(rejected(&mut rig, with_token(local("a", &[]), &token)), ScopeMismatch);
    rig.run(revoke("a", "operator"));
    assert_eq!(rejected(&mut rig, with_token(local("a", &[]), &token)), Mismatch);
}

#[test]
fn a_blank_token_on_disk_opens_nothing() {
    let mut rig = Rig::new();
    rig.connected(local("a", &[]));
    rig.edit(|devices| {
        let device = Arc::make_mut(devices.paired.get_mut("a").unwrap());
        device.tokens.as_mut().unwrap().get_mut("operator").unwrap().token = String::new();
    });
    assert_eq!(rejected(&mut rig, with_token(local("a", &[]), "x")), TokenFault::Mismatch);
    assert_eq!(token_of(&rig.connected(local("a", &[]))).len(), 43, "the shared secret gets a new one");
}

#[test]
fn a_token_session_never_widens_itself() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.read"])));
    for scopes in [&["operator.write"][..], &["operator.read", "operator.pairing"], &["operator.admin"]] {
        let mut op = with_token(local("a", scopes), &token);
        op.locality.shared_or_none = true; // even if the caller got this wrong
        assert_eq!(rejected(&mut rig, op), TokenFault::ScopeMismatch);
    }
    assert_eq!(rig.device("a").approved_scopes, Some(strings(&["operator.read"])));
}

#[test]
fn a_scope_upgrade_rotates_the_token() {
    let mut rig = Rig::new();
    let old = token_of(&rig.connected(local("a", &["operator.read"])));
    rig.pass_ms(5);
    let new = rig.connected(local("a", &["operator.admin"]));
    assert!(new.approved_silently);
    assert_ne!(token_of(&new), old);
    assert_eq!(new.token.as_ref().unwrap().issued_at_ms, rig.now.wall.0);
    assert_eq!(rejected(&mut rig, with_token(local("a", &["operator.read"]), &old)), TokenFault::Mismatch);
}

#[test]
fn clients_of_one_device_do_not_rotate_each_other_out() {
    let mut rig = Rig::new();
    rig.connected(local("a", &["operator.read", "operator.pairing"]));
    // Somebody narrowed the token; the approval is as wide as before.
    rig.run(rotate("a", "operator", Some(&["operator.read"]), &["operator.admin"]));
    let grown = token_of(&rig.connected(local("a", &["operator.pairing"])));
    assert_eq!(entry(&rig, "a", "operator").scopes, strings(&["operator.pairing", "operator.read"]));
    let writes = rig.writes().len();
    for scopes in [["operator.read"], ["operator.pairing"]] {
        assert_eq!(token_of(&rig.connected(local("a", &scopes))), grown);
    }
    assert_eq!(rig.writes().len(), writes);
}

#[test]
fn a_node_without_scopes_has_a_working_token() {
    let mut rig = Rig::new();
    let first = rig.connected(node(local("n", &[])));
    let token = token_of(&first);
    assert!(first.token.as_ref().unwrap().scopes.is_empty());
    let text = rig.text(Document::DevicesPaired);
    assert!(!text.contains("approvedScopes"), "an empty baseline is left out, as the reference does");
    assert!(rig.connected(node(with_token(remote("n", &[]), &token))).by_device_token);
    assert!(matches!(rig.run(rotate("n", "node", None, &["operator.pairing"])), Done::Rotated(_)));
}

#[test]
fn a_new_token_when_the_role_has_none() {
    let mut rig = Rig::new();
    rig.connected(local("a", &["operator.read"]));
    rig.edit(|devices| Arc::make_mut(devices.paired.get_mut("a").unwrap()).tokens = None);
    let connected = rig.connected(local("a", &["operator.read"]));
    assert!(!connected.approved_silently);
    assert_eq!(entry(&rig, "a", "operator").token, token_of(&connected));
    assert_eq!(entry(&rig, "a", "operator").rotated_at_ms, None);
    assert_eq!(&rig.on_disk(), rig.memory());
}

#[test]
fn rotation_by_the_rules() {
    const PAIRING: &[&str] = &["operator.pairing"];
    /// Device, role, scopes asked for, scopes held, outcome.
    type Row<'a> =
        (&'a str, &'a str, Option<&'a [&'a str]>, &'a [&'a str], Result<&'a [&'a str], DeviceError>);
    let rows: [Row<'_>; 11] = [
        ("a", "operator", None, &["operator.admin"], Ok(&["operator.read", "operator.write"])),
        ("a", "operator", None, &["operator.write"], Ok(&["operator.read", "operator.write"])),
        ("a", "operator", Some(&["operator.read"]), &["operator.read"], Ok(&["operator.read"])),
        ("a", "operator", None, PAIRING, Err(DeviceError::MissingScope("operator.read".into()))),
        // The caller is asked first, then the approval.
        (
            "a",
            "operator",
            Some(&["operator.admin"]),
            PAIRING,
            Err(DeviceError::MissingScope("operator.admin".into())),
        ),
        (
            "a",
            "operator",
            Some(&["operator.admin"]),
            &["operator.admin"],
            Err(DeviceError::UnknownDeviceOrRole),
        ),
        ("a", "node", None, &["operator.admin"], Err(DeviceError::MissingScope("operator.read".into()))),
        ("a", "node", Some(&[]), &["operator.admin"], Err(DeviceError::UnknownDeviceOrRole)),
        ("a", "nonsense", Some(&[]), &["operator.admin"], Err(DeviceError::UnknownDeviceOrRole)),
        ("z", "operator", None, &["operator.admin"], Err(DeviceError::UnknownDeviceOrRole)),
        ("a", "operator", Some(&[]), PAIRING, Ok(&[])),
    ];
    for (id, role, scopes, held, wanted) in rows {
        let mut rig = Rig::new();
        rig.connected(local("a", &["operator.write", "operator.read"]));
        let old = entry(&rig, "a", "operator");
        rig.pass_ms(9);
        match (rig.run(rotate(id, role, scopes, held)), wanted) {
            (Done::Rotated(rotated), Ok(wanted)) => {
                assert_eq!(rotated.scopes, strings(wanted));
                assert_eq!(rotated.rotated_at_ms, rig.now.wall.0);
                assert!(rotated.token.is_none(), "not the caller's to see");
                let new = entry(&rig, "a", "operator");
                assert_ne!(new.token, old.token);
                assert_eq!((new.created_at_ms, new.rotated_at_ms), (old.created_at_ms, Some(rig.now.wall.0)));
                assert_eq!(rig.closed(), [("a".to_owned(), Some("operator".to_owned()))]);
                assert_eq!(&rig.order[rig.order.len() - 2..], ["done", "close"], "the answer comes first");
                assert_eq!(&rig.on_disk(), rig.memory());
            }
            (Done::Failed(error), Err(wanted)) => {
                assert_eq!(error, wanted, "{role} {scopes:?} {held:?}");
                assert!(rig.closed().is_empty());
            }
            (done, wanted) => panic!("{role} {scopes:?} {held:?}: {done:?}, wanted {wanted:?}"),
        }
    }
}

#[test]
fn a_rotated_token_is_shown_to_its_own_device_only() {
    let rows = [
        (Some("a"), true, "operator", true),
        (Some("a"), false, "operator", false),
        (Some("b"), true, "operator", false),
        (None, true, "operator", false),
        (Some("a"), true, "node", false), // the caller came in with its operator token
    ];
    for (device, by_device_token, role, shown) in rows {
        let mut rig = Rig::new();
        rig.connected(node(local("a", &[])));
        rig.connected(local("a", &[]));
        let done = rig.run(Op::Rotate {
            device_id: "a".into(),
            role: role.into(),
            scopes: None,
            caller: Caller {
                scopes: Scopes::new(["operator.admin"]),
                device_id: device.map(str::to_owned),
                by_device_token,
            },
        });
        let Done::Rotated(rotated) = done else { panic!("{done:?}") };
        let seen = rotated.token.map(|token| token.expose().to_owned());
        assert_eq!(seen, shown.then(|| entry(&rig, "a", role).token), "{device:?} {by_device_token} {role}");
    }
}

#[test]
fn a_revoked_token_is_dead_but_the_device_is_not() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.read"])));
    let done = rig.run(revoke("a", "operator"));
    let now = rig.now.wall.0;
    assert!(matches!(done, Done::Revoked { revoked_at_ms, .. } if revoked_at_ms == now));
    assert_eq!(rig.closed(), [("a".to_owned(), Some("operator".to_owned()))]);
    assert_eq!(rig.on_disk().paired["a"].tokens.as_ref().unwrap()["operator"].revoked_at_ms, Some(now));
    assert_eq!(rejected(&mut rig, with_token(local("a", &["operator.read"]), &token)), TokenFault::Mismatch);
    rig.pass_ms(3);
    assert!(
        matches!(rig.run(revoke("a", "operator")), Done::Revoked { revoked_at_ms, .. } if revoked_at_ms == now + 3)
    );
    // With the shared secret it comes back, with exactly what it asks for.
    let back = rig.connected(local("a", &[]));
    let entry = entry(&rig, "a", "operator");
    assert_eq!((entry.created_at_ms, entry.rotated_at_ms, entry.revoked_at_ms), (now, Some(now + 3), None));
    assert_ne!(token_of(&back), token);
    assert!(entry.scopes.is_empty());
    for op in [revoke("a", "node"), revoke("z", "operator")] {
        assert_eq!(rig.failed(op), DeviceError::UnknownDeviceOrRole);
    }
}

#[test]
fn a_removed_device_hears_so_first_and_starts_over() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.read"])));
    let done = rig.run(Op::Remove { device_id: "a".into() });
    assert!(matches!(done, Done::Removed { device_id } if device_id == "a"));
    assert_eq!(&rig.order[rig.order.len() - 2..], ["done", "close"]);
    assert_eq!(rig.closed(), [("a".to_owned(), None)]);
    assert!(rig.on_disk().paired.is_empty() && rig.store.seen.is_empty());
    assert_eq!(rejected(&mut rig, with_token(local("a", &["operator.read"]), &token)), TokenFault::Mismatch);
    assert_eq!(rig.failed(Op::Remove { device_id: "a".into() }), DeviceError::UnknownDevice);
    assert!(rig.connected(local("a", &["operator.read"])).approved_silently);
}

#[test]
fn the_texts_of_errors() {
    for (error, text) in [
        (DeviceError::UnknownRequest, "unknown requestId"),
        (DeviceError::UnknownDevice, "unknown deviceId"),
        (DeviceError::UnknownDeviceOrRole, "unknown deviceId/role"),
        (DeviceError::MissingScope("operator.admin".into()), "missing scope: operator.admin"),
        (DeviceError::Unavailable("no disk".into()), "no disk"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
