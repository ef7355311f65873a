//! The questions of a first set-up, one after the other, and the settings that follow from the answers. One state machine
//! for the terminal (`clawgate setup`) and for a client elsewhere (`wizard.*`, spec: methods section 11, config section
//! 11): it asks, whoever drives it shows the question and brings the answer. It writes nothing and draws nothing.

use crate::secret::Secret;
use core::net::Ipv4Addr;
use serde_json::{Value, json};

/// A set-up under way.
#[derive(Clone, Debug)]
pub struct Wizard {
    now: Question,
    draft: Draft,
}

/// What is set so far. It starts with what the configuration says.
#[derive(Clone, Debug)]
pub struct Draft {
    /// `gateway.port`.
    pub port: u16,
    /// `gateway.bind`.
    pub bind: Bind,
    /// `gateway.customBindHost`.
    pub custom_host: Option<Ipv4Addr>,
    /// `gateway.auth.mode`.
    pub auth: Auth,
    /// The shared secret of that mode. None: what there is stays, or a token is generated.
    pub secret: Option<Secret>,
    /// A token is there already and may stay.
    pub has_token: bool,
    /// A password is there already and may stay.
    pub has_password: bool,
}

/// Where the gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// This machine only.
    Loopback,
    /// Every IPv4 address.
    Lan,
    /// The tailnet address.
    Tailnet,
    /// Loopback, as the reference chooses where there is loopback.
    Auto,
    /// [`Draft::custom_host`].
    Custom,
}

/// How clients prove that they may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// By a shared token.
    Token,
    /// By a shared password.
    Password,
}

/// The questions, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Port,
    Bind,
    CustomHost,
    Auth,
    Token,
    Password,
    Reach,
    Done,
}

/// A setting to write: its path and its value. The value may be a secret, which [`Draft`] and this do not show.
pub struct Setting {
    /// Names from the root of the configuration on.
    pub path: &'static [&'static str],
    /// What to write there; null takes the setting away.
    pub value: Value,
}

impl core::fmt::Debug for Setting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Setting").field(&self.path).finish()
    }
}

impl Wizard {
    /// The first question, with `draft` for what is suggested.
    pub fn new(draft: Draft) -> Self {
        Self { now: Question::Port, draft }
    }

    /// The question to show, in the shape of the protocol; `None` when all are answered.
    pub fn step(&self) -> Option<Value> {
        let draft = &self.draft;
        Some(match self.now {
            Question::Port => json!({
                "id": "port", "type": "text", "title": "Port", "message": "Port to listen on",
                "initialValue": draft.port.to_string(),
            }),
            Question::Bind => json!({
                "id": "bind", "type": "select", "title": "Bind", "message": "Who may reach it",
                "options": BINDS.iter().map(|(bind, label, hint)| {
                    json!({"value": bind.as_str(), "label": label, "hint": hint})
                }).collect::<Vec<_>>(),
                "initialValue": draft.bind.as_str(),
            }),
            Question::CustomHost => json!({
                "id": "customBindHost", "type": "text", "title": "Address",
                "message": "IPv4 address of this machine to listen on",
                "initialValue": draft.custom_host.map(|host| host.to_string()).unwrap_or_default(),
                "placeholder": "192.168.1.20",
            }),
            Question::Auth => json!({
                "id": "auth", "type": "select", "title": "Credentials", "message": "How clients prove that they may come in",
                "options": [
                    {"value": "token", "label": "A token", "hint": "long and random; for loopback too, since any program of this machine can connect"},
                    {"value": "password", "label": "A password", "hint": "one that people can remember; choose a long one"},
                ],
                "initialValue": draft.auth.as_str(),
            }),
            Question::Token => json!({
                "id": "token", "type": "text", "title": "Token", "sensitive": true,
                "message": if draft.has_token { "Token (nothing: keep the one there is)" } else { "Token (nothing: make one)" },
            }),
            Question::Password => json!({
                "id": "password", "type": "text", "title": "Password", "sensitive": true,
                "message": if draft.has_password { "Password (nothing: keep the one there is)" } else { "Password" },
            }),
            Question::Reach => json!({
                "id": "reach", "type": "note", "title": "How to reach it", "format": "plain", "message": draft.reach(),
            }),
            Question::Done => return None,
        })
    }

    /// The id of the question that is open.
    pub fn step_id(&self) -> Option<&'static str> {
        Some(match self.now {
            Question::Port => "port",
            Question::Bind => "bind",
            Question::CustomHost => "customBindHost",
            Question::Auth => "auth",
            Question::Token => "token",
            Question::Password => "password",
            Question::Reach => "reach",
            Question::Done => return None,
        })
    }

    /// Takes the answer to the open question; nothing, or null, takes what is suggested.
    ///
    /// # Errors
    /// It makes no sense; a sentence for a person. The question stays open.
    pub fn answer(&mut self, value: Option<&Value>) -> Result<(), String> {
        let text = match value {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text.trim(),
            Some(Value::Number(number)) if self.now == Question::Port => {
                return self.answer(Some(&Value::String(number.to_string())));
            }
            Some(Value::Bool(_)) if self.now == Question::Reach => "",
            Some(_) => return Err("the answer must be a text".to_owned()),
        };
        let is_default = text.is_empty();
        let draft = &mut self.draft;
        self.now = match self.now {
            Question::Port => {
                if !is_default {
                    let port = text.parse().ok().filter(|port| *port > 0);
                    draft.port =
                        port.ok_or_else(|| format!("{}: a port is a number from 1 to 65535", shown(text)))?;
                }
                Question::Bind
            }
            Question::Bind => {
                if !is_default {
                    let bind = BINDS.iter().map(|(bind, ..)| *bind).find(|bind| bind.as_str() == text);
                    draft.bind = bind.ok_or_else(|| {
                        format!("{}: choose one of loopback, lan, tailnet, auto, custom", shown(text))
                    })?;
                }
                if draft.bind == Bind::Custom { Question::CustomHost } else { Question::Auth }
            }
            Question::CustomHost => {
                if !is_default {
                    let host = text.parse().ok();
                    draft.custom_host = Some(host.ok_or_else(|| {
                        format!("{}: an IPv4 address looks like 192.168.1.20", shown(text))
                    })?);
                }
                if draft.custom_host.is_none() {
                    return Err("an IPv4 address is needed".to_owned());
                }
                Question::Auth
            }
            Question::Auth => {
                draft.auth = match text {
                    "" => draft.auth,
                    "token" => Auth::Token,
                    "password" => Auth::Password,
                    // It may be the secret, which is asked for next.
                    _ => return Err("choose token or password; the secret itself comes next".to_owned()),
                };
                match draft.auth {
                    Auth::Token => Question::Token,
                    Auth::Password => Question::Password,
                }
            }
            Question::Token => {
                // Pages and scripts that lost a variable send these words.
                draft.secret =
                    Some(text).filter(|text| !matches!(*text, "undefined" | "null")).and_then(Secret::new);
                Question::Reach
            }
            Question::Password => {
                draft.secret = Secret::new(text);
                if draft.secret.is_none() && !draft.has_password {
                    return Err("a password is needed".to_owned());
                }
                Question::Reach
            }
            Question::Reach | Question::Done => Question::Done,
        };
        Ok(())
    }

    /// What the answers come to.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }
}

impl Draft {
    /// What a configuration suggests; where it says nothing, what is safe.
    pub fn of(config: &Value) -> Self {
        let gateway = &config["gateway"];
        let has = |name: &str| !matches!(&gateway["auth"][name], Value::Null) && gateway["auth"][name] != "";
        let port =
            gateway["port"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        Self {
            port: port.unwrap_or(DEFAULT_PORT),
            bind: gateway["bind"].as_str().and_then(Bind::named).unwrap_or(Bind::Loopback),
            custom_host: gateway["customBindHost"].as_str().and_then(|host| host.trim().parse().ok()),
            auth: if gateway["auth"]["mode"] == "password" { Auth::Password } else { Auth::Token },
            secret: None,
            has_token: has("token"),
            has_password: has("password"),
        }
    }

    /// Whether a token must be made: one is wanted, none was given and none is there.
    pub fn wants_token(&self) -> bool {
        self.auth == Auth::Token && self.secret.is_none() && !self.has_token
    }

    /// The settings to write, with `generated` for the token when [`Draft::wants_token`].
    pub fn settings(&self, generated: Option<&Secret>) -> Vec<Setting> {
        let set = |path, value| Setting { path, value };
        let mut settings = vec![
            set(&["gateway", "mode"], json!("local")),
            set(&["gateway", "port"], json!(self.port)),
            set(&["gateway", "bind"], json!(self.bind.as_str())),
            set(&["gateway", "auth", "mode"], json!(self.auth.as_str())),
        ];
        if let (Bind::Custom, Some(host)) = (self.bind, self.custom_host) {
            settings.push(set(&["gateway", "customBindHost"], json!(host.to_string())));
        }
        if let Some(secret) = self.secret.as_ref().or(generated) {
            let path: &[&str] = match self.auth {
                Auth::Token => &["gateway", "auth", "token"],
                Auth::Password => &["gateway", "auth", "password"],
            };
            settings.push(set(path, json!(literal(secret.expose()))));
        }
        settings
    }

    /// How to reach the gateway from elsewhere, for a person.
    fn reach(&self) -> String {
        let port = self.port;
        match self.bind {
            Bind::Loopback | Bind::Auto => format!(
                "It listens on this machine only: ws://127.0.0.1:{port}\n\
                 From another machine, through SSH: ssh -N -L {port}:127.0.0.1:{port} USER@THIS-MACHINE\n\
                 and then ws://127.0.0.1:{port} there. Or bind it to the tailnet."
            ),
            Bind::Lan => format!(
                "It listens on every address of this machine: ws://ADDRESS:{port}\n\
                 The connection is not encrypted: use it in a network that you trust, or SSH or a tailnet instead."
            ),
            Bind::Tailnet => format!(
                "It listens on the tailnet address of this machine: ws://ADDRESS:{port}\n\
                 It waits for that address when the tailnet is not up yet. Clients on this machine use it too."
            ),
            Bind::Custom => {
                let host = self.custom_host.map(|host| host.to_string()).unwrap_or_default();
                format!(
                    "It listens on ws://{host}:{port}, and nowhere else. Clients on this machine use it too."
                )
            }
        }
    }
}

impl Bind {
    /// The name used in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Lan => "lan",
            Self::Tailnet => "tailnet",
            Self::Auto => "auto",
            Self::Custom => "custom",
        }
    }

    /// By that name.
    pub fn named(name: &str) -> Option<Self> {
        BINDS.iter().map(|(bind, ..)| *bind).find(|bind| bind.as_str() == name)
    }
}

impl Auth {
    /// The name used in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
        }
    }
}

/// A text as the configuration must say it for its value to be that text: there `${NAME}` stands for a variable, and
/// `$${NAME}` for those characters.
pub fn literal(text: &str) -> String {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        let is_first = |b: u8| b.is_ascii_uppercase() || b == b'_';
        bytes.next().is_some_and(is_first) && bytes.all(|b| is_first(b) || b.is_ascii_digit())
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let inside = reference.get(2..).unwrap_or_default();
        if inside.split_once('}').is_some_and(|(name, _)| is_name(name)) {
            out.push('$');
        }
        out.push_str("${");
        rest = inside;
    }
    out.push_str(rest);
    out
}

/// A peer's text, as far as it helps to recognise it.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

/// The port of a gateway that is told no other.
const DEFAULT_PORT: u16 = 18_789;

const BINDS: [(Bind, &str, &str); 5] = [
    (Bind::Loopback, "This machine only", "others come through SSH or a tailnet"),
    (Bind::Lan, "Every address of this machine", "whoever reaches the port may try the secret"),
    (Bind::Tailnet, "The tailnet address", "machines of your tailnet"),
    (Bind::Auto, "Automatic", "this machine only, where it has a loopback"),
    (Bind::Custom, "One address", "you name it next"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn fresh() -> Wizard {
        Wizard::new(Draft {
            port: 18_789,
            bind: Bind::Loopback,
            custom_host: None,
            auth: Auth::Token,
            secret: None,
            has_token: false,
            has_password: false,
        })
    }

    /// Answers in order; what was asked.
    fn play(wizard: &mut Wizard, answers: &[&str]) -> Vec<&'static str> {
        answers
            .iter()
            .map(|answer| {
                let asked = wizard.step_id().unwrap();
                assert_eq!(wizard.step().unwrap()["id"], asked);
                wizard.answer(Some(&json!(answer))).unwrap();
                asked
            })
            .collect()
    }

    fn written(wizard: &Wizard, generated: Option<&Secret>) -> Value {
        let settings = wizard.draft().settings(generated);
        Value::Object(settings.into_iter().map(|set| (set.path.join("."), set.value)).collect())
    }

    #[test]
    fn nothing_but_enter_gives_the_safe_default() {
        let mut wizard = fresh();
        assert_eq!(play(&mut wizard, &["", "", "", "", ""]), ["port", "bind", "auth", "token", "reach"]);
        assert!(wizard.step().is_none() && wizard.draft().wants_token());
        let token = Secret::new("made").unwrap();
        let want = json!({
            "gateway.mode": "local", "gateway.port": 18_789, "gateway.bind": "loopback", "gateway.auth.mode": "token",
            "gateway.auth.token": "made",
        });
        assert_eq!(written(&wizard, Some(&token)), want);
    }

    #[test]
    fn an_address_is_asked_for_only_where_one_is_needed() {
        let mut wizard = fresh();
        let asked = play(&mut wizard, &["19001", "custom", "192.0.2.7", "password", "long enough", ""]);
        assert_eq!(asked, ["port", "bind", "customBindHost", "auth", "password", "reach"]);
        let want = json!({
            "gateway.mode": "local", "gateway.port": 19_001, "gateway.bind": "custom", "gateway.auth.mode": "password",
            "gateway.customBindHost": "192.0.2.7", "gateway.auth.password": "long enough",
        });
        assert_eq!(written(&wizard, None), want);
        assert!(!format!("{wizard:?}{:?}", wizard.draft().settings(None)).contains("long enough"));
    }

    #[test]
    fn a_wrong_answer_is_explained_and_asked_for_again() {
        let mut wizard = fresh();
        for wrong in [json!("0"), json!("70000"), json!("x"), json!([]), json!(-1)] {
            assert!(wizard.answer(Some(&wrong)).is_err(), "{wrong}");
            assert_eq!(wizard.step_id(), Some("port"));
        }
        wizard.answer(Some(&json!(19_005))).unwrap();
        assert!(wizard.answer(Some(&json!("everywhere"))).unwrap_err().contains("loopback"));
        play(&mut wizard, &["custom"]);
        for wrong in ["", "::1", "host", "1.2.3"] {
            assert!(wizard.answer(Some(&json!(wrong))).is_err(), "{wrong}");
        }
        play(&mut wizard, &["192.0.2.7"]);
        assert!(wizard.answer(Some(&json!("none"))).is_err());
        play(&mut wizard, &["password"]);
        assert!(wizard.answer(None).is_err(), "there is no password that could stay");
    }

    #[test]
    fn a_secret_with_the_name_of_a_variable_in_it_stays_what_it_is() {
        for (text, want) in [
            ("a${B}c${D_1}", "a$${B}c$${D_1}"),
            ("$${B}", "$$${B}"),
            ("${lower} ${} ${A", "${lower} ${} ${A"),
            ("${${A}", "${$${A}"),
            ("plain $", "plain $"),
        ] {
            assert_eq!(literal(text), want);
        }
        let mut wizard = fresh();
        play(&mut wizard, &["", "", "password", "pa${SS}word", ""]);
        assert_eq!(written(&wizard, None)["gateway.auth.password"], "pa$${SS}word");
    }

    #[test]
    fn what_is_there_may_stay() {
        let mut wizard = Wizard::new(Draft { has_token: true, has_password: true, ..fresh().draft });
        play(&mut wizard, &["", "", "", "undefined", ""]);
        assert!(!wizard.draft().wants_token());
        assert!(written(&wizard, None).get("gateway.auth.token").is_none());
    }
}
