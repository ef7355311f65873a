//! What nodes may offer: the second approval, and that both views tell the same story.

use super::*;
use crate::gateway::devices::nodes::Declared;
use crate::gateway::devices::setup::SetupAccess;
use crate::store::nodes::{NodeAbout, NodeEntry, Surface};

const ALL: &[&str] = &["operator.admin"];

fn surface(commands: &[&str]) -> Surface {
    Surface { caps: strings(&["system"]), commands: strings(commands), ..Surface::default() }
}

/// A local node that declares these commands.
fn offering(id: &str, commands: &[&str]) -> ConnectOp {
    let mut op = node(local(id, &[]));
    let about = NodeAbout { display_name: Some("attic".into()), ..NodeAbout::default() };
    op.declared = Some(Box::new(Declared { about, surface: surface(commands), is_covered: false }));
    op
}

fn waiting(rig: &Rig) -> Vec<(String, Vec<String>)> {
    let requests = rig.memory().node_requests.iter();
    requests.map(|(id, request)| (id.clone(), request.surface.commands.clone())).collect()
}

fn approve(rig: &mut Rig, scopes: &[&str]) -> Result<Arc<NodeEntry>, DeviceError> {
    let (request_id, _) = waiting(rig).pop().expect("one waits");
    match rig.run(Op::ApproveNode { request_id, approver: Scopes::new(scopes) }) {
        Done::NodeApproved { node, .. } => Ok(node),
        Done::Failed(error) => Err(error),
        other => panic!("neither approved nor failed: {other:?}"),
    }
}

fn decisions(rig: &Rig) -> Vec<&'static str> {
    let resolved = rig.notices.iter().filter_map(|notice| match notice {
        Notice::NodeResolved { decision, .. } => Some(*decision),
        _ => None,
    });
    resolved.collect()
}

#[test]
fn what_a_node_declares_waits_for_a_person_and_growth_asks_again() {
    let mut rig = Rig::new();
    rig.connected(offering("n", &["system.notify"]));
    assert_eq!(waiting(&rig).len(), 1);
    assert!(rig.memory().nodes.is_empty(), "the device is in, and offers nothing");
    // The same again is the same request.
    let (first, _) = waiting(&rig)[0].clone();
    rig.connected(offering("n", &["system.notify"]));
    assert_eq!(waiting(&rig), [(first, strings(&["system.notify"]))]);
    assert_eq!(rig.order.iter().filter(|kind| **kind == "node requested").count(), 1);
    let entry = approve(&mut rig, &["operator.pairing", "operator.write"]).unwrap();
    assert_eq!(
        (entry.surface.clone(), entry.token.as_ref().map(String::len)),
        (surface(&["system.notify"]), Some(43))
    );
    // Less is fine, and more is the whole again.
    rig.connected(offering("n", &[]));
    assert!(waiting(&rig).is_empty());
    rig.connected(offering("n", &["system.notify", "system.run"]));
    assert_eq!(waiting(&rig)[0].1, ["system.notify", "system.run"]);
    assert_eq!(rig.memory().nodes["n"].surface, surface(&["system.notify"]), "the old one stays in force");
    // What was asked for and is no more declared is taken back.
    rig.connected(offering("n", &["system.notify"]));
    assert!(waiting(&rig).is_empty());
    assert_eq!(decisions(&rig), ["approved", "rejected"]);
    assert_eq!(&rig.on_disk(), rig.memory());
}

#[test]
fn an_approver_holds_what_the_commands_need() {
    for (commands, scopes, missing) in [
        (&["system.run"][..], &["operator.pairing", "operator.write"][..], Some("operator.admin")),
        (&["system.notify"], &["operator.pairing"], Some("operator.write")),
        (&["system.notify"], &["operator.pairing", "operator.write"], None),
        (&[], &["operator.pairing"], None),
        (&["system.run"], ALL, None),
    ] {
        let mut rig = Rig::new();
        rig.connected(offering("n", commands));
        let outcome = approve(&mut rig, scopes);
        let missing = missing.map(|scope| DeviceError::MissingScope(scope.to_owned()));
        assert_eq!(outcome.err(), missing, "{commands:?} by {scopes:?}");
    }
}

#[test]
fn a_device_that_goes_takes_its_surface_with_it() {
    for op in [Op::Remove { device_id: "n".into() }, Op::RemoveNode { node_id: "n".into() }] {
        let mut rig = Rig::new();
        rig.connected(offering("n", &["system.run"]));
        approve(&mut rig, ALL).unwrap();
        rig.connected(offering("n", &["system.run", "system.which"]));
        let (request_id, _) = waiting(&rig)[0].clone();
        let outcome = rig.run(op);
        assert!(!matches!(outcome, Done::Failed(_)), "{outcome:?}");
        assert!(rig.memory().nodes.is_empty() && waiting(&rig).is_empty());
        assert!(!rig.memory().paired.contains_key("n"));
        assert_eq!(rig.closed(), [("n".to_owned(), None)]);
        assert_eq!(decisions(&rig).last(), Some(&"removed"));
        let late = rig.failed(Op::ApproveNode { request_id, approver: Scopes::new(ALL) });
        assert_eq!(late, DeviceError::UnknownRequest);
        assert_eq!(&rig.on_disk(), rig.memory());
    }
}

#[test]
fn a_node_that_is_an_operator_too_loses_one_role_only() {
    let mut rig = Rig::new();
    rig.connected(local("n", &["operator.read"]));
    let required = rig.refused(offering("n", &["system.run"]));
    rig.approve(&required.request_id, ALL).unwrap();
    rig.connected(offering("n", &["system.run"]));
    approve(&mut rig, ALL).unwrap();
    rig.run(Op::RemoveNode { node_id: "n".into() });
    assert_eq!(rig.device("n").roles, Some(strings(&["operator"])));
    assert_eq!(rig.device("n").role.as_deref(), Some("operator"));
    assert!(!rig.device("n").tokens.as_ref().unwrap().contains_key("node"));
    assert_eq!(rig.closed(), [("n".to_owned(), Some("node".to_owned()))]);
    assert_eq!(rig.failed(Op::RemoveNode { node_id: "n".into() }), DeviceError::UnknownNode);
}

#[test]
fn an_approval_of_the_device_covers_the_first_surface_where_it_should() {
    // Protocol 3.
    let mut rig = Rig::new();
    let covered = |commands: &[&str]| {
        let mut op = offering("n", commands);
        op.declared.as_mut().unwrap().is_covered = true;
        op
    };
    rig.connected(covered(&["system.run"]));
    assert_eq!(rig.memory().nodes["n"].surface, surface(&["system.run"]));
    rig.connected(covered(&["system.run", "system.which"]));
    assert_eq!((waiting(&rig).len(), rig.memory().nodes["n"].surface.commands.len()), (1, 1));
    // Not what waits for a person already: nobody gains by another protocol.
    let mut rig = Rig::new();
    rig.connected(offering("n", &["system.run"]));
    rig.connected(covered(&["system.run"]));
    rig.connected(covered(&["system.which"]));
    assert!(rig.memory().nodes.is_empty() && waiting(&rig).len() == 1);
    // Nor what was refused, taken back, or thought of later.
    for then in [&["system.run"][..], &[]] {
        let mut rig = Rig::new();
        rig.connected(offering("n", then));
        if let Some((request_id, _)) = waiting(&rig).first().cloned() {
            rig.run(Op::RejectNode { request_id });
        }
        rig.connected(covered(&["system.run"]));
        assert!(rig.memory().nodes.is_empty() && waiting(&rig).len() == 1, "{then:?}");
    }
    let mut rig = Rig::new();
    rig.connected(offering("n", &["system.run"]));
    rig.connected(offering("n", &[]));
    rig.connected(covered(&["system.run"]));
    assert!(rig.memory().nodes.is_empty() && waiting(&rig).len() == 1);
    // A setup code that was made for a node.
    let Done::SetupIssued(issued) = rig.run(Op::IssueSetup { access: SetupAccess::Node, by: None }) else {
        panic!("no code")
    };
    let mut op = offering("m", &["system.run"]);
    op.locality.local = false;
    rig.connected(with_code(op, &issued.token));
    assert_eq!(rig.memory().nodes["m"].surface, surface(&["system.run"]));
}

#[test]
fn a_surface_without_a_device_is_nobodys() {
    let mut rig = Rig::new();
    rig.put(
        Document::NodeRequests,
        r#"{"r":{"requestId":"r","nodeId":"ghost","commands":["system.run"],"ts":1}}"#,
    );
    rig.put(Document::Nodes, r#"{"ghost":{"nodeId":"ghost","token":"t","createdAtMs":1,"approvedAtMs":1}}"#);
    let error = rig.failed(Op::ApproveNode { request_id: "r".into(), approver: Scopes::new(ALL) });
    assert_eq!(error, DeviceError::UnknownRequest);
    let token = Secret::new("t").unwrap();
    let verified = rig.run(Op::VerifyNode { node_id: "ghost".into(), token });
    assert!(matches!(verified, Done::NodeVerified(None)), "{verified:?}");
    let asked = NodeEntry { node_id: "ghost".into(), ..NodeEntry::default() };
    assert_eq!(rig.failed(Op::AskNode(Box::new(asked))), DeviceError::UnknownNode);
}

#[test]
fn a_name_given_by_a_person_stays() {
    let mut rig = Rig::new();
    rig.connected(offering("n", &[]));
    rig.run(Op::RenameNode { node_id: "n".into(), name: "kitchen".into() });
    rig.connected(offering("n", &[]));
    assert_eq!(rig.device("n").name(), Some("kitchen"));
    rig.run(Op::Rename { device_id: "n".into(), label: "cellar".into() });
    assert_eq!(rig.on_disk().paired["n"].name(), Some("cellar"));
    assert_eq!(rig.order.iter().filter(|kind| **kind == "changed").count(), 2);
    let unknown = rig.failed(Op::Rename { device_id: "x".into(), label: "y".into() });
    assert_eq!(unknown, DeviceError::UnknownDevice);
}

#[test]
fn requests_of_nodes_are_bounded() {
    let mut rig = Rig::with_limits(Limits { pairing_pending_max: 2, ..Limits::default() });
    for id in ["a", "b", "c"] {
        rig.pass_ms(10);
        rig.connected(offering(id, &["system.run"]));
    }
    let left: Vec<&str> = rig.memory().node_requests.values().map(|request| &request.node_id[..]).collect();
    assert_eq!((left.len(), left.contains(&"a")), (2, false));
}

#[test]
fn verify_knows_the_token_of_the_approval() {
    let mut rig = Rig::new();
    rig.connected(offering("n", &["system.run"]));
    let node = approve(&mut rig, ALL).unwrap();
    let token = Secret::new(node.token.as_deref().unwrap()).unwrap();
    let right = rig.run(Op::VerifyNode { node_id: "n".into(), token });
    assert!(matches!(right, Done::NodeVerified(Some(_))));
    let wrong = rig.run(Op::VerifyNode { node_id: "n".into(), token: Secret::new("x").unwrap() });
    assert!(matches!(wrong, Done::NodeVerified(None)));
}
