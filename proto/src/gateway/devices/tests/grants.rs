//! Nothing is granted that nobody granted: random lives of a few devices, judged by a model of the written rules (spec:
//! v4 sections 6.6 to 6.9, 10 and 11.1) that shares no code with the store.

use super::*;
use crate::gateway::devices::nodes::Declared;
use crate::gateway::devices::setup::SetupAccess;
use crate::store::nodes::{NodeAbout, Surface};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Move {
    Connect(Visit),
    /// Somebody with these scopes approves the request at this place.
    Approve(usize, Vec<&'static str>),
    Reject(usize),
    ApproveNode(usize, Vec<&'static str>),
    RejectNode(usize),
    Remove(u8),
    RemoveNode(u8),
    Revoke(u8, bool),
    Rotate(u8, bool, Vec<&'static str>, Option<Vec<&'static str>>),
    Upgrade(u8, Vec<&'static str>),
    Issue(SetupAccess),
    Rename(u8),
    Restart,
    Pass(u64),
}

/// One connect.
#[derive(Clone, Debug)]
struct Visit {
    device: u8,
    is_node: bool,
    scopes: Vec<&'static str>,
    is_near: bool,
    page: Page,
    /// With the shared secret, the latest device token, or the latest code.
    credential: Credential,
    client: &'static str,
    commands: Vec<&'static str>,
    covers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Page {
    None,
    Own,
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Credential {
    Secret,
    Token,
    Code,
}

const SCOPES: [&str; 6] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.pairing",
    "operator.approvals",
    "custom.scope",
];
const COMMANDS: [&str; 3] = ["system.run", "system.notify", "camera.list"];

fn scopes() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(SCOPES.to_vec(), 0..=4)
}

fn visit() -> impl Strategy<Value = Visit> {
    let page = prop_oneof![6 => Just(Page::None), 1 => Just(Page::Own), 1 => Just(Page::Foreign)];
    let credential =
        prop_oneof![3 => Just(Credential::Secret), 2 => Just(Credential::Token), 2 => Just(Credential::Code)];
    let client = prop::sample::select(vec!["cli", "node-host", "openclaw-ios", "openclaw-control-ui"]);
    let commands = prop::sample::subsequence(COMMANDS.to_vec(), 0..=3);
    ((0..3_u8, any::<bool>(), scopes(), any::<bool>()), page, credential, client, commands, any::<bool>())
        .prop_map(|((device, is_node, scopes, is_near), page, credential, client, commands, covers)| Visit {
            device,
            is_node,
            scopes: if is_node && credential == Credential::Code { Vec::new() } else { scopes },
            is_near,
            page,
            credential,
            client,
            commands,
            covers,
        })
}

fn step() -> impl Strategy<Value = Move> {
    let access = prop::sample::select(vec![
        SetupAccess::Full,
        SetupAccess::Limited,
        SetupAccess::Node,
        SetupAccess::ControlUiOwner,
    ]);
    prop_oneof![
        12 => visit().prop_map(Move::Connect),
        5 => (0..4_usize, scopes()).prop_map(|(at, scopes)| Move::Approve(at, scopes)),
        1 => (0..4_usize).prop_map(Move::Reject),
        3 => (0..4_usize, scopes()).prop_map(|(at, scopes)| Move::ApproveNode(at, scopes)),
        1 => (0..4_usize).prop_map(Move::RejectNode),
        1 => (0..3_u8).prop_map(Move::Remove),
        1 => (0..3_u8).prop_map(Move::RemoveNode),
        1 => (0..3_u8, any::<bool>()).prop_map(|(device, node)| Move::Revoke(device, node)),
        2 => (0..3_u8, any::<bool>(), scopes(), prop::option::of(scopes()))
            .prop_map(|(device, node, caller, asked)| Move::Rotate(device, node, caller, asked)),
        2 => (0..3_u8, scopes()).prop_map(|(device, scopes)| Move::Upgrade(device, scopes)),
        2 => access.prop_map(Move::Issue),
        1 => (0..3_u8).prop_map(Move::Rename),
        1 => Just(Move::Restart),
        1 => (1..400_000_u64).prop_map(Move::Pass),
    ]
}

/// Which scope is included in which, as the specification says it.
fn covers(have: &BTreeSet<String>, scope: &str) -> bool {
    let has = |name: &str| have.contains(name);
    has(scope)
        || (scope.starts_with("operator.") && has("operator.admin"))
        || (scope == "operator.read" && has("operator.write"))
}

fn set<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> BTreeSet<String> {
    list.into_iter().map(|text| text.as_ref().to_owned()).collect()
}

/// What a device was approved for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Approved {
    roles: BTreeSet<String>,
    scopes: BTreeSet<String>,
}

fn approved(devices: &Devices, id: &str) -> Approved {
    let Some(device) = devices.paired.get(id) else { return Approved::default() };
    Approved {
        roles: set(device.roles.iter().flatten()),
        scopes: set(device.approved_scopes.iter().flatten()),
    }
}

/// Who or what a move lets grant something.
#[derive(Debug, Default)]
struct Grounds {
    /// Everything in these may be new.
    device: Option<String>,
    roles: BTreeSet<String>,
    scopes: BTreeSet<String>,
    /// Whose scopes must cover what is new.
    approver: Option<BTreeSet<String>>,
    /// Commands that may be new to a surface.
    commands: Option<BTreeSet<String>>,
    /// Whose scopes must do for these commands.
    node_approver: Option<BTreeSet<String>>,
}

struct Life {
    rig: Rig,
    tokens: BTreeMap<(String, bool), String>,
    /// The latest code: what it opens, and who used it first.
    code: Option<(Secret, SetupAccess, Option<String>)>,
    /// Nodes that have said what they offer.
    heard: BTreeSet<String>,
}

impl Life {
    fn operation(&self, visit: &Visit) -> ConnectOp {
        let id = format!("d{}", visit.device);
        let mut op = if visit.is_near { local(&id, &visit.scopes) } else { remote(&id, &visit.scopes) };
        if visit.is_node {
            op.role = Role::Node;
            op.client.mode = "node".into();
            op.declared = Some(Box::new(Declared {
                about: NodeAbout::default(),
                surface: Surface { commands: strings(&visit.commands), ..Surface::default() },
                is_covered: visit.covers,
            }));
        }
        op.client.id = visit.client.into();
        if visit.client == "openclaw-ios" {
            op.client.platform = Some("ios 18".into());
            op.client.device_family = Some("iPhone".into());
        }
        op.locality.origin_present = visit.page != Page::None;
        op.locality.own_origin_page =
            visit.page == Page::Own && visit.is_near && visit.credential == Credential::Secret;
        op.locality.shared_or_none = visit.credential == Credential::Secret;
        match visit.credential {
            Credential::Secret => {}
            Credential::Token => {
                let none = String::from("none");
                let token = self.tokens.get(&(id, visit.is_node)).unwrap_or(&none);
                op.candidate = Some(Candidate { token: Secret::new(token).unwrap(), explicit: true });
            }
            Credential::Code => {
                let none = Secret::new("none").unwrap();
                op.needs_setup = true;
                op.setup = Some(self.code.as_ref().map_or(none, |(code, _, _)| code.clone()));
            }
        }
        op
    }

    /// The written rules for a connect that asks nobody.
    fn grounds(&self, visit: &Visit, before: &Devices) -> Grounds {
        let id = format!("d{}", visit.device);
        let role = if visit.is_node { "node" } else { "operator" };
        let is_known = before.paired.contains_key(&id);
        let is_page = visit.client == "openclaw-control-ui";
        let own_page = visit.page == Page::Own && is_page && visit.credential == Credential::Secret;
        let is_place = visit.is_near && (visit.page == Page::None || own_page);
        let known_node = is_known && visit.is_node;
        let by_secret = visit.credential == Credential::Secret;
        // First time: any role, any scopes. Later: with the shared secret, and never as a node.
        let mut silent = is_place && !known_node && (by_secret || !is_known);
        let mut grounds = Grounds { device: Some(id.clone()), ..Grounds::default() };
        if let (Credential::Code, Some((_, access, first))) = (visit.credential, &self.code) {
            let profile: &[&str] = match access {
                SetupAccess::Full => &[
                    "operator.admin",
                    "operator.approvals",
                    "operator.questions",
                    "operator.read",
                    "operator.talk.secrets",
                    "operator.write",
                ],
                SetupAccess::Limited => &[
                    "operator.approvals",
                    "operator.questions",
                    "operator.read",
                    "operator.talk.secrets",
                    "operator.write",
                ],
                SetupAccess::Node => &[],
                SetupAccess::ControlUiOwner => &[
                    "operator.admin",
                    "operator.approvals",
                    "operator.pairing",
                    "operator.questions",
                    "operator.read",
                    "operator.talk.secrets",
                    "operator.write",
                ],
            };
            let is_theirs = first.as_ref().is_none_or(|first| *first == id);
            let fits = match access {
                SetupAccess::Full | SetupAccess::Limited => visit.client == "openclaw-ios",
                SetupAccess::Node => visit.client == "node-host",
                SetupAccess::ControlUiOwner => is_page,
            };
            let is_its_kind = match access {
                SetupAccess::ControlUiOwner => {
                    !visit.is_node && visit.scopes.iter().all(|scope| covers(&set(profile), scope))
                }
                _ => visit.is_node && visit.page == Page::None,
            };
            if is_theirs && fits && is_its_kind {
                grounds.roles = match access {
                    SetupAccess::Full | SetupAccess::Limited => set(["node", "operator"]),
                    SetupAccess::Node => set(["node"]),
                    SetupAccess::ControlUiOwner => set(["operator"]),
                };
                grounds.scopes = set(profile);
                grounds.commands = Some(set(&visit.commands));
            }
            // What it did not open by itself, it lets ask for, and no more than it is for.
            silent &= is_theirs && visit.scopes.iter().all(|scope| covers(&set(profile), scope));
        }
        if silent {
            grounds.roles.insert(role.to_owned());
            grounds.scopes.extend(set(&visit.scopes));
        }
        // The approval of a device covers what it declares first, and nothing else.
        if visit.is_node && visit.covers && !self.heard.contains(&id) {
            grounds.commands = Some(set(&visit.commands));
        }
        grounds
    }

    fn learn(&mut self, visit: &Visit, done: &Done) {
        let id = format!("d{}", visit.device);
        match done {
            Done::Connected(connected) => {
                if let Some(token) = &connected.token {
                    self.tokens.insert((id.clone(), visit.is_node), token.token.clone());
                }
                for (role, token) in &connected.handoff {
                    self.tokens.insert((id.clone(), role == "node"), token.token.clone());
                }
                if visit.credential == Credential::Code {
                    self.code = None;
                }
                if visit.is_node {
                    self.heard.insert(id);
                }
            }
            Done::PairingRequired(_) if visit.credential == Credential::Code => {
                if let Some((_, _, first)) = &mut self.code {
                    first.get_or_insert(id);
                }
            }
            _ => {}
        }
    }
}

/// What is new must have grounds.
fn judge(before: &Devices, after: &Devices, grounds: &Grounds, what: &Move) {
    for id in after.paired.keys() {
        let (old, new) = (approved(before, id), approved(after, id));
        let is_meant = grounds.device.as_ref() == Some(id);
        for role in new.roles.difference(&old.roles) {
            let by_approver = grounds
                .approver
                .as_ref()
                .is_some_and(|held| role == "operator" || covers(held, "operator.admin"));
            assert!(is_meant && (grounds.roles.contains(role) || by_approver), "{id} is {role} by {what:?}");
        }
        for scope in new.scopes.difference(&old.scopes) {
            let by_approver = grounds.approver.as_ref().is_some_and(|held| covers(held, scope));
            // A node's scopes open nothing; only an admin approves a node at all.
            let of_a_node = grounds.approver.as_ref().is_some_and(|held| covers(held, "operator.admin"))
                && !new.roles.contains("operator");
            assert!(
                is_meant && (grounds.scopes.contains(scope) || by_approver || of_a_node),
                "{id} has {scope} by {what:?}"
            );
        }
        for (role, token) in after.paired[id].tokens.iter().flatten() {
            if token.revoked_at_ms.is_none() && role == "operator" {
                let beyond = token.scopes.iter().find(|scope| !covers(&new.scopes, scope));
                assert_eq!(beyond, None, "{id}'s token reaches further than its approval, by {what:?}");
            }
        }
    }
    for (id, entry) in &after.nodes {
        // One story: what may be offered is offered by a node.
        assert!(approved(after, id).roles.contains("node"), "{id} offers, and is no node, by {what:?}");
        let old = before.nodes.get(id).map(|old| set(&old.surface.commands)).unwrap_or_default();
        let new = set(&entry.surface.commands);
        for command in new.difference(&old) {
            let needed = if command == "system.run" { "operator.admin" } else { "operator.write" };
            let by_approver = grounds
                .node_approver
                .as_ref()
                .is_some_and(|held| covers(held, needed) && covers(held, "operator.pairing"));
            let by_rule = grounds.device.as_ref() == Some(id)
                && grounds.commands.as_ref().is_some_and(|commands| commands.contains(command));
            assert!(by_approver || by_rule, "{id} offers {command} by {what:?}");
        }
    }
    for request in after.node_requests.values() {
        assert!(
            approved(after, &request.node_id).roles.contains("node"),
            "{} asks, and is no node, by {what:?}",
            request.node_id
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn nobody_has_what_nobody_granted(moves in prop::collection::vec(step(), 1..60)) {
        let mut life = Life { rig: Rig::new(), tokens: BTreeMap::new(), code: None, heard: BTreeSet::new() };
        for step in moves {
            let before = life.rig.memory().clone();
            let pending = |at: usize| before.pending.iter().nth(at % before.pending.len().max(1));
            let asked = |at: usize| before.node_requests.keys().nth(at % before.node_requests.len().max(1));
            let mut grounds = Grounds::default();
            match &step {
                Move::Connect(visit) => {
                    grounds = life.grounds(visit, &before);
                    let done = life.rig.connect(life.operation(visit));
                    if let Done::Connected(connected) = &done {
                        let now = approved(life.rig.memory(), &format!("d{}", visit.device));
                        let role = if visit.is_node { "node" } else { "operator" };
                        prop_assert!(now.roles.contains(role), "in as {role} by {visit:?}");
                        for scope in &visit.scopes {
                            let is_covered = if visit.is_node {
                                now.scopes.contains(*scope)
                            } else {
                                covers(&now.scopes, scope)
                            };
                            prop_assert!(is_covered, "in with {scope} by {visit:?}");
                        }
                        let by_token = visit.credential == Credential::Token;
                        prop_assert_eq!(connected.by_device_token, by_token);
                    }
                    life.learn(visit, &done);
                }
                Move::Approve(at, scopes) => {
                    let Some((id, request)) = pending(*at) else { continue };
                    grounds.device = Some(request.device_id.clone());
                    grounds.approver = Some(set(scopes));
                    let op = Op::Approve { request_id: id.clone(), approver: Scopes::new(scopes) };
                    life.rig.run(op);
                }
                Move::Reject(at) => {
                    let Some((id, _)) = pending(*at) else { continue };
                    life.rig.run(Op::Reject { request_id: id.clone() });
                }
                Move::ApproveNode(at, scopes) => {
                    let Some(id) = asked(*at) else { continue };
                    grounds.node_approver = Some(set(scopes));
                    let op = Op::ApproveNode { request_id: id.clone(), approver: Scopes::new(scopes) };
                    life.rig.run(op);
                }
                Move::RejectNode(at) => {
                    let Some(id) = asked(*at) else { continue };
                    life.rig.run(Op::RejectNode { request_id: id.clone() });
                }
                Move::Remove(device) => drop(life.rig.run(Op::Remove { device_id: format!("d{device}") })),
                Move::RemoveNode(device) => drop(life.rig.run(Op::RemoveNode { node_id: format!("d{device}") })),
                Move::Revoke(device, node) => {
                    let role = if *node { "node" } else { "operator" }.to_owned();
                    life.rig.run(Op::Revoke { device_id: format!("d{device}"), role });
                }
                Move::Rotate(device, node, caller, scopes) => {
                    let role = if *node { "node" } else { "operator" }.to_owned();
                    let device_id = format!("d{device}");
                    let done = life.rig.run(Op::Rotate {
                        device_id: device_id.clone(),
                        role: role.clone(),
                        scopes: scopes.as_ref().map(|scopes| strings(scopes)),
                        caller: Caller {
                            scopes: Scopes::new(caller),
                            device_id: Some(device_id.clone()),
                            by_device_token: true,
                        },
                    });
                    if let Done::Rotated(rotated) = done {
                        for scope in &rotated.scopes {
                            prop_assert!(*node || covers(&set(caller), scope), "minted {scope} by {step:?}");
                        }
                        life.tokens.remove(&(device_id.clone(), *node));
                        if let Some(token) = rotated.token {
                            life.tokens.insert((device_id, *node), token.expose().to_owned());
                        }
                    }
                }
                Move::Upgrade(device, scopes) => {
                    let op = Op::RequestUpgrade { device_id: format!("d{device}"), scopes: Scopes::new(scopes) };
                    life.rig.run(op);
                }
                Move::Issue(access) => {
                    let done = life.rig.run(Op::IssueSetup { access: *access, by: None });
                    if let Done::SetupIssued(issued) = done {
                        life.code = Some((issued.token, *access, None));
                    }
                }
                Move::Rename(device) => {
                    life.rig.run(Op::Rename { device_id: format!("d{device}"), label: "x".into() });
                }
                Move::Restart => {
                    life.rig.restart();
                    life.rig.run(Op::List);
                }
                Move::Pass(ms) => life.rig.pass_ms(*ms),
            }
            judge(&before, life.rig.memory(), &grounds, &step);
            // Whose node was removed and is approved again begins anew, also when the device stayed for another role.
            life.heard.retain(|id| {
                let paired = &life.rig.memory().paired;
                paired.contains_key(id) && approved(life.rig.memory(), id).roles.contains("node")
            });
        }
    }
}
