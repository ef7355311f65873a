//! A recorded case: what is sent, and which codes, texts, closes and shapes come back.
//!
//! `expect` is what the reference did. Where this gateway does something else on purpose, `here` says what, and
//! names the row of `docs/compatibility.md` that says why. What this gateway does not do yet has `waits_for`.
//!
//! Shapes that several cases share stand in `tests/cases/shapes-FOLDER.json`; a text `@NAME` is the shape of that name.

use crate::shape;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) case: String,
    /// The reference's release.
    #[serde(rename = "release")]
    pub(crate) _release: String,
    /// What happens, in order.
    pub(crate) steps: Vec<Step>,
    /// Folder and name, for messages.
    #[serde(skip)]
    pub(crate) path: String,
}

/// One act of one client, and what follows from it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Which client.
    pub(crate) on: String,
    /// What it does.
    pub(crate) r#do: Act,
    /// What the reference did then.
    #[serde(default)]
    pub(crate) expect: Expect,
    /// What this gateway does instead.
    pub(crate) here: Option<Here>,
    /// What is not built yet, so that this step cannot go as the reference's did.
    pub(crate) waits_for: Option<Part>,
    /// Parts of what came, by the name under which later steps say them as `<NAME>`: JSON pointers into the payload of
    /// the answer or of the event.
    #[serde(default)]
    pub(crate) keep: BTreeMap<String, String>,
}

/// A part of the gateway that is still to come.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Nodes: their list, their pairing, and what is asked of them.
    Nodes,
    /// Approvals of commands.
    Approvals,
    /// Conversations.
    Chat,
}

/// What a client does.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Act {
    /// Upgrades and waits for the challenge.
    Open,
    /// Upgrades and answers the challenge.
    Connect(Connect),
    /// Calls a method.
    Call(Call),
    /// Sends a request, and does not wait for its answer.
    Ask(Call),
    /// Waits for the next answer to the request of that method that was sent last.
    Answered(String),
    /// Looks at hello-ok once more: its payload is the `body`.
    Hello,
    /// Sends a plain HTTP request.
    Http(Fetch),
    /// Sends a frame, or a text that is none.
    Send(Value),
    /// Sends a text of that size.
    SendText {
        /// Its length.
        bytes: usize,
    },
    /// Waits for an event.
    Listen(String),
    /// Says nothing until the gateway loses patience.
    Silence,
    /// Waits for what follows from another client's act.
    Nothing,
    /// Closes.
    Close,
}

/// A handshake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connect {
    /// `connect.params` without credentials and device.
    pub(crate) params: Map<String, Value>,
    /// Credentials by member: `gateway` is the shared token, `wrong` another text, `issued to NAME` the device
    /// token of the device of that name.
    #[serde(default)]
    pub(crate) auth: BTreeMap<String, String>,
    /// The device that proves itself.
    pub(crate) device: Option<String>,
    /// What is wrong with its proof.
    pub(crate) r#break: Option<Break>,
    /// Further headers of the upgrade.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

/// What is wrong with a device proof.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Break {
    /// No nonce.
    NonceMissing,
    /// Another nonce, properly signed.
    Nonce,
    /// A signature that is none.
    Signature,
    /// The id of another key.
    Id,
}

/// A request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    /// Its method.
    pub(crate) method: String,
    /// Its params; `<id of NAME>` is the id of the device of that name.
    pub(crate) params: Option<Value>,
}

/// A plain HTTP request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fetch {
    /// Its method.
    pub(crate) method: String,
    /// Its path.
    pub(crate) path: String,
}

/// What comes back. What is not named is not there.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// Shape of the challenge's payload.
    pub(crate) challenge: Option<Value>,
    /// hello-ok.
    pub(crate) hello: Option<HelloOk>,
    /// The `error` member of the answer; `<requestId>` and `<deviceId>` stand for what is new each time.
    pub(crate) error: Option<Value>,
    /// Shape of the payload of a successful answer.
    pub(crate) ok: Option<Value>,
    /// Devices whose ids must stand somewhere in that payload.
    pub(crate) names: Vec<String>,
    /// Devices that a list of devices must name.
    pub(crate) paired: Vec<String>,
    /// Devices that it must not name.
    pub(crate) not_paired: Vec<String>,
    /// Status of a plain HTTP answer, to the upgrade too.
    pub(crate) http: Option<u16>,
    /// Headers that it has, without regard to others.
    pub(crate) headers: BTreeMap<String, String>,
    /// Shape of its body.
    pub(crate) body: Option<Value>,
    /// The answer to a frame.
    pub(crate) answer: Option<Answer>,
    /// The event that was waited for.
    pub(crate) event: Option<Event>,
    /// The close.
    pub(crate) close: Option<Close>,
    /// The connection stays open.
    pub(crate) open: bool,
}

/// hello-ok.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HelloOk {
    /// `protocol`.
    pub(crate) protocol: u64,
    /// `auth`, or null when there is none.
    pub(crate) auth: Option<Auth>,
    /// `policy`.
    pub(crate) policy: Option<Map<String, Value>>,
    /// Shape of the whole payload.
    pub(crate) payload: Option<Value>,
}

/// `auth` of hello-ok.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Auth {
    /// `role`.
    pub(crate) role: String,
    /// `scopes`, in order.
    pub(crate) scopes: Vec<String>,
    /// Whether there is a `deviceToken`.
    pub(crate) device_token: bool,
}

/// The answer to a frame.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// `id`, of whatever type.
    pub(crate) id: Value,
    /// `error`.
    pub(crate) error: Value,
}

/// An event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Event {
    /// Whether it is numbered.
    pub(crate) seq: bool,
    /// Whether it carries `stateVersion`.
    pub(crate) state_version: bool,
    /// Shape of its payload.
    pub(crate) payload: Value,
}

/// A close frame.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Close {
    /// Its code.
    pub(crate) code: u16,
    /// Its reason; `<requestId>` is that of the answer before.
    pub(crate) reason: String,
}

/// A difference on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Here {
    /// The row that says why.
    pub(crate) row: String,
    /// What comes back here.
    #[serde(default)]
    pub(crate) expect: Expect,
    /// Or: the same payload without these members, as paths of names (`jobs.state` is a member of every job).
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    /// And with these members besides, by their shapes.
    #[serde(default)]
    pub(crate) has: Map<String, Value>,
}

impl Step {
    /// Makes what is expected here of what the reference did, of what it `lacks` and of what it `has` here.
    fn change_members(&mut self) -> Result<(), String> {
        let changes = |here: &&mut Here| !here.lacks.is_empty() || !here.has.is_empty();
        let Some(here) = self.here.as_mut().filter(changes) else { return Ok(()) };
        here.expect.ok.clone_from(&self.expect.ok);
        here.expect.body.clone_from(&self.expect.body);
        let shape = here.expect.ok.as_mut().or(here.expect.body.as_mut());
        let shape = shape.ok_or("only an answer can lack members")?;
        if let Value::Object(members) = shape {
            members.append(&mut here.has.clone());
        }
        here.lacks.iter().try_for_each(|path| shape::leave_out(shape, path))
    }
}

impl Expect {
    /// Whether nothing comes: then it is waited for only shortly.
    pub(crate) fn is_silence(&self) -> bool {
        self.event.is_none() && self.close.is_none() && self.ok.is_none() && self.error.is_none()
    }
}

/// What a message calls it.
impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Connect(_) => f.write_str("connect"),
            Self::Call(call) => write!(f, "call {}", call.method),
            Self::Ask(call) => write!(f, "ask {}", call.method),
            Self::Answered(method) => write!(f, "answered {method}"),
            Self::Send(frame) => write!(f, "send {frame}"),
            Self::SendText { bytes } => write!(f, "send {bytes} bytes"),
            Self::Hello => f.write_str("hello"),
            Self::Http(fetch) => write!(f, "{} {}", fetch.method, fetch.path),
            Self::Listen(name) => write!(f, "listen {name}"),
            Self::Silence => f.write_str("silence"),
            Self::Nothing => f.write_str("nothing"),
            Self::Close => f.write_str("close"),
        }
    }
}

/// Every case of a folder, in order of their names.
pub(crate) fn load(folder: &str) -> Vec<Case> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let path = home.join(folder);
    let shared = std::fs::read_to_string(home.join(format!("shapes-{folder}.json")));
    let shared = serde_json::from_str(&shared.expect("the shapes are part of the project"));
    let shared: Map<String, Value> = shared.unwrap_or_else(|why| panic!("shapes-{folder}.json: {why}"));
    let entries = std::fs::read_dir(&path).expect("the cases are part of the project");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a case can be read");
        let read = || -> Result<Case, String> {
            let mut value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
            name_shapes(&mut value, &shared)?;
            let mut case: Case = serde_json::from_value(value).map_err(|why| why.to_string())?;
            case.steps.iter_mut().try_for_each(Step::change_members)?;
            Ok(case)
        };
        let mut case = read().unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        assert_eq!(Some(case.case.as_str()), file.file_stem().and_then(|name| name.to_str()));
        case.path = format!("{folder}/{}", case.case);
        cases.push(case);
    }
    cases
}

/// Puts shared shapes in the place of their names, those inside shared shapes too.
fn name_shapes(value: &mut Value, shared: &Map<String, Value>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            let Some(name) = text.strip_prefix('@') else { return Ok(()) };
            let mut shape = shared.get(name).cloned().ok_or(format!("no shape is named {name}"))?;
            name_shapes(&mut shape, shared)?;
            *value = shape;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| name_shapes(item, shared)),
        Value::Object(members) => members.values_mut().try_for_each(|member| name_shapes(member, shared)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
