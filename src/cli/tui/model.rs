//! What is known of the gateway, out of hello-ok, answers and events. Pure: no socket, no clock, no terminal. Everything in
//! it is bounded, and made safe to be shown where it comes in (`rows.rs`, `stream.rs`).

use super::facts::Fact;
use super::rows::{self, Answer, Item, Kind, Mood, Question, When, items, short, text};
use super::stream::Stream;
use super::text::span;
use super::ui::Panel;
use crate::cli::render;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is known of a gateway.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) url: String,
    pub(super) version: String,
    pub(super) protocol: String,
    pub(super) link: Link,
    /// What the gateway said about its end, while it is about to go.
    pub(super) leaving: Option<Leaving>,
    /// As hello-ok names them.
    scopes: Vec<String>,
    /// By this machine's clock.
    pub(super) started_ms: Option<u64>,
    pub(super) figures: Figures,
    pub(super) nodes: List,
    pub(super) nodes_here: usize,
    pub(super) attached: List,
    pub(super) paired: List,
    device_pairings: List,
    node_pairings: List,
    exec: List,
    plugin: List,
    pub(super) refusals: List,
    pub(super) events: Stream,
    pub(super) log: Stream,
    pub(super) log_file: String,
    pub(super) log_cursor: Option<u64>,
    errors: BTreeMap<Fact, String>,
    /// The gateway's clock less this machine's, as its latest `tick` told.
    clock_offset_ms: i64,
}

/// The connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Open,
    /// The gateway is gone; when it is looked for again, by the clock of the loop. `None` is now.
    Gone {
        why: String,
        again_ms: Option<u64>,
    },
}

/// What `shutdown` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) reason: String,
    /// When it should be there again, from the moment it said so.
    pub(super) expected_ms: Option<u64>,
}

/// Entries that are kept, and how many there are.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) items: Vec<Item>,
    pub(super) all: usize,
}

impl List {
    fn of(list: &Value, row: impl Fn(&Value) -> Item) -> Self {
        let (items, all) = items(list, row);
        Self { items, all }
    }
}

/// The gateway's own numbers, as far as it tells them.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) hostname: String,
    pub(super) resident_bytes: Option<u64>,
    pub(super) queued_bytes: Option<(u64, u64)>,
    pub(super) sockets_open: Option<u64>,
    pub(super) sockets_http: u64,
    pub(super) sockets_max: Option<u64>,
    pub(super) refused: u64,
    pub(super) is_well: Option<bool>,
    pub(super) phase: String,
    pub(super) restart_needed: Vec<String>,
    pub(super) config_fault: String,
}

impl Model {
    /// Nothing is known yet but where it is.
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: render::clean(url),
            version: String::new(),
            protocol: String::new(),
            link: Link::Open,
            leaving: None,
            scopes: Vec::new(),
            started_ms: None,
            figures: Figures::default(),
            nodes: List::default(),
            nodes_here: 0,
            attached: List::default(),
            paired: List::default(),
            device_pairings: List::default(),
            node_pairings: List::default(),
            exec: List::default(),
            plugin: List::default(),
            refusals: List::default(),
            events: Stream::new(EVENTS_MAX),
            log: Stream::new(LOG_LINES_MAX),
            log_file: String::new(),
            log_cursor: None,
            errors: BTreeMap::new(),
            clock_offset_ms: 0,
        }
    }

    /// A connection is open; `hello` is hello-ok.
    pub(super) fn opened(&mut self, hello: &Value, scopes: &[&str], wall_ms: u64) {
        self.link = Link::Open;
        self.leaving = None;
        self.version = text(&hello["server"]["version"]);
        self.protocol = text(&hello["protocol"]);
        self.scopes = scopes.iter().map(|scope| short(&render::clean(scope))).collect();
        self.started_ms = hello["snapshot"]["uptimeMs"].as_u64().map(|up| wall_ms.saturating_sub(up));
        self.errors.clear();
        // What waited before the connection was lost may be decided by now.
        DECIDED.into_iter().for_each(|fact| self.forget(fact));
        if hello["snapshot"]["presence"].is_array() {
            self.learn(Fact::Presence, &hello["snapshot"]["presence"]);
        }
        if hello["snapshot"]["health"].is_object() {
            self.learn(Fact::Health, &hello["snapshot"]["health"]);
        }
    }

    /// The gateway answered.
    pub(super) fn learn(&mut self, fact: Fact, answer: &Value) {
        self.errors.remove(&fact);
        match fact {
            Fact::Status => self.learn_status(&answer["gateway"]),
            Fact::Health => self.figures.is_well = answer["ok"].as_bool(),
            Fact::System => self.figures.hostname = text(&answer["hostname"]),
            Fact::Presence => {
                let list = answer.as_array().map(Vec::as_slice).unwrap_or_default();
                let mut there = list.iter().filter_map(rows::attached);
                let items: Vec<Item> = there.by_ref().take(rows::ITEMS_MAX).collect();
                let all = items.len() + there.count();
                self.attached = List { items, all };
            }
            Fact::Nodes => {
                let list = &answer["nodes"];
                let is_here = |node: &&Value| node["connected"] == true;
                self.nodes_here = list.as_array().into_iter().flatten().filter(is_here).count();
                self.nodes = List::of(list, rows::node);
            }
            Fact::NodePairs => self.node_pairings = List::of(&answer["pending"], rows::node_pairing),
            Fact::Devices => {
                self.device_pairings = List::of(&answer["pending"], rows::device_pairing);
                self.paired = List::of(&answer["paired"], rows::paired);
            }
            Fact::ExecApprovals => self.exec = List::of(answer, |entry| rows::approval(entry, Kind::Exec)),
            Fact::PluginApprovals => {
                self.plugin = List::of(answer, |entry| rows::approval(entry, Kind::Plugin));
            }
            Fact::Log => {
                if answer["reset"] == true {
                    self.log.clear();
                }
                self.log_cursor = answer["cursor"].as_u64();
                self.log_file = text(&answer["file"]);
                let lines = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
                let newest = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
                newest.iter().filter_map(Value::as_str).for_each(|line| self.log.push_log(line));
            }
        }
    }

    fn learn_status(&mut self, gateway: &Value) {
        let (memory, sockets) = (&gateway["memory"], &gateway["sockets"]);
        let hostname = std::mem::take(&mut self.figures.hostname);
        let counts = gateway["refused"].as_object();
        let mut counts: Vec<(&str, u64)> = counts
            .into_iter()
            .flatten()
            .map(|(code, count)| (code.as_str(), count.as_u64().unwrap_or_default()))
            .collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let fault = &gateway["configFault"];
        self.figures = Figures {
            hostname,
            resident_bytes: memory["residentBytes"].as_u64(),
            queued_bytes: memory["budgetUsedBytes"].as_u64().zip(memory["budgetMaxBytes"].as_u64()),
            sockets_open: sockets["open"].as_u64(),
            sockets_http: sockets["http"].as_u64().unwrap_or_default(),
            sockets_max: sockets["max"].as_u64(),
            refused: counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count)),
            is_well: self.figures.is_well,
            phase: text(&gateway["phase"]),
            restart_needed: gateway["restartNeeded"]
                .as_array()
                .into_iter()
                .flatten()
                .take(SETTINGS_MAX)
                .map(text)
                .collect(),
            config_fault: if fault.is_object() {
                format!("{}: {}", text(&fault["file"]), text(&fault["message"]))
            } else {
                String::new()
            },
        };
        let latest = List::of(&gateway["recentRefusals"], rows::refusal);
        let room = rows::ITEMS_MAX.saturating_sub(latest.items.len());
        let by_reason = counts.iter().take(room).map(|(code, count)| rows::refused(code, *count));
        let items: Vec<Item> = latest.items.into_iter().chain(by_reason).collect();
        self.refusals = List { all: latest.all + counts.len(), items };
    }

    /// The gateway would not tell.
    pub(super) fn failed(&mut self, fact: Fact, why: &str) {
        self.errors.insert(fact, short(&render::clean(why)));
    }

    /// The gateway does not tell this connection, and what it told another is not shown for it.
    pub(super) fn refused(&mut self, fact: Fact, why: &str) {
        self.forget(fact);
        self.failed(fact, why);
    }

    fn forget(&mut self, fact: Fact) {
        match fact {
            Fact::Status => self.learn_status(&Value::Null),
            Fact::Health => self.figures.is_well = None,
            Fact::System => self.figures.hostname.clear(),
            Fact::Presence => self.attached = List::default(),
            Fact::Nodes => (self.nodes, self.nodes_here) = (List::default(), 0),
            Fact::NodePairs => self.node_pairings = List::default(),
            Fact::Devices => {
                self.device_pairings = List::default();
                self.paired = List::default();
            }
            Fact::ExecApprovals => self.exec = List::default(),
            Fact::PluginApprovals => self.plugin = List::default(),
            Fact::Log => {
                self.log.clear();
                self.log_cursor = None;
            }
        }
    }

    /// Why a list is empty when the gateway did not give it.
    pub(super) fn excuse(&self, facts: &[Fact]) -> Option<String> {
        let why = facts.iter().find_map(|fact| self.errors.get(fact))?;
        Some(format!("Not shown: {why}"))
    }

    /// An event came; `payload` is its text, and `value` makes it out of that.
    pub(super) fn heard(&mut self, name: &str, payload: &str, value: impl FnOnce() -> Value, wall_ms: u64) {
        self.events.push_event(name, payload, wall_ms);
        match name {
            "presence" => self.learn(Fact::Presence, &value()["presence"]),
            "health" => self.learn(Fact::Health, &value()),
            "tick" => {
                if let Some(there) = value()["ts"].as_i64() {
                    self.clock_offset_ms = there.saturating_sub_unsigned(wall_ms);
                }
            }
            "shutdown" => {
                let value = value();
                let expected_ms =
                    value["restartExpectedMs"].as_u64().map(|ms| ms.clamp(PAUSE_MS_MIN, PAUSE_MS_MAX));
                self.leaving = Some(Leaving { reason: text(&value["reason"]), expected_ms });
            }
            _ => {}
        }
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, why: &str, again_ms: u64) {
        let first = why.lines().next().unwrap_or_default();
        self.link = Link::Gone { why: short(&render::clean(first)), again_ms: Some(again_ms) };
    }

    /// It is looked for.
    pub(super) fn trying(&mut self) {
        if let Link::Gone { again_ms, .. } = &mut self.link {
            *again_ms = None;
        }
    }

    /// How it is with the connection, in words, and how good that is. `now_ms` is by the clock of the loop.
    pub(super) fn link_text(&self, now_ms: u64) -> (String, Mood) {
        match (&self.link, &self.leaving) {
            (Link::Open, None) => ("connected".to_owned(), Mood::Good),
            (Link::Open, Some(_)) => ("gateway is going".to_owned(), Mood::Waits),
            (Link::Gone { again_ms: Some(at), .. }, _) => {
                let left = span(at.saturating_sub(now_ms).next_multiple_of(1_000));
                (format!("gateway is gone, trying again in {left}"), Mood::Bad)
            }
            (Link::Gone { again_ms: None, .. }, _) => {
                ("gateway is gone, trying again now".to_owned(), Mood::Bad)
            }
        }
    }

    /// Why the gateway goes, or is gone.
    pub(super) fn why_gone(&self) -> Option<String> {
        match (&self.link, &self.leaving) {
            (_, Some(leaving)) => Some(leaving.text()),
            (Link::Gone { why, .. }, None) => Some(why.clone()),
            (Link::Open, None) => None,
        }
    }

    /// How many entries a view leaves out, because there are too many.
    pub(super) fn left_out(&self, panel: Panel) -> usize {
        let lists: &[&List] = match panel {
            Panel::Pairing => &[&self.device_pairings, &self.node_pairings],
            Panel::Approvals => &[&self.exec, &self.plugin],
            Panel::Nodes => &[&self.nodes],
            Panel::People => &[&self.attached, &self.paired],
            Panel::Refusals => &[&self.refusals],
            Panel::Overview | Panel::Events | Panel::Log => &[],
        };
        lists.iter().map(|list| list.all.saturating_sub(list.items.len())).sum()
    }

    /// Pending pairings of devices and of what nodes offer, in the order they came.
    pub(super) fn pairings(&self) -> Vec<&Item> {
        let mut all: Vec<&Item> =
            self.device_pairings.items.iter().chain(&self.node_pairings.items).collect();
        all.sort_by_key(|item| match item.when {
            When::Since(_, at) | When::Until(at) => at,
            When::Never => 0,
        });
        all
    }

    /// Approvals that wait, the one that runs out first on top. Which those are the gateway says: this machine's clock may
    /// be another.
    pub(super) fn approvals(&self) -> Vec<&Item> {
        let mut all: Vec<&Item> = self.exec.items.iter().chain(&self.plugin.items).collect();
        all.sort_by_key(|item| end(item));
        all
    }

    /// Whether an approval's time is over, as far as the gateway's clock is known: then it is asked what is left.
    pub(super) fn has_run_out(&self, wall_ms: u64) -> bool {
        let there = i128::from(wall_ms) + i128::from(self.clock_offset_ms);
        self.approvals().first().is_some_and(|item| i128::from(end(item)) <= there)
    }

    /// The entry that a question belongs to, as long as it waits.
    pub(super) fn waiting(&self, question: &Question) -> Option<&Item> {
        let waiting = match question.kind {
            Kind::Device | Kind::Node => self.pairings(),
            Kind::Exec | Kind::Plugin => self.approvals(),
        };
        waiting.into_iter().find(|item| item.question.as_ref() == Some(question))
    }

    /// The scope that a decision needs and that this connection lacks.
    pub(super) fn missing_scope(&self, kind: Kind) -> Option<&'static str> {
        let needed = match kind {
            Kind::Device | Kind::Node => "operator.pairing",
            Kind::Exec | Kind::Plugin => "operator.approvals",
        };
        let has = |scope: &str| self.scopes.iter().any(|held| held == scope);
        (!has(needed) && !has("operator.admin")).then_some(needed)
    }
}

/// When an approval runs out, by the gateway's clock.
fn end(item: &Item) -> u64 {
    match item.when {
        When::Until(at) => at,
        When::Since(..) | When::Never => u64::MAX,
    }
}

impl Leaving {
    fn text(&self) -> String {
        match self.expected_ms {
            Some(ms) => format!("{}, expected back in {}.{} s", self.reason, ms / 1_000, ms % 1_000 / 100),
            None => self.reason.clone(),
        }
    }
}

/// The method and the word of a decision.
pub(super) fn decided_by(kind: Kind, answer: Answer) -> (&'static str, &'static str) {
    match (kind, answer) {
        (Kind::Device, Answer::Yes | Answer::Always) => ("device.pair.approve", ""),
        (Kind::Device, Answer::No) => ("device.pair.reject", ""),
        (Kind::Node, Answer::Yes | Answer::Always) => ("node.pair.approve", ""),
        (Kind::Node, Answer::No) => ("node.pair.reject", ""),
        (Kind::Exec, Answer::Yes) => ("exec.approval.resolve", "allow-once"),
        (Kind::Exec, Answer::Always) => ("exec.approval.resolve", "allow-always"),
        (Kind::Exec, Answer::No) => ("exec.approval.resolve", "deny"),
        (Kind::Plugin, Answer::Yes) => ("plugin.approval.resolve", "allow-once"),
        (Kind::Plugin, Answer::Always) => ("plugin.approval.resolve", "allow-always"),
        (Kind::Plugin, Answer::No) => ("plugin.approval.resolve", "deny"),
    }
}

/// What has entries that a person decides.
const DECIDED: [Fact; 4] = [Fact::Devices, Fact::NodePairs, Fact::ExecApprovals, Fact::PluginApprovals];
/// Events that are kept.
pub(super) const EVENTS_MAX: usize = 500;
/// Lines of the log that are kept.
pub(super) const LOG_LINES_MAX: usize = 500;
const SETTINGS_MAX: usize = 50;
/// No gateway is believed that it comes back later than this.
const PAUSE_MS_MAX: u64 = 30_000;
/// Nor sooner: one that says so again and again is not asked without a pause.
const PAUSE_MS_MIN: u64 = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_come_from_hello_answers_and_events() {
        let mut model = Model::new("ws://h/");
        let hello = json!({"protocol": 4, "server": {"version": "9.8.7"}, "snapshot": {"uptimeMs": 4_000,
            "presence": [{"mode": "webchat", "host": "page", "instanceId": "i"}], "health": {"ok": true}}});
        model.opened(&hello, &["operator.read"], 10_000);
        assert_eq!((model.version.as_str(), model.started_ms), ("9.8.7", Some(6_000)));
        assert_eq!((model.attached.items[0].name.as_str(), model.figures.is_well), ("page", Some(true)));
        model.learn(
            Fact::Status,
            &json!({"gateway": {"sockets": {"open": 3, "max": 10}, "memory": {"residentBytes": 5},
                "refused": {"A": 1, "B": 4}, "recentRefusals": [{"ts": 1, "code": "A", "count": 2}],
                "restartNeeded": ["gateway.bind"], "phase": "accepting"}}),
        );
        assert_eq!((model.figures.refused, model.figures.sockets_open), (5, Some(3)));
        let names: Vec<&str> = model.refusals.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "A"], "the latest, then the counts, the largest first");
        assert_eq!(model.figures.is_well, Some(true));
        model.heard("presence", "", || json!({"presence": []}), 0);
        assert_eq!(model.attached.all, 0);
        model.failed(Fact::Devices, "missing scope");
        assert_eq!(model.excuse(&[Fact::Devices]).as_deref(), Some("Not shown: missing scope"));
        model.learn(Fact::Devices, &json!({}));
        assert_eq!(model.excuse(&[Fact::Devices]), None);
    }

    #[test]
    fn what_waits_is_in_order_and_ends_with_its_time() {
        let mut model = Model::new("");
        model.learn(Fact::Devices, &json!({"pending": [{"requestId": "d", "ts": 5}]}));
        model.learn(Fact::NodePairs, &json!({"pending": [{"requestId": "n", "ts": 3}]}));
        model.learn(
            Fact::ExecApprovals,
            &json!([{"id": "late", "expiresAtMs": 90}, {"id": "soon", "expiresAtMs": 50}]),
        );
        model.learn(Fact::PluginApprovals, &json!([{"id": "plugin:p", "expiresAtMs": 70}]));
        let keys = |items: Vec<&Item>| items.iter().map(|item| item.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(model.pairings()), ["n", "d"]);
        assert_eq!(keys(model.approvals()), ["soon", "plugin:p", "late"]);
        let question = model.approvals()[0].question.clone().unwrap_or_else(|| panic!("a question"));
        assert!(model.waiting(&question).is_some());
        // By the clock of this machine all are over; the gateway's is an hour behind.
        assert_eq!((model.has_run_out(100_000), model.approvals().len()), (true, 3));
        model.heard("tick", "", || json!({"ts": 40}), 100_000);
        assert_eq!([100_009, 100_010].map(|wall_ms| model.has_run_out(wall_ms)), [false, true]);
        model.learn(Fact::ExecApprovals, &json!([{"id": "late", "expiresAtMs": 90}]));
        assert!(model.waiting(&question).is_none() && !model.has_run_out(100_010));
    }

    #[test]
    fn what_could_be_decided_is_forgotten_with_the_connection_and_with_the_scope() {
        let mut model = Model::new("");
        let fill = |model: &mut Model| {
            model.learn(
                Fact::Devices,
                &json!({"pending": [{"requestId": "d"}], "paired": [{"deviceId": "d"}]}),
            );
            model.learn(Fact::NodePairs, &json!({"pending": [{"requestId": "n"}]}));
            model.learn(Fact::ExecApprovals, &json!([{"id": "e"}]));
            model.learn(Fact::PluginApprovals, &json!([{"id": "p"}]));
        };
        let count = |model: &Model| (model.pairings().len(), model.approvals().len());
        fill(&mut model);
        assert_eq!(count(&model), (2, 2));
        model.opened(&json!({}), &[], 0);
        assert_eq!(count(&model), (0, 0));
        fill(&mut model);
        model.failed(Fact::ExecApprovals, "the gateway did not answer in time");
        assert_eq!(count(&model), (2, 2), "that says nothing of them");
        model.refused(Fact::ExecApprovals, "missing scope: operator.approvals");
        model.refused(Fact::Devices, "missing scope: operator.pairing");
        assert_eq!((count(&model), model.paired.all), ((1, 1), 0));
        assert!(model.excuse(&[Fact::ExecApprovals]).is_some_and(|why| why.contains("operator.approvals")));
    }

    #[test]
    fn decisions_need_their_scope_or_admin() {
        let mut model = Model::new("");
        model.opened(&json!({}), &["operator.read", "operator.pairing"], 0);
        assert_eq!(model.missing_scope(Kind::Node), None);
        assert_eq!(model.missing_scope(Kind::Exec), Some("operator.approvals"));
        model.opened(&json!({}), &["operator.admin"], 0);
        assert_eq!((model.missing_scope(Kind::Device), model.missing_scope(Kind::Plugin)), (None, None));
    }

    #[test]
    fn a_gateway_that_goes_says_when_it_is_expected() {
        let mut model = Model::new("");
        assert_eq!(model.link_text(0), ("connected".to_owned(), Mood::Good));
        let said = json!({"reason": "gateway restarting", "restartExpectedMs": 1_500});
        model.heard("shutdown", "", || said, 0);
        assert_eq!(model.link_text(0), ("gateway is going".to_owned(), Mood::Waits));
        assert_eq!(model.why_gone().as_deref(), Some("gateway restarting, expected back in 1.5 s"));
        model.lost("closed (1012)\nmore", 2_500);
        assert_eq!(model.link_text(1_000), ("gateway is gone, trying again in 2 s".to_owned(), Mood::Bad));
        assert_eq!(model.why_gone().as_deref(), Some("gateway restarting, expected back in 1.5 s"));
        model.trying();
        assert_eq!(model.link_text(1_000).0, "gateway is gone, trying again now");
        model.opened(&json!({}), &[], 0);
        assert_eq!(model.why_gone(), None);
        model.heard("shutdown", "", || json!({"reason": "r", "restartExpectedMs": 0}), 0);
        assert_eq!(model.leaving.take().and_then(|leaving| leaving.expected_ms), Some(PAUSE_MS_MIN));
        model.lost("closed (1006)\nmore", 0);
        assert_eq!(model.link_text(0).0, "gateway is gone, trying again in 0 s");
        assert_eq!(model.why_gone().as_deref(), Some("closed (1006)"));
    }

    #[test]
    fn the_log_is_bounded_and_begins_anew_when_its_file_did() {
        let mut model = Model::new("");
        let lines: Vec<String> = (0..LOG_LINES_MAX + 9).map(|i| format!("line {i}")).collect();
        model.learn(Fact::Log, &json!({"cursor": 5, "lines": lines, "file": "f"}));
        let filter = super::super::stream::Filter::default();
        assert_eq!((model.log.shown(&filter).1, model.log_cursor), (LOG_LINES_MAX, Some(5)));
        model.learn(Fact::Log, &json!({"cursor": 1, "lines": ["new"], "reset": true}));
        assert_eq!(model.log.shown(&filter).1, 1);
    }
}
