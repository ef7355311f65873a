//! The other end of one socket: a client as it should be, one with a flaw, or no client at all.

use crate::plan::{Call, Credential, Dice, Flaw, Kind, Opening, Raw, Spec, Who};
use clawgate_proto::client::{Client, ClientConfig, ClientEvent, DeviceKey};
use clawgate_proto::connect::ClientInfo;
use clawgate_proto::id::ConnId;
use clawgate_proto::limits::Limits;
use clawgate_proto::{Mono, Now};
use clawgate_support::raw_frame;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) opening: Opening,
    pub(crate) conn: ConnId,
    pub(crate) dice: Dice,
    /// `None` for a peer that speaks no protocol.
    pub(crate) client: Option<Client>,
    /// For a peer without a client: what it still has to say.
    pub(crate) bytes: Vec<u8>,
    /// What it heard since the last status line.
    heard: Vec<u8>,
    /// When its latest piece arrives at the gateway: TCP keeps order.
    pub(crate) arrives_at: Mono,
    /// When the gateway's latest piece arrives here.
    pub(crate) reaches_at: Mono,
    pub(crate) is_stalled: bool,
    /// It lost its power.
    pub(crate) is_mute: bool,
    /// It sends no more.
    pub(crate) has_ended: bool,
    /// It shut its socket.
    pub(crate) is_gone: bool,
    /// It knows that the gateway sends no more.
    pub(crate) end_told: bool,
    /// It said what no client would, so the gateway may answer what nobody asked.
    pub(crate) is_odd: bool,
    /// It was closed before everything arrived.
    pub(crate) is_cut: bool,
    pub(crate) is_admitted: bool,
    /// Requests it has sent and has no answer to.
    pub(crate) asked: BTreeSet<String>,
    /// The deadline its timer is set to.
    pub(crate) timer: Option<Mono>,
}

/// What clients know besides their spec.
#[derive(Debug)]
pub(crate) struct Secrets<'a> {
    pub(crate) shared: &'a str,
    pub(crate) has_password: bool,
    pub(crate) keys: &'a [DeviceKey],
    /// The device token that a device was given for its role.
    pub(crate) token: Option<String>,
}

impl Peer {
    pub(crate) fn new(opening: Opening, conn: ConnId, seed: u64, secrets: &Secrets<'_>, now: Now) -> Self {
        let mut dice = Dice::new(seed, &format!("peer {}", opening.peer));
        let mut bytes = Vec::new();
        let client = match &opening.kind {
            Kind::Client(spec) => {
                let config = config(spec, opening.from, secrets);
                Some(Client::new(config, dice.random().seed(), now))
            }
            Kind::Upgraded => {
                let info = info("test", "test", "linux");
                let mut config = ClientConfig::new(host(opening.from), info);
                config.answers_challenge = false;
                Some(Client::new(config, dice.random().seed(), now))
            }
            Kind::Silent => None,
            Kind::Bytes(text) => {
                bytes.clone_from(text);
                None
            }
        };
        Self {
            opening,
            conn,
            dice,
            client,
            bytes,
            heard: Vec::new(),
            arrives_at: now.mono,
            reaches_at: now.mono,
            is_stalled: false,
            is_mute: false,
            has_ended: false,
            is_gone: false,
            end_told: false,
            is_odd: false,
            is_cut: false,
            is_admitted: false,
            asked: BTreeSet::new(),
            timer: None,
        }
    }

    /// What it is, for a reader.
    pub(crate) fn describe(&self) -> String {
        match &self.opening.kind {
            Kind::Client(spec) => describe(spec),
            Kind::Silent => "says nothing".to_owned(),
            Kind::Bytes(bytes) => crate::transcript::quote(bytes),
            Kind::Upgraded => "a WebSocket that says nothing".to_owned(),
        }
    }

    /// Why it must never be let in.
    pub(crate) fn ban(&self, has_secret: bool) -> Option<&'static str> {
        let Kind::Client(spec) = &self.opening.kind else { return Some("is no client") };
        let is_page = spec.who == Who::Page;
        let has_own_origin = spec.origin == Some(crate::plan::OWN_ORIGIN);
        match spec.flaw {
            Some(Flaw::Signature | Flaw::Nonce | Flaw::Stale | Flaw::DeviceId) if spec.device.is_some() => {
                Some("does not prove its device")
            }
            Some(Flaw::Protocol) => Some("speaks another protocol"),
            Some(Flaw::NotConnect | Flaw::NotJson | Flaw::ExtraMember | Flaw::TooLong) => {
                Some("does not begin with a connect")
            }
            Some(Flaw::Signature | Flaw::Nonce | Flaw::Stale | Flaw::DeviceId) | None => None,
        }
        .or((is_page && !has_own_origin).then_some("is a page of somebody else"))
        .or((spec.origin.is_some() && self.opening.from > 1).then_some("is a page, and not on this machine"))
        .or((has_secret && spec.credential == Credential::None).then_some("shows no secret"))
        .or((has_secret && spec.credential == Credential::Wrong).then_some("shows a wrong secret"))
    }

    /// Answers the challenge, as it should or with its flaw. Gives what goes out, for a reader.
    pub(crate) fn answer_challenge(&mut self, nonce: &str, ts_ms: u64, limits: &Limits) -> Vec<String> {
        let (Kind::Client(spec), Some(client)) = (&self.opening.kind, &mut self.client) else {
            return Vec::new();
        };
        let mut said = Vec::new();
        let is_open = match spec.flaw {
            None => true, // The client has answered by itself.
            Some(flaw) => {
                said.push(format!("{flaw:?}"));
                send_flawed(client, flaw, nonce, ts_ms, limits)
            }
        };
        for _ in 0..spec.eager {
            if let (true, Ok(id)) = (is_open, client.request("health", json!({}))) {
                said.push(format!("#{id} health {{}}"));
                self.asked.insert(id);
            }
        }
        said
    }

    /// Calls a method. `None` when the connection is not open for it.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Option<String> {
        let client = self.client.as_mut().filter(|client| client.is_open())?;
        let shown = params.to_string();
        let id = client.request(method, params).ok()?;
        self.asked.insert(id.clone());
        Some(format!("#{id} {method} {shown}"))
    }

    /// A node is asked for something, and does what nodes do. Gives what it says, for a reader.
    pub(crate) fn serve(&mut self, request: &Value) -> Vec<String> {
        let result = |ok: bool, more: Value| {
            let mut params = json!({"id": request["id"], "nodeId": request["nodeId"], "ok": ok});
            if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
                params.extend(more);
            }
            ("node.invoke.result", params)
        };
        let done = || result(true, json!({"payloadJSON": "{\"done\":true}"}));
        let not_ready = || result(false, json!({"error": {"code": "NODE_NOT_READY", "message": "starting"}}));
        let progress = (
            "node.invoke.progress",
            json!({
                "invokeId": request["id"], "nodeId": request["nodeId"], "seq": 0, "chunk": "x",
            }),
        );
        let says = match self.dice.below(16) {
            0..=5 => vec![done()],
            6 => vec![result(false, json!({"error": {"code": "BUSY", "message": "later"}}))],
            7..=9 => vec![not_ready()],
            10 => vec![progress, not_ready()],
            11 => vec![done(), done()],
            12 => vec![result(true, json!({"nodeId": "another"})), done()],
            13 => vec![result(true, json!({"id": "unknown"}))],
            _ => Vec::new(),
        };
        says.into_iter().filter_map(|(method, params)| self.call(method, params)).collect()
    }

    /// Sends what no client would. Gives what, for a reader.
    pub(crate) fn say_raw(&mut self, raw: Raw, limits: &Limits) -> Option<String> {
        let mask = Some(self.dice.random().bytes());
        let client = self.client.as_mut().filter(|client| client.is_upgraded())?;
        match raw {
            Raw::Unmasked => client.send_frame_raw(&raw_frame(0x81, None, b"{}")),
            Raw::Reserved => client.send_frame_raw(&raw_frame(0x83, mask, b"{}")),
            Raw::BadUtf8 => client.send_frame_raw(&raw_frame(0x81, mask, b"{\"a\":\"\xff\"}")),
            Raw::Oversize => {
                let mut head = vec![0x81, 0xff];
                head.extend((limits.message_bytes_max as u64 + 1).to_be_bytes());
                head.extend(mask.into_iter().flatten());
                client.send_frame_raw(&head);
            }
            Raw::HalfFrame => {
                let frame = raw_frame(0x81, mask, &[b' '; 900]);
                client.send_frame_raw(&frame[..500]);
            }
            Raw::NotJson => client.send_text_raw("hello?").ok()?,
            Raw::NotRequest => client.send_text_raw(r#"{"type":"req","id":7}"#).ok()?,
            Raw::Fragments => {
                client.send_frame_raw(&raw_frame(0x01, mask, &[b' '; 700]));
                for _ in 0..12 {
                    client.send_frame_raw(&raw_frame(0x00, mask, &[b' '; 700]));
                }
            }
            Raw::Pings(count) => {
                for _ in 0..count {
                    client.send_frame_raw(&raw_frame(0x89, mask, b"are you there?"));
                }
            }
            Raw::Flood(count) => {
                for at in 0..count {
                    // Every other one has to wait for the disk.
                    let method = if at % 2 == 0 { "system-presence" } else { "device.pair.list" };
                    self.asked.insert(client.request(method, json!({})).ok()?);
                }
            }
        }
        self.is_odd |= !matches!(raw, Raw::Pings(_) | Raw::Flood(_));
        Some(format!("{raw:?}"))
    }

    /// What it has to send now.
    pub(crate) fn take_wire(&mut self) -> Vec<u8> {
        let mut wire = std::mem::take(&mut self.bytes);
        if let Some(client) = &mut self.client {
            client.take_wire(&mut wire);
        }
        wire
    }

    /// The status lines that are complete with these bytes, for a peer that knows no better.
    pub(crate) fn take_status_lines(&mut self, bytes: &[u8]) -> Vec<String> {
        if self.client.is_some() {
            return Vec::new();
        }
        self.heard.extend_from_slice(bytes);
        let mut lines = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&self.heard);
            let Some(start) = text.find("HTTP/1.1 ") else { return lines };
            let Some(len) = text[start..].find("\r\n") else { return lines };
            lines.push(text[start..start + len].to_owned());
            self.heard = text[start + len..].as_bytes().to_vec();
        }
    }

    /// Bytes of the gateway arrive.
    pub(crate) fn receive(&mut self, now: Now, bytes: &[u8]) -> Vec<ClientEvent> {
        let Some(client) = &mut self.client else { return Vec::new() };
        client.receive(now, bytes);
        std::iter::from_fn(|| client.next_event()).collect()
    }

    /// The gateway sends no more.
    pub(crate) fn receive_end(&mut self, now: Now) -> Vec<ClientEvent> {
        let Some(client) = &mut self.client else { return Vec::new() };
        client.receive_end(now);
        std::iter::from_fn(|| client.next_event()).collect()
    }

    /// Time passes for it.
    pub(crate) fn handle_timeout(&mut self, now: Now) -> Vec<ClientEvent> {
        let Some(client) = &mut self.client else { return Vec::new() };
        client.handle_timeout(now);
        std::iter::from_fn(|| client.next_event()).collect()
    }

    /// How many of these bytes travel together, and for how long.
    pub(crate) fn piece(&mut self, bytes: usize) -> (usize, u64) {
        let size = 1 + self.dice.below(self.opening.piece_bytes_max) as usize;
        // What is long does not travel byte by byte, or a run would take for ever.
        (size.max(bytes / 64).min(bytes), self.dice.below(self.opening.delay_us_max + 1))
    }
}

/// Method and params of a call; `number` is one that no other call has.
pub(crate) fn request(
    call: Call,
    keys: &[DeviceKey],
    pending: &[String],
    nodes: &[String],
    number: u64,
) -> (&'static str, Value) {
    let device = |at: u8| keys[usize::from(at) % keys.len()].device_id().to_owned();
    let one = |of: &[String], at: u8| match of.len() {
        0 => "00000000-0000-4000-8000-000000000000".to_owned(),
        len => of[usize::from(at) % len].clone(),
    };
    let waiting = |at: u8| one(pending, at);
    match call {
        Call::Health => ("health", json!({})),
        Call::Status => ("status", json!({})),
        Call::Presence => ("system-presence", json!({})),
        Call::SystemEvent => {
            ("system-event", json!({"text": "Node: far (10.0.0.9) · app 1.2", "tags": ["sim"]}))
        }
        Call::LastHeartbeat => ("last-heartbeat", json!({})),
        Call::SetHeartbeats => ("set-heartbeats", json!({"enabled": false})),
        Call::Identity => ("gateway.identity.get", json!({})),
        Call::SystemInfo => ("system.info", json!({})),
        Call::PairList => ("device.pair.list", json!({})),
        Call::Approve(at) => ("device.pair.approve", json!({"requestId": waiting(at)})),
        Call::Reject(at) => ("device.pair.reject", json!({"requestId": waiting(at)})),
        Call::Remove(at) => ("device.pair.remove", json!({"deviceId": device(at)})),
        Call::Rotate(at, role, false) => {
            ("device.token.rotate", json!({"deviceId": device(at), "role": role}))
        }
        Call::Rotate(at, role, true) => {
            let scopes = ["operator.read"];
            ("device.token.rotate", json!({"deviceId": device(at), "role": role, "scopes": scopes}))
        }
        Call::Revoke(at, role) => ("device.token.revoke", json!({"deviceId": device(at), "role": role})),
        Call::ApproveNode(at) => ("node.pair.approve", json!({"requestId": one(nodes, at)})),
        Call::RemoveNode(at) => ("node.pair.remove", json!({"nodeId": device(at)})),
        Call::SetupCode => ("device.pair.setupCode", json!({"publicUrl": "wss://gw.example"})),
        Call::Invoke(at, timeout_ms) => {
            let params = json!({"text": "x".repeat((number % 7) as usize * 100)});
            let params = json!({
                "nodeId": device(at), "command": "system.notify", "params": params, "timeoutMs": timeout_ms,
                "idempotencyKey": format!("k{number}"),
            });
            ("node.invoke", params)
        }
        Call::Unknown => ("no.such.method", json!({})),
        Call::ConnectAgain => ("connect", json!({})),
        Call::BadParams => ("device.pair.approve", json!({"requestId": 5})),
    }
}

fn send_flawed(client: &mut Client, flaw: Flaw, nonce: &str, ts_ms: u64, limits: &Limits) -> bool {
    let sent = match flaw {
        Flaw::NotJson => client.send_text_raw("hello?").is_ok(),
        Flaw::NotConnect => client.request("health", json!({})).is_ok(),
        Flaw::TooLong => client.send_text_raw(&" ".repeat(limits.preauth_message_bytes_max + 1)).is_ok(),
        Flaw::Signature | Flaw::Nonce | Flaw::Stale | Flaw::DeviceId | Flaw::Protocol | Flaw::ExtraMember => {
            let nonce = if flaw == Flaw::Nonce { "another" } else { nonce };
            let back_ms = if flaw == Flaw::Stale { 10 * limits.signature_skew_ms } else { 0 };
            let mut params = client.config().connect_params(nonce, ts_ms.saturating_sub(back_ms));
            let has_device = params["device"].is_object();
            match flaw {
                Flaw::Signature if has_device => params["device"]["signedAt"] = json!(ts_ms + 1),
                Flaw::DeviceId if has_device => params["device"]["id"] = json!("0".repeat(64)),
                Flaw::Protocol => {
                    params["minProtocol"] = json!(7);
                    params["maxProtocol"] = json!(9);
                }
                Flaw::ExtraMember => params["surprise"] = json!(true),
                Flaw::Signature
                | Flaw::DeviceId
                | Flaw::Nonce
                | Flaw::Stale
                | Flaw::NotConnect
                | Flaw::NotJson
                | Flaw::TooLong => {}
            }
            client.send_connect(params).is_ok()
        }
    };
    sent && !matches!(flaw, Flaw::NotJson | Flaw::NotConnect | Flaw::TooLong)
}

fn config(spec: &Spec, from: u8, secrets: &Secrets<'_>) -> ClientConfig {
    let (id, mode) = match spec.who {
        Who::Cli => ("cli", "cli"),
        Who::Backend => ("gateway-client", "backend"),
        Who::Test => ("test", "test"),
        Who::Node => ("node-host", "node"),
        Who::Page => ("openclaw-control-ui", "ui"),
        Who::Phone => ("openclaw-ios", "ui"),
    };
    let mut config = ClientConfig::new(host(from), info(id, mode, spec.platform));
    (config.min_protocol, config.max_protocol) = spec.protocol;
    if spec.who == Who::Node {
        config.role = "node".to_owned();
        config.commands = vec!["canvas.show".to_owned(), "system.notify".to_owned()];
    }
    config.scopes = spec.scopes.iter().map(|scope| (*scope).to_owned()).collect();
    config.identity = spec.device.map(|at| secrets.keys[usize::from(at) % secrets.keys.len()].clone());
    config.origin = spec.origin.map(str::to_owned);
    config.answers_challenge = spec.flaw.is_none();
    let shared = Some(secrets.shared.to_owned());
    let auth = &mut config.auth;
    let secret = match spec.credential {
        Credential::None => None,
        Credential::Shared => shared,
        Credential::Device => {
            auth.device_token.clone_from(&secrets.token);
            if secrets.token.is_some() { None } else { shared }
        }
        Credential::Wrong => Some("wrong-secret".to_owned()),
    };
    if secrets.has_password {
        auth.password = secret
    } else {
        auth.token = secret
    }
    config
}

fn info(id: &str, mode: &str, platform: &str) -> ClientInfo {
    ClientInfo {
        id: id.to_owned(),
        mode: mode.to_owned(),
        version: "1.0.0".to_owned(),
        platform: platform.to_owned(),
        display_name: None,
        device_family: None,
        model_identifier: None,
        instance_id: None,
        build_id: None,
        time_zone: None,
    }
}

fn host(from: u8) -> String {
    if from <= 1 { "127.0.0.1:18789".to_owned() } else { "gw.example:18789".to_owned() }
}

fn describe(spec: &Spec) -> String {
    let device = spec.device.map_or("no device".to_owned(), |at| format!("d{}", at + 1));
    let origin = spec.origin.map(|origin| format!(", origin {origin}")).unwrap_or_default();
    let flaw = spec.flaw.map(|flaw| format!(", flaw {flaw:?}")).unwrap_or_default();
    format!(
        "{:?}, protocol {}..{}, {device}, credential {:?}, scopes [{}]{origin}{flaw}",
        spec.who,
        spec.protocol.0,
        spec.protocol.1,
        spec.credential,
        spec.scopes.join(" ")
    )
}
