//! `wizard.*`: a first set-up from elsewhere (spec: methods section 11). The questions are [`crate::wizard`]'s; what is
//! suggested comes from the configuration file, and what was answered goes there as one change, on top of what the
//! questions were asked about. One set-up at a time; one that nobody goes on with gives way.

use super::{Call, Gateway, Purpose};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::host::config::{ConfigFault, ConfigOp, ConfigWrite};
use crate::host::{HostAnswer, HostRequest, WizardStart};
use crate::id::ConnId;
use crate::methods::Params;
use crate::output::{Output, Reply};
use crate::secret::Secret;
use crate::time::{Mono, Now};
use crate::wizard::Wizard;
use serde_json::{Map, Value, json};

/// The set-up that is under way, or the one that ended last.
#[derive(Debug)]
pub(super) struct Setup {
    id: String,
    wizard: Wizard,
    /// Of the text that the questions were asked about.
    base_hash: String,
    state: State,
    touched: Mono,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// All is answered; the change is on its way to the disk.
    Writing,
    Done,
    Cancelled,
    Failed(String),
}

impl State {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Running | Self::Writing => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "error",
        }
    }
}

impl Setup {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::Writing)
    }

    /// The members that `wizard.start` and `wizard.next` share.
    fn progress(&self, error: Option<&str>) -> Value {
        let mut shown = json!({"done": !self.is_running(), "status": self.state.as_str()});
        if let (State::Running, Some(step)) = (&self.state, self.wizard.step()) {
            shown["step"] = step;
        }
        let failed = if let State::Failed(why) = &self.state { Some(why.as_str()) } else { None };
        if let Some(error) = error.or(failed) {
            shown["error"] = json!(error);
        }
        shown
    }
}

/// `wizard.start`.
pub(crate) fn start(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(params) = object(&call.params) else { return };
    if params.get("mode").is_some_and(|mode| mode == "remote")
        || params.get("flow").is_some_and(|flow| flow == "channels")
    {
        let message = "this gateway sets up itself: use mode \"local\" and flow \"setup\"".to_owned();
        return unavailable(gateway, (call.conn, call.id), message, out);
    }
    let idle_ms = gateway.config.limits.wizard_idle_ms;
    let is_taken = gateway.setup.as_ref().is_some_and(|setup| {
        setup.state == State::Writing
            || (setup.state == State::Running && call.now.mono < setup.touched.plus_millis(idle_ms))
    });
    let is_asked = gateway.tickets.values().any(|purpose| matches!(purpose, Purpose::WizardStart { .. }));
    if is_taken || is_asked {
        return unavailable(gateway, (call.conn, call.id), "wizard already running".to_owned(), out);
    }
    let purpose = Purpose::WizardStart { conn: call.conn, id: call.id };
    gateway.ask_host(call.now, HostRequest::WizardStart, purpose, out);
}

/// `wizard.next`.
pub(crate) fn next(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(params) = object(&call.params) else { return };
    let Some(setup) = find(gateway, params) else { return not_found(gateway, call, out) };
    if setup.state != State::Running {
        let error = RequestError::Invalid("wizard not running".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    }
    setup.touched = call.now.mono;
    let mut error = None;
    if let Some(answer) = params.get("answer") {
        if answer["stepId"].as_str() != setup.wizard.step_id() {
            let message = "Error: wizard: no pending step".to_owned();
            return unavailable(gateway, (call.conn, call.id), message, out);
        }
        error = setup.wizard.answer(answer.get("value")).err();
    }
    if setup.wizard.step().is_some() {
        let shown = setup.progress(error.as_deref());
        return reply(gateway, call.conn, call.id, shown, out);
    }
    setup.state = State::Writing;
    let draft = setup.wizard.draft().clone();
    let base_hash = setup.base_hash.clone();
    let generated = draft.wants_token().then(|| gateway.random.hex_token());
    let mut patch = Value::Object(Map::new());
    for setting in draft.settings(generated.as_ref().and_then(|token| Secret::new(token)).as_ref()) {
        let place = setting.path.iter().fold(&mut patch, |place, name| &mut place[*name]);
        *place = setting.value;
    }
    let write = ConfigWrite {
        raw: patch.to_string(),
        base_hash: Some(base_hash),
        note: Some("wizard".to_owned()),
        ..ConfigWrite::default()
    };
    let dialect = gateway.peers.session(call.conn).map(|session| session.dialect);
    let Some(dialect) = dialect else { return };
    let request = HostRequest::Config { op: ConfigOp::Patch(write), dialect };
    let purpose = Purpose::WizardWrite { conn: call.conn, id: call.id };
    gateway.ask_host(call.now, request, purpose, out);
}

/// `wizard.cancel`. What is on its way to the disk gets there.
pub(crate) fn cancel(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(params) = object(&call.params) else { return };
    let Some(setup) = find(gateway, params) else { return not_found(gateway, call, out) };
    if setup.state == State::Running {
        setup.state = State::Cancelled;
    }
    let shown = status_of(setup);
    reply(gateway, call.conn, call.id, shown, out);
}

/// `wizard.status`.
pub(crate) fn status(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(params) = object(&call.params) else { return };
    let Some(setup) = find(gateway, params) else { return not_found(gateway, call, out) };
    let shown = status_of(setup);
    reply(gateway, call.conn, call.id, shown, out);
}

impl Gateway {
    /// The host has said what the configuration suggests.
    pub(super) fn wizard_started(
        &mut self,
        now: Now,
        (conn, id): (ConnId, Box<str>),
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let WizardStart { draft, base_hash } = match answer {
            Some(HostAnswer::WizardStart(Ok(start))) => *start,
            Some(HostAnswer::WizardStart(Err(fault))) => {
                return unavailable(self, (conn, id), why(&fault), out);
            }
            Some(_) | None => return unavailable(self, (conn, id), SILENT.to_owned(), out),
        };
        let setup = Setup {
            id: self.random.uuid(),
            wizard: Wizard::new(draft),
            base_hash,
            state: State::Running,
            touched: now.mono,
        };
        let mut shown = setup.progress(None);
        shown["sessionId"] = json!(setup.id);
        self.setup = Some(setup);
        reply(self, conn, id, shown, out);
    }

    /// The change is on the disk, or is not.
    pub(super) fn wizard_written(
        &mut self,
        now: Now,
        (conn, id): (ConnId, Box<str>),
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let (state, news) = match answer {
            Some(HostAnswer::Config(Ok(done))) => (State::Done, done.news),
            Some(HostAnswer::Config(Err(fault))) => (State::Failed(why(&fault)), None),
            Some(_) | None => (State::Failed(SILENT.to_owned()), None),
        };
        if let Some(setup) = &mut self.setup {
            setup.state = state;
            let shown = setup.progress(None);
            reply(self, conn, id, shown, out);
        }
        if let Some(news) = news {
            self.config_news(now, *news, out);
        }
    }
}

const SILENT: &str = "the host did not answer in time; try again";

fn why(fault: &ConfigFault) -> String {
    match fault {
        ConfigFault::Invalid { message, issues } => issues
            .iter()
            .fold(message.clone(), |text, issue| format!("{text}; {}: {}", issue.path, issue.message)),
        ConfigFault::Failed(message) => message.clone(),
    }
}

fn object(params: &Params) -> Option<&Map<String, Value>> {
    if let Params::Object(members) = params { Some(members) } else { None }
}

fn find<'a>(gateway: &'a mut Gateway, params: &Map<String, Value>) -> Option<&'a mut Setup> {
    let wanted = params.get("sessionId").and_then(Value::as_str)?;
    gateway.setup.as_mut().filter(|setup| setup.id == wanted)
}

fn status_of(setup: &Setup) -> Value {
    let mut shown = json!({"status": setup.state.as_str()});
    if let State::Failed(why) = &setup.state {
        shown["error"] = json!(why);
    }
    shown
}

fn reply(gateway: &mut Gateway, conn: ConnId, id: Box<str>, value: Value, out: &mut Vec<Output>) {
    gateway.respond(conn, id, Reply::Ok(Payload::Value(Box::new(value))), out);
}

fn not_found(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let details = json!({"code": "WIZARD_NOT_FOUND"});
    let error = RequestError::Named { message: "wizard not found".to_owned(), details };
    gateway.fail(call.conn, call.id, &error, out);
}

fn unavailable(
    gateway: &mut Gateway,
    (conn, id): (ConnId, Box<str>),
    message: String,
    out: &mut Vec<Output>,
) {
    let error = RequestError::Unavailable { message, reason: "wizard", retryable: true };
    gateway.fail(conn, id, &error, out);
}
