//! Every credential of the matrix behind Tailscale Serve, on the built program: with a daemon that agrees, one that names
//! somebody else, and none at all. The outcomes are the last columns of `tests/matrix/credentials.tsv`.

use crate::RUNTIMES;
use crate::daemon::{Daemon, Mood};
use crate::shell::{start, stop, with_text};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::{Program, Settings, TestClient, client, secrets};
use serde_json::{Map, Value, json};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn every_credential_beside_a_tailnet_identity_has_its_outcome() {
    for runtime in RUNTIMES {
        for (column, mood) in [
            ("serve", Some(Mood::Knows("Ada@Example"))),
            ("serve-lies", Some(Mood::Knows("eve@example"))),
            ("serve-absent", None),
        ] {
            // All of them come from one address, and the wrong ones are guesses.
            let text = format!(
                "{{gateway: {{mode: 'local', auth: {{mode: 'token', token: '{}', rateLimit: {{maxAttempts: 10000}}}}, \
                 tailscale: {{mode: 'serve'}}}}}}",
                right()
            );
            let settings = with_text(runtime, &text).env("OPENCLAW_TAILNET_DNS", SERVED);
            let (socket, nothing) = (settings.temporary_dir().join("tailscaled.sock"), settings.state_dir());
            let settings = settings.env("PATH", nothing);
            let own = json!({"tailscale": {"socket": socket}});
            fs::write(settings.state_dir().join("clawgate.json"), own.to_string()).unwrap();
            if let Some(mood) = mood {
                Daemon::listen(&socket).is(mood);
            }
            let cases = cases(column);
            assert_eq!(cases.len(), 120, "sixty lines in two protocols");
            furnish(&settings, &cases);
            let gateway = start(&settings);
            let mut wrong = Vec::new();
            for case in &cases {
                let outcome = case.play(&gateway);
                if outcome != case.expected {
                    wrong.push(format!("{}: {outcome}, expected {}", case.words(), case.expected));
                }
            }
            assert!(wrong.is_empty(), "{runtime}, {column}, {} wrong:\n{}", wrong.len(), wrong.join("\n"));
            stop(gateway);
        }
    }
}

/// One line of the table in one protocol, with a device of its own.
struct Case {
    client: &'static str,
    device: &'static str,
    shown: &'static str,
    expected: &'static str,
    protocol: u64,
    key: DeviceKey,
}

/// The lines of the table, with the outcome of this column.
fn cases(column: &str) -> Vec<Case> {
    let heading = TABLE.lines().find_map(|line| line.strip_prefix("# client\t")).unwrap();
    let at = 1 + heading.split('\t').position(|name| name == column).unwrap();
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let each = lines.flat_map(|line| [3, 4].map(|protocol| (line, protocol)));
    each.map(|(line, protocol)| {
        let columns: Vec<&str> = line.split('\t').collect();
        let (client, device, shown, expected) = (columns[0], columns[1], columns[2], columns[at]);
        Case { client, device, shown, expected, protocol, key: client::fresh_key() }
    })
    .collect()
}

/// The devices and setup codes of all cases, as they lie in the state folder.
fn furnish(settings: &Settings, cases: &[Case]) {
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let (mut devices, mut codes) = (Map::new(), Map::new());
    for case in cases {
        let id = case.key.device_id();
        let (role, scopes) = case.asks();
        if ["paired", "revoked"].contains(&case.device) {
            let mut token =
                json!({"token": case.device_token(), "role": role, "scopes": scopes, "createdAtMs": 1});
            if case.device == "revoked" {
                token["revokedAtMs"] = 2.into();
            }
            let record = json!({
                "deviceId": id, "publicKey": case.key.public_key_base64url(), "platform": "linux",
                "role": role, "roles": [role], "scopes": scopes, "approvedScopes": scopes,
                "tokens": {role: token}, "createdAtMs": 1, "approvedAtMs": 1,
            });
            devices.insert(id.to_owned(), record);
        }
        if case.shown == "bootstrap" {
            let (access, roles) =
                if role == "node" { ("node", vec!["node"]) } else { ("full", vec!["node", "operator"]) };
            let record = json!({
                "token": case.code(), "ts": now_ms, "issuedAtMs": now_ms, "setupId": &id[..12], "access": access,
                "roles": roles, "scopes": ["operator.admin"],
            });
            codes.insert(case.code(), record);
        }
    }
    let folder = settings.state_dir().join("devices");
    fs::create_dir_all(&folder).unwrap();
    for (name, document) in [("paired.json", devices), ("bootstrap.json", codes)] {
        fs::write(folder.join(name), Value::Object(document).to_string()).unwrap();
    }
}

impl Case {
    fn words(&self) -> String {
        let Self { client, device, shown, protocol, .. } = self;
        format!("protocol {protocol}: {client} {device} {shown}")
    }

    /// Role and scopes that the client asks for.
    fn asks(&self) -> (&'static str, &'static [&'static str]) {
        if self.client == "node" { ("node", &[]) } else { ("operator", &["operator.admin"]) }
    }

    fn device_token(&self) -> String {
        secrets::chosen(&format!("token-of-{}", &self.key.device_id()[..24]))
    }

    fn code(&self) -> String {
        secrets::chosen(&format!("code-for-{}", &self.key.device_id()[..24]))
    }

    /// The client as Tailscale Serve brings it.
    fn dress(&self, gateway: &Program) -> ClientConfig {
        let (id, mode) = match self.client {
            "cli" => ("cli", "cli"),
            "page" => ("openclaw-control-ui", "webchat"),
            "node" => ("node-host", "node"),
            other => panic!("no client: {other}"),
        };
        let identity = (self.device != "none").then(|| self.key.clone());
        let mut config = client::config_as(gateway.addr(), id, mode, None, identity);
        (config.min_protocol, config.max_protocol) = (self.protocol, self.protocol);
        let (role, scopes) = self.asks();
        config.role = role.to_owned();
        config.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        config.host = SERVED.to_owned();
        config.origin = (self.client == "page").then(|| format!("https://{SERVED}"));
        let headers = [
            ("X-Forwarded-For", "100.64.0.7"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", SERVED),
            ("Tailscale-User-Login", "ada@example"),
        ];
        config.headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        match self.shown {
            "nothing" => {}
            "wrong" => config.auth.token = Some(secrets::chosen("not-the-secret")),
            "right" => config.auth.token = Some(right()),
            "device-token" => config.auth.device_token = Some(self.device_token()),
            "bootstrap" => config.auth.bootstrap_token = Some(self.code()),
            other => panic!("not to be shown: {other}"),
        }
        config
    }

    /// Connects, and says in the words of the table what came of it.
    fn play(&self, gateway: &Program) -> String {
        let mut client = match TestClient::connect(gateway.addr(), self.dress(gateway)) {
            Ok(client) => client,
            Err(refusal) => {
                if refusal.close().map(|(code, _)| code) != Some(1008) {
                    return format!("{refusal:?}");
                }
                let code = refusal.detail_code().unwrap_or("no code");
                let reason = refusal.error.as_ref().and_then(|error| error.detail("reason"));
                let reason = reason.filter(|_| code == "PAIRING_REQUIRED");
                return reason.map_or_else(|| code.to_owned(), |reason| format!("{code} {reason}"));
            }
        };
        let token = if client.device_token().is_some() { "token" } else { "no-token" };
        // What it may do is seen, not what hello-ok says.
        let may = match client.call("set-heartbeats", json!({"enabled": true})) {
            Ok(_) => "all",
            Err(error) => match error["message"].as_str().unwrap_or_default() {
                message if message.contains("role") => "node",
                message if message.contains("scope") => "nothing",
                message => return format!("in, {message}"),
            },
        };
        format!("in {may} {token}")
    }
}

/// The configured secret.
fn right() -> String {
    secrets::chosen("gateway-token")
}

const TABLE: &str = include_str!("../matrix/credentials.tsv");

/// What Tailscale Serve calls this machine.
const SERVED: &str = "gw.tail1.ts.net";
