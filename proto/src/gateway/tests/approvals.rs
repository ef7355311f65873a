//! Whatever anybody asks, decides and answers, in whatever order: who may not see it hears nothing of it, nobody decides
//! what it may not see, every request frame is answered once, and nothing waits for ever.

use super::*;
use crate::frame::EventFrame;
use crate::methods;
use crate::request::Request;
use proptest::prelude::*;

/// A client without a device, so that only its own connection is the asker's.
#[derive(Clone, Debug)]
struct Cast {
    protocol: u64,
    scopes: Vec<&'static str>,
    caps: Vec<&'static str>,
}

#[derive(Clone, Debug)]
enum Act {
    Call { who: usize, method: &'static str, id: u8, choice: u8 },
    Leave { who: usize },
    Pass { ms: u64 },
}

fn cast() -> impl Strategy<Value = Cast> {
    let scopes =
        [scope::ADMIN, scope::APPROVALS, scope::QUESTIONS, scope::READ, scope::WRITE, scope::PAIRING];
    let caps = ["approvals", "exec-approvals", "plugin-approvals"];
    (
        prop::sample::select(vec![3, 4, 4]),
        prop::sample::subsequence(scopes.to_vec(), 0..4),
        prop::sample::subsequence(caps.to_vec(), 0..3),
    )
        .prop_map(|(protocol, scopes, caps)| Cast { protocol, scopes, caps })
}

const CALLS: [&str; 9] = [
    "exec.approval.request",
    "exec.approval.resolve",
    "exec.approval.waitDecision",
    "plugin.approval.request",
    "plugin.approval.resolve",
    "approval.resolve",
    "question.request",
    "question.resolve",
    "question.waitAnswer",
];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0..4_usize, prop::sample::select(CALLS.to_vec()), 0..3_u8, 0..4_u8)
            .prop_map(|(who, method, id, choice)| Act::Call { who, method, id, choice }),
        1 => (0..4_usize).prop_map(|who| Act::Leave { who }),
        3 => (1..4_000_u64).prop_map(|ms| Act::Pass { ms }),
    ]
}

struct Play {
    rig: Rig,
    cast: Vec<Cast>,
    conns: Vec<ConnId>,
    gone: Vec<bool>,
    /// Request frames without a final answer.
    open: BTreeMap<String, ConnId>,
    /// Who asked for what: by kind and id.
    askers: BTreeMap<(&'static str, String), usize>,
    sent: u32,
}

impl Play {
    fn new(cast: Vec<Cast>) -> Self {
        let limits = Limits { approval_waits_per_peer_max: 3, ..Limits::default() };
        let mut rig = Rig::new(limits);
        let conns: Vec<ConnId> = cast.iter().map(|one| admit(&mut rig, one)).collect();
        let gone = vec![false; conns.len()];
        Self { rig, cast, conns, gone, open: BTreeMap::new(), askers: BTreeMap::new(), sent: 0 }
    }

    fn has(&self, who: usize, scope: &str) -> bool {
        let scopes = &self.cast[who].scopes;
        scopes.contains(&scope) || scopes.contains(&scope::ADMIN)
    }

    /// The rule of the specification, in its words.
    fn may_see(&self, who: usize, kind: &'static str, id: &str) -> bool {
        let is_asker = self.askers.get(&(kind, id.to_owned())) == Some(&who);
        if kind == "question" {
            self.has(who, scope::QUESTIONS) || (is_asker && self.has(who, scope::WRITE))
        } else {
            let is_admin = self.has(who, scope::ADMIN);
            is_admin || (is_asker && self.has(who, scope::APPROVALS))
        }
    }

    /// Whether this client shows such requests to people.
    fn is_asked(&self, who: usize, kind: &'static str, id: &str) -> bool {
        let Cast { protocol, caps, .. } = &self.cast[who];
        let is_asker = self.askers.get(&(kind, id.to_owned())) == Some(&who);
        match kind {
            "question" => *protocol == 4,
            "exec" if *protocol == 3 => true,
            "exec" => !is_asker && (caps.contains(&"approvals") || caps.contains(&"exec-approvals")),
            _ => {
                *protocol == 4
                    && !is_asker
                    && (caps.contains(&"approvals") || caps.contains(&"plugin-approvals"))
            }
        }
    }

    fn call(&mut self, who: usize, method: &'static str, id: u8, choice: u8) {
        let dialect = if self.cast[who].protocol == 3 { Dialect::V3 } else { Dialect::V4 };
        if self.gone[who] {
            return;
        }
        let Some(row) = methods::find(method, dialect) else { return };
        let decision = ["allow-once", "allow-always", "deny", "allow-once"][usize::from(choice)];
        let plugin = self.askers.keys().filter(|(kind, _)| *kind == "plugin").nth(usize::from(id));
        let plugin = plugin.map_or("plugin:none".to_owned(), |(_, id)| id.clone());
        let id = format!("id{id}");
        let params = match method {
            "exec.approval.request" => {
                json!({"id": id, "command": "ls", "timeoutMs": 5_000, "twoPhase": choice > 1})
            }
            "plugin.approval.request" => json!({"title": "t", "description": "d", "timeoutMs": 5_000}),
            "question.request" => {
                let question = json!({"questionId": "q", "header": "h", "question": "q", "options": []});
                json!({"id": id, "questions": [question], "timeoutMs": 5_000})
            }
            "exec.approval.resolve" => json!({"id": id, "decision": decision}),
            "plugin.approval.resolve" => json!({"id": plugin, "decision": decision}),
            "approval.resolve" if choice == 0 => {
                json!({"id": plugin, "kind": "plugin", "decision": decision})
            }
            "approval.resolve" => json!({"id": id, "kind": "exec", "decision": decision}),
            "question.resolve" if choice == 0 => json!({"id": id, "cancel": true}),
            "question.resolve" => json!({"id": id, "answers": {"answers": {"q": [decision]}}}),
            "question.waitAnswer" if choice == 0 => json!({"id": id, "timeoutMs": 700}),
            _ => json!({"id": id}),
        };
        self.sent += 1;
        let frame = format!("f{}", self.sent);
        self.open.insert(frame.clone(), self.conns[who]);
        // What is asked is known as its asker's before anybody can hear of it.
        let known = (if method == "question.request" { "question" } else { "exec" }, id.clone());
        let may_ask = match method {
            "exec.approval.request" => self.has(who, scope::APPROVALS),
            "question.request" => self.has(who, scope::QUESTIONS) || self.has(who, scope::WRITE),
            _ => false,
        };
        let is_new = may_ask && !self.askers.contains_key(&known);
        if is_new {
            self.askers.insert(known.clone(), who);
        }
        let raw = to_raw_value(&params).unwrap();
        let request = Request::new(frame.clone().into(), MethodRef::Known(row), Some(&raw), None);
        let is_decision = method.ends_with("resolve");
        let out = self.rig.handle(Input::Request { conn: self.conns[who], request });
        self.look(&out, Some(who), is_decision.then_some((method, &params)));
        let is_refusal = |output: &Output| matches!(output, Output::To(_, Order::Respond { id, reply: Reply::Err(_) }) if **id == *frame);
        if is_new && out.iter().any(is_refusal) {
            self.askers.remove(&known);
        }
    }

    fn look(
        &mut self,
        out: &[Output],
        caller: Option<usize>,
        decision: Option<(&'static str, &serde_json::Value)>,
    ) {
        for output in out {
            let Output::To(conn, order) = output else { continue };
            let who = self.conns.iter().position(|one| one == conn).unwrap();
            match order {
                Order::Event(event) => self.heard(who, event, caller),
                Order::Respond { id, reply } => {
                    let is_last = !matches!(reply, Reply::Accepted(_));
                    assert_eq!(self.open.get(&**id), Some(conn), "an answer to {id}, which is answered");
                    if is_last {
                        self.open.remove(&**id);
                    }
                    // A decision is taken only by who may see what it decides.
                    if let (Some((method, params)), Reply::Ok(_)) = (decision, reply)
                        && Some(who) == caller
                        && !id.is_empty()
                        && self.sent.to_string() == id[1..]
                    {
                        let kind = match method {
                            "question.resolve" => "question",
                            "plugin.approval.resolve" => "plugin",
                            _ if params["kind"] == "plugin" => "plugin",
                            _ => "exec",
                        };
                        let id = params["id"].as_str().unwrap();
                        assert!(self.may_see(who, kind, id), "{:?} decides {kind} {id}", self.cast[who]);
                    }
                }
                Order::Upgrade
                | Order::Watch
                | Order::Reload
                | Order::Body(_)
                | Order::Http(_)
                | Order::Admit(_)
                | Order::Read(_)
                | Order::Close(_)
                | Order::Abort => {}
            }
        }
    }

    fn heard(&mut self, who: usize, event: &EventFrame, caller: Option<usize>) {
        let kind = match event.name.split('.').next() {
            Some("exec") => "exec",
            Some("plugin") => "plugin",
            Some("question") => "question",
            _ => return,
        };
        let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        let id = payload["id"].as_str().unwrap();
        if event.name == "plugin.approval.requested" && !self.askers.contains_key(&("plugin", id.to_owned()))
        {
            self.askers.insert(("plugin", id.to_owned()), caller.unwrap());
        }
        let one = &self.cast[who];
        assert!(self.may_see(who, kind, id), "{one:?} hears {}", event.name);
        assert!(self.is_asked(who, kind, id), "{one:?} is asked by {}", event.name);
    }

    fn pass(&mut self, ms: u64) {
        let until = self.rig.now.mono.plus_millis(ms);
        while let Some(at) = self.rig.gateway.next_deadline().filter(|at| *at <= until) {
            self.rig.now.mono = at.max(self.rig.now.mono);
            let out = self.rig.handle(Input::Tick);
            self.look(&out, None, None);
        }
        self.rig.now.mono = until;
    }

    fn leave(&mut self, who: usize) {
        let conn = self.conns[who];
        self.gone[who] = true;
        self.open.retain(|_, waits| *waits != conn);
        let out = self.rig.handle(Input::Closed { conn });
        self.look(&out, None, None);
    }
}

fn admit(rig: &mut Rig, one: &Cast) -> ConnId {
    let conn = rig.upgrade();
    let scopes: Vec<&str> = one.scopes.clone();
    let params = json!({
        "minProtocol": one.protocol, "maxProtocol": one.protocol, "scopes": scopes, "caps": one.caps,
        "client": {"id": "gateway-client", "mode": "backend", "version": "1", "platform": "linux"},
    });
    let params = ConnectParams::parse(Some(&to_raw_value(&params).unwrap())).unwrap();
    let request = Box::new(ConnectRequest { id: "1".into(), params, proof: Proof::Absent });
    let out = rig.handle(Input::Connect { conn, request });
    assert!(out.iter().any(|output| matches!(output, Output::To(_, Order::Admit(_)))), "{out:?}");
    conn
}

proptest! {
    #[test]
    fn approvals_are_between_those_who_may_see_them(
        cast in prop::collection::vec(cast(), 4),
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut play = Play::new(cast);
        for act in acts {
            match act {
                Act::Call { who, method, id, choice } => play.call(who, method, id, choice),
                Act::Leave { who } if !play.gone[who] => play.leave(who),
                Act::Leave { .. } => {}
                Act::Pass { ms } => play.pass(ms),
            }
            // Who is gone waits for nothing.
            prop_assert_eq!(play.rig.gateway.census().decisions_awaited, play.open.len());
        }
        play.pass(5_001);
        prop_assert_eq!(&play.open, &BTreeMap::new(), "frames that are never answered");
        prop_assert_eq!(play.rig.gateway.census().decisions_awaited, 0);
    }
}
