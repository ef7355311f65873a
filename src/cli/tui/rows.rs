//! Answers as rows for a person: the same words as on the control page (`src/web/control`). Everything that a peer chose is
//! cleaned and cut here, once, so that what is kept is bounded and nothing behind this file has to think of it. What a
//! person decides about is never cut: what is too long to be kept cannot be decided here.

use super::text::short_id;
use crate::cli::render;
use serde_json::Value;

/// One entry of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// Tells it from the others, whatever else changes.
    pub(super) key: String,
    pub(super) name: String,
    /// What it is, or how it is, in a word or two.
    pub(super) tag: String,
    pub(super) mood: Mood,
    pub(super) facts: Vec<String>,
    pub(super) when: When,
    /// Scopes or commands, and which of the two.
    pub(super) grants: (&'static str, Vec<String>),
    /// Whole texts that belong to it.
    pub(super) more: Vec<String>,
    pub(super) question: Option<Question>,
}

/// How good a piece of news is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Plain,
    Good,
    Waits,
    Bad,
    Quiet,
}

/// A time that belongs to an entry; what is shown of it changes by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum When {
    #[default]
    Never,
    /// Since then; with a word before it.
    Since(&'static str, u64),
    /// Until then.
    Until(u64),
}

/// What waits for a person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// As the gateway knows it.
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) allowed: Vec<Answer>,
}

/// About what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Device,
    Node,
    Exec,
    Plugin,
}

/// What may be said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Of a pairing: approve. Of an approval: allow once.
    Yes,
    /// Of an approval: allow always.
    Always,
    /// Of a pairing: reject. Of an approval: deny.
    No,
}

/// The entries of a list, and how many it had.
pub(super) fn items(list: &Value, row: impl Fn(&Value) -> Item) -> (Vec<Item>, usize) {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    (list.iter().take(ITEMS_MAX).map(row).collect(), list.len())
}

/// Somebody who is attached; `None` for the gateway itself, and for those who left.
pub(super) fn attached(entry: &Value) -> Option<Item> {
    if entry["mode"] == "gateway" || entry["reason"] == "disconnect" {
        return None;
    }
    let roles = words(&entry["roles"]);
    let device = text(&entry["deviceId"]);
    let key = match (device.is_empty(), text(&entry["instanceId"])) {
        (false, _) => format!("{device} {}", roles.join(",")),
        (true, instance) if !instance.is_empty() => instance,
        (true, _) => format!("{} {}", text(&entry["host"]), text(&entry["onlineSince"])),
    };
    Some(Item {
        key,
        name: first([text(&entry["host"]), short_id(&device)]),
        tag: if roles.is_empty() { "no device".to_owned() } else { roles.join(", ") },
        facts: facts([
            text(&entry["clientId"]),
            text(&entry["mode"]),
            text(&entry["platform"]),
            prefixed("version", &entry["version"]),
            text(&entry["ip"]),
            short_id(&device),
        ]),
        when: since("attached", &entry["onlineSince"]),
        grants: ("Scopes", scopes(&entry["scopes"])),
        ..Item::default()
    })
}

/// A paired device.
pub(super) fn paired(device: &Value) -> Item {
    let id = text(&device["deviceId"]);
    let is_here = device["connected"] == true;
    Item {
        name: first([
            text(&device["label"]),
            text(&device["displayName"]),
            text(&device["clientId"]),
            short_id(&id),
        ]),
        tag: if is_here { "connected" } else { "away" }.to_owned(),
        mood: if is_here { Mood::Good } else { Mood::Quiet },
        facts: facts([
            words(&device["roles"]).join(", "),
            text(&device["clientId"]),
            text(&device["platform"]),
            short_id(&id),
            prefixed("approved:", &device["approvedVia"]),
        ]),
        when: since("paired", &device["approvedAtMs"]),
        grants: ("Scopes", scopes(&device["scopes"])),
        key: id,
        ..Item::default()
    }
}

/// A node.
pub(super) fn node(node: &Value) -> Item {
    let id = text(&node["nodeId"]);
    let is_here = node["connected"] == true;
    let commands = words(&node["commands"]);
    let mut more = Vec::new();
    if commands.is_empty() {
        more.push("No command may be asked of it.".to_owned());
    }
    if !node["pendingRequestId"].is_null() {
        let asked = words(&node["pendingDeclaredCommands"]).join(", ");
        let asked = if asked.is_empty() { "its surface".to_owned() } else { asked };
        more.push(format!("Waits for approval under Pairing: {asked}"));
    }
    let when = if is_here {
        since("connected", &node["connectedAtMs"])
    } else {
        since("last seen", &node["lastSeenAtMs"])
    };
    Item {
        name: first([text(&node["displayName"]), short_id(&id)]),
        tag: if is_here { "connected" } else { "away" }.to_owned(),
        mood: if is_here { Mood::Good } else { Mood::Quiet },
        facts: facts([
            text(&node["platform"]),
            prefixed("version", &node["version"]),
            text(&node["remoteIp"]),
            short_id(&id),
        ]),
        when,
        grants: ("Commands", commands),
        more,
        key: id,
        ..Item::default()
    }
}

/// A device that asks to be let in.
pub(super) fn device_pairing(asked: &Value) -> Item {
    let roles = whole_words(&asked["roles"]);
    let roles = if roles.is_empty() { render::text(&asked["role"]) } else { roles.join(", ") };
    let tag = if asked["isRepair"] == true { "wants more than it has" } else { "wants to be paired" };
    let id = render::text(&asked["deviceId"]);
    pairing(asked, Kind::Device, &id, tag, roles, ("Scopes", all_scopes(&asked["scopes"])))
}

/// A node that offers something that nobody has approved.
pub(super) fn node_pairing(asked: &Value) -> Item {
    let id = render::text(&asked["nodeId"]);
    let commands = ("Commands", whole_words(&asked["commands"]));
    pairing(asked, Kind::Node, &id, "wants its commands approved", "node".to_owned(), commands)
}

fn pairing(
    asked: &Value,
    kind: Kind,
    id: &str,
    tag: &str,
    role: String,
    mut grants: (&'static str, Vec<String>),
) -> Item {
    let client = [text(&asked["clientId"]), text(&asked["platform"])];
    let client: Vec<String> = client.into_iter().filter(|part| !part.is_empty()).collect();
    let request = asked["requestId"].as_str().unwrap_or_default();
    let whose = match kind {
        Kind::Node => "Node",
        Kind::Device | Kind::Exec | Kind::Plugin => "Device",
    };
    let mut more = vec!["A device's name is what the device says of itself.".to_owned()];
    more.extend(labelled("Roles", &role));
    more.extend(labelled(whose, id));
    more.extend(labelled("Request", &render::clean(request)));
    let is_whole = bytes_of(&grants.1) + bytes_of(&more) <= DECIDED_BYTES_MAX;
    if !is_whole {
        more = more.iter().map(|text| short(text)).collect();
        bound(&mut grants.1);
    }
    let mut item = Item {
        key: render::clean(request),
        name: first([text(&asked["displayName"]), text(&asked["clientId"]), short_id(id)]),
        tag: tag.to_owned(),
        mood: Mood::Waits,
        facts: facts([
            short(&role),
            client.join(" on "),
            first([text(&asked["remoteIp"]), "this machine or a proxy".to_owned()]),
            short_id(id),
        ]),
        when: since("asked", &asked["ts"]),
        grants,
        more,
        ..Item::default()
    };
    let allowed = vec![Answer::Yes, Answer::No];
    decidable(&mut item, is_whole, Question { id: request.to_owned(), kind, allowed });
    item
}

/// A command or an act that waits for a person's word.
pub(super) fn approval(entry: &Value, kind: Kind) -> Item {
    let (id, asked) = (entry["id"].as_str().unwrap_or_default(), &entry["request"]);
    let title = title_of(entry, kind);
    let allowed = match asked["allowedDecisions"].as_array() {
        None => vec![Answer::Yes, Answer::No],
        Some(list) => [("allow-once", Answer::Yes), ("allow-always", Answer::Always), ("deny", Answer::No)]
            .into_iter()
            .filter(|(name, _)| list.iter().any(|allowed| allowed == name))
            .map(|(_, answer)| answer)
            .collect(),
    };
    let place = match (asked["host"].as_str(), asked["nodeId"].as_str()) {
        (Some("node"), Some(node)) => format!("on node {}", short_id(&render::clean(node))),
        (Some(host), _) => format!("on the {}", short(&render::clean(host))),
        (None, _) => String::new(),
    };
    let variables = render::joined(&asked["envKeys"]);
    let folder = render::text(&asked["cwd"]);
    let about = facts([render::text(&asked["pluginId"]), render::text(&asked["description"])]).join(": ");
    let whole = facts([
        about,
        if folder.is_empty() { folder } else { format!("in {folder}") },
        if variables.is_empty() { variables } else { format!("variables {variables}") },
    ]);
    let mut more = vec![title.clone()];
    more.extend(runs(asked, &title));
    more.extend(whole.iter().cloned());
    more.extend(labelled("Node", &render::text(&asked["nodeId"])));
    more.extend(labelled("Agent", &render::text(&asked["agentId"])));
    more.extend(labelled("Approval", &render::clean(id)));
    let is_whole = bytes_of(&more) <= DECIDED_BYTES_MAX;
    if !is_whole {
        more.clear();
    }
    let mut item = Item {
        key: render::clean(id),
        name: short(&title),
        tag: match kind {
            Kind::Plugin => "plugin",
            Kind::Exec | Kind::Device | Kind::Node => "command",
        }
        .to_owned(),
        mood: Mood::Waits,
        facts: facts(
            [place, prefixed("asked by", &asked["agentId"])]
                .into_iter()
                .chain(whole.iter().map(|fact| short(fact))),
        ),
        when: entry["expiresAtMs"].as_u64().map_or(When::Never, When::Until),
        more,
        ..Item::default()
    };
    decidable(&mut item, is_whole, Question { id: id.to_owned(), kind, allowed });
    item
}

/// The command that an approval is about, or its title; whole.
fn title_of(entry: &Value, kind: Kind) -> String {
    let asked = &entry["request"];
    let argv = asked["commandArgv"]
        .as_array()
        .map(|argv| argv.iter().map(render::text).collect::<Vec<_>>().join(" "));
    let command = [&asked["command"], &asked["systemRunPlan"]["commandText"]];
    let found = match kind {
        Kind::Plugin => render::text(&asked["title"]),
        Kind::Exec | Kind::Device | Kind::Node => {
            let command = command.into_iter().find(|text| text.is_string());
            command.map_or_else(|| argv.unwrap_or_default(), render::text)
        }
    };
    first([found, render::text(&entry["id"])])
}

/// The arguments that would be run, each in quotation marks, when the command that is shown is another text. What is run is
/// what somebody decides about.
fn runs(asked: &Value, title: &str) -> Vec<String> {
    let quoted = |argv: &Value| {
        let argv: Vec<String> = argv.as_array()?.iter().map(render::text).collect();
        // One word that holds a space would read like two.
        let is_plain = argv.iter().all(|word| !word.is_empty() && !word.contains(char::is_whitespace));
        if argv.is_empty() || (is_plain && argv.join(" ") == title) {
            return None;
        }
        let quoted: Vec<String> = argv.iter().map(|word| format!("{word:?}")).collect();
        Some(format!("Runs with these arguments: {}", quoted.join(" ")))
    };
    // A node is sent its plan.
    let lists = [&asked["commandArgv"], &asked["systemRunPlan"]["argv"]];
    let mut found: Vec<String> = lists.into_iter().filter_map(quoted).collect();
    found.dedup();
    found
}

fn labelled(label: &str, text: &str) -> Option<String> {
    (!text.is_empty()).then(|| format!("{label}: {text}"))
}

fn bytes_of(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

/// As much of a list as is kept of one that cannot be decided here.
fn bound(words: &mut Vec<String>) {
    let missing = words.len().saturating_sub(WORDS_MAX);
    words.truncate(WORDS_MAX);
    words.iter_mut().for_each(|word| *word = short(word));
    if missing > 0 {
        words.push(format!("and {missing} more"));
    }
}

fn decidable(item: &mut Item, is_whole: bool, question: Question) {
    if is_whole {
        item.question = Some(question);
    } else {
        item.more.push(
            "It is too long to be shown here: decide it with `clawgate approvals`, `devices` or `nodes`."
                .to_owned(),
        );
    }
}

/// Somebody who was turned away.
pub(super) fn refusal(refusal: &Value) -> Item {
    let code = text(&refusal["code"]);
    let times = match refusal["count"].as_u64() {
        Some(count) if count > 1 => format!("{count} times"),
        Some(_) | None => String::new(),
    };
    Item {
        key: format!(
            "{} {code} {} {}",
            text(&refusal["ts"]),
            text(&refusal["address"]),
            text(&refusal["clientId"])
        ),
        mood: Mood::Bad,
        facts: facts([text(&refusal["address"]), text(&refusal["clientId"]), times]),
        when: since("", &refusal["ts"]),
        more: meaning(&code).map(str::to_owned).into_iter().collect(),
        name: code,
        ..Item::default()
    }
}

/// How often a reason was given since the start.
pub(super) fn refused(code: &str, count: u64) -> Item {
    let code = short(&render::clean(code));
    Item {
        key: format!("count {code}"),
        tag: if count == 1 { "once".to_owned() } else { format!("{count} times") },
        facts: vec!["since the start".to_owned()],
        more: meaning(&code).map(str::to_owned).into_iter().collect(),
        name: code,
        ..Item::default()
    }
}

/// What a reason means and what helps, where the code alone does not say it.
fn meaning(code: &str) -> Option<&'static str> {
    MEANS.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning)
}

const MEANS: &[(&str, &str)] = &[
    ("AUTH_TOKEN_MISMATCH", "The token sent is not this gateway's. clawgate token shows the right one."),
    ("AUTH_TOKEN_MISSING", "No token was sent."),
    ("AUTH_PASSWORD_MISMATCH", "The password sent is not this gateway's."),
    ("AUTH_PASSWORD_MISSING", "No password was sent."),
    (
        "AUTH_BOOTSTRAP_TOKEN_INVALID",
        "A link or setup code was used a second time, is too old, or belongs to another device.",
    ),
    ("AUTH_DEVICE_TOKEN_MISMATCH", "The device's access was revoked or replaced; it has to pair again."),
    ("AUTH_RATE_LIMITED", "Too many wrong attempts from one address; it has to wait."),
    (
        "CONTROL_UI_ORIGIN_NOT_ALLOWED",
        "A page of another origin tried. Add it to gateway.controlUi.allowedOrigins if it is yours.",
    ),
    ("DEVICE_IDENTITY_REQUIRED", "The client proved no device."),
    ("PAIRING_REQUIRED", "The device waits for approval: see Pairing."),
    ("PROTOCOL_MISMATCH", "The client speaks a version that this gateway does not."),
];

/// A text that a peer chose.
pub(super) fn text(value: &Value) -> String {
    short(&render::text(value))
}

/// As much of a text as one fact may have.
pub(super) fn short(text: &str) -> String {
    render::shortened(text, FACT_CHARS_MAX)
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().take(WORDS_MAX).map(text).collect()
}

/// All of them, and all of each.
fn whole_words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(render::text).collect()
}

/// Scopes without the word that all of them begin with.
fn scopes(list: &Value) -> Vec<String> {
    words(list).into_iter().map(scope_name).collect()
}

fn all_scopes(list: &Value) -> Vec<String> {
    whole_words(list).into_iter().map(scope_name).collect()
}

pub(super) fn scope_name(scope: String) -> String {
    scope.strip_prefix("operator.").map(str::to_owned).unwrap_or(scope)
}

fn first<const N: usize>(texts: [String; N]) -> String {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

fn facts(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

fn prefixed(word: &str, value: &Value) -> String {
    let text = text(value);
    if text.is_empty() { text } else { format!("{word} {text}") }
}

fn since(word: &'static str, value: &Value) -> When {
    value.as_u64().map_or(When::Never, |at| When::Since(word, at))
}

/// Entries of one list that are kept.
pub(super) const ITEMS_MAX: usize = 1_000;
/// Scopes or commands of one entry that are kept.
const WORDS_MAX: usize = 200;
/// Characters of one fact.
const FACT_CHARS_MAX: usize = 120;
/// What is decided about is kept up to here.
const DECIDED_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_attached_is_shown_without_the_gateway_and_those_who_left() {
        assert_eq!(attached(&json!({"mode": "gateway", "host": "vm"})), None);
        assert_eq!(attached(&json!({"mode": "webchat", "reason": "disconnect"})), None);
        let shown = attached(&json!({"host": "desk\u{1b}[2J", "mode": "webchat", "roles": ["operator"],
            "scopes": ["operator.read", "other"], "clientId": "page", "deviceId": "0123456789abcdef",
            "onlineSince": 5, "version": "1"}));
        let shown = shown.unwrap_or_default();
        assert_eq!((shown.name.as_str(), shown.tag.as_str()), ("desk\u{fffd}[2J", "operator"));
        assert_eq!(shown.facts, ["page", "webchat", "version 1", "0123456789ab\u{2026}"]);
        assert_eq!(shown.grants, ("Scopes", vec!["read".to_owned(), "other".to_owned()]));
        assert_eq!(shown.when, When::Since("attached", 5));
    }

    #[test]
    fn a_pairing_can_be_decided_by_the_id_that_the_gateway_gave() {
        let shown = device_pairing(&json!({"requestId": "r\u{1b}1", "deviceId": "d", "displayName": "Phone",
            "clientId": "ios", "platform": "ios", "role": "operator", "scopes": ["operator.admin"], "ts": 7}));
        assert_eq!(shown.facts, ["operator", "ios on ios", "this machine or a proxy", "d"]);
        let question = shown.question.unwrap_or_else(|| panic!("it can be decided"));
        assert_eq!((question.id.as_str(), question.kind), ("r\u{1b}1", Kind::Device));
        let shown = node_pairing(&json!({"requestId": "r2", "nodeId": "n", "commands": ["system.run"]}));
        assert_eq!(shown.grants, ("Commands", vec!["system.run".to_owned()]));
        assert_eq!(shown.tag, "wants its commands approved");
    }

    #[test]
    fn what_is_decided_about_is_whole_or_cannot_be_decided() {
        let long = format!("echo {} ; rm -rf /", "x".repeat(5_000));
        let entry = json!({"id": "e", "request": {"command": long, "cwd": "/srv", "envKeys": ["LANG"],
            "allowedDecisions": ["allow-once", "deny"]}, "expiresAtMs": 9});
        let shown = approval(&entry, Kind::Exec);
        let more = [&long, "in /srv", "variables LANG", "Approval: e"].map(str::to_owned);
        assert_eq!(shown.more, more);
        assert!(shown.name.chars().count() <= FACT_CHARS_MAX + 1);
        assert_eq!(shown.question.map(|question| question.allowed), Some(vec![Answer::Yes, Answer::No]));
        let entry = json!({"id": "e", "request": {"command": "x".repeat(DECIDED_BYTES_MAX + 1)}});
        let shown = approval(&entry, Kind::Exec);
        assert_eq!(shown.question, None);
        assert!(shown.more.concat().contains("too long") && shown.more.concat().len() < 1_000);
        let many: Vec<String> = (0..20_000).map(|i| format!("command.{i}")).collect();
        let shown = node_pairing(&json!({"requestId": "r", "commands": many}));
        assert_eq!((shown.question, shown.grants.1.len()), (None, WORDS_MAX + 1));
        assert_eq!(shown.grants.1.last().map(String::as_str), Some("and 19800 more"));
        let huge = device_pairing(
            &json!({"requestId": "r", "deviceId": "d", "role": "x".repeat(DECIDED_BYTES_MAX)}),
        );
        assert!(huge.question.is_none() && bytes_of(&huge.more) + bytes_of(&huge.facts) < 2_000);
    }

    #[test]
    fn what_would_be_run_and_whole_names_are_shown() {
        let entry = |argv: Value| {
            json!({"id": "e", "request": {"command": "ls -l", "commandArgv": argv,
            "nodeId": "n".repeat(64)}})
        };
        let of = |argv| approval(&entry(argv), Kind::Exec).more.join("\n");
        assert!(of(json!(["rm", "-rf", "/"])).contains("arguments: \"rm\" \"-rf\" \"/\""));
        assert!(of(json!(["ls -l"])).contains("arguments: \"ls -l\""), "one word is not two");
        let same = of(json!(["ls", "-l"]));
        assert!(!same.contains("arguments") && same.contains(&format!("Node: {}", "n".repeat(64))), "{same}");
        let id = "0123456789abcdef".repeat(4);
        let roles = ["operator", "node"];
        let shown = device_pairing(&json!({"requestId": "r7", "deviceId": id, "roles": roles}));
        for want in [&format!("Device: {id}"), "Roles: operator, node", "Request: r7"] {
            assert!(shown.more.iter().any(|text| text == want), "{want} in {:?}", shown.more);
        }
    }

    #[test]
    fn lists_are_bounded() {
        let many: Vec<Value> = (0..ITEMS_MAX + 5).map(|i| json!({"nodeId": i.to_string()})).collect();
        let (kept, all) = items(&many.into(), node);
        assert_eq!((kept.len(), all), (ITEMS_MAX, ITEMS_MAX + 5));
        assert_eq!(text(&json!("x".repeat(5_000))).chars().count(), FACT_CHARS_MAX + 1);
    }
}
