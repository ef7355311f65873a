//! Plays a recorded case on a stage.
//!
//! In memory, time is virtual and the limits are the real ones. On a driver, the cases that wait for a limit get a
//! short one: only there is `policy.tickIntervalMs` compared with what was configured instead of what was recorded.

use crate::case::{Act, Break, Call, Case, Connect, Expect, Fetch, Step};
use crate::compare::{Seen, error_value};
use crate::shape;
use clawgate_proto::client::{ClientConfig, ClientEvent, DeviceKey};
use clawgate_proto::config::{CanvasHost, Config, ControlUi};
use clawgate_proto::host::files::FileRoot;
use clawgate_support::stage::{ANSWER_MS, EVENT_MS};
use clawgate_support::{Actor, Place, Stage, secrets};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// A case being played.
pub(crate) struct Player {
    pub(crate) stage: Stage,
    actors: BTreeMap<String, Actor>,
    pub(crate) keys: BTreeMap<String, DeviceKey>,
    /// Device tokens by device.
    issued: BTreeMap<String, String>,
    /// The latest hello-ok, by connection.
    hellos: BTreeMap<String, Value>,
    /// Ids of requests whose answers are waited for later, in their order, by connection and method.
    asked: BTreeMap<(String, String), VecDeque<String>>,
    /// What steps kept for later ones.
    kept: BTreeMap<String, Value>,
    calls: u32,
}

/// Plays a case from its first step to its last.
///
/// # Errors
/// The steps that went otherwise, each with what was expected and what came. After a connection that was not let in
/// nothing further is played.
pub(crate) fn play(case: &Case, place: Place) -> Result<(), String> {
    let has_page = case.path.starts_with("v3/");
    let stage = Stage::with(place, |config| {
        config.canvas = Some(CanvasHost { live_reload: true });
        // A page of 2026.3.13 is installed; that of later releases wants more than is here.
        config.control_ui = has_page.then(|| ControlUi { built_in: false, base_path: String::new() });
        shorten(case, place, config);
    });
    for name in ["index.html", "assets/index-HASH.js", "assets/index-HASH.css", "favicon.svg"] {
        stage.host().put_file(FileRoot::ControlUi, name, "a part of the page");
    }
    stage.host().set_log("{\"0\":\"a line\"}\n");
    stage.host().edit_config(Some("{gateway: {mode: 'local'}}"));
    let mut player = Player {
        stage,
        actors: BTreeMap::new(),
        keys: BTreeMap::new(),
        issued: BTreeMap::new(),
        hellos: BTreeMap::new(),
        asked: BTreeMap::new(),
        kept: BTreeMap::new(),
        calls: 0,
    };
    player.warm_up();
    let mut faults = Vec::new();
    for (n, step) in case.steps.iter().enumerate() {
        let Err(why) = player.step(step) else { continue };
        let Step { on, r#do: act, .. } = step;
        faults.push(format!("{} on {place:?}, step {} ({act} on {on}):\n  {why}", case.path, n + 1));
        if matches!(act, Act::Connect(_)) {
            break;
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Short limits where time is real, for the cases that wait for one.
fn shorten(case: &Case, place: Place, config: &mut Config) {
    if !place.is_real() {
        return;
    }
    let waits_for =
        |event: &str| case.steps.iter().any(|step| matches!(&step.r#do, Act::Listen(name) if name == event));
    if waits_for("tick") {
        config.limits.tick_interval_ms = 250;
    }
    if case.steps.iter().any(|step| matches!(step.r#do, Act::Silence)) {
        config.limits.handshake_timeout_ms = 500;
    }
    config.limits.health_interval_ms = 20;
}

impl Player {
    /// Waits until the health snapshot is complete: its load figures are made of two measurements.
    fn warm_up(&mut self) {
        let interval_ms = self.stage.config().limits.health_interval_ms;
        for _ in 0..1_000 {
            if self.stage.host().loads() > 2 {
                return;
            }
            self.stage.pass(interval_ms);
        }
        panic!("the gateway does not ask for its load");
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let wanted = step.here.as_ref().map_or(&step.expect, |here| &here.expect);
        let seen = self.act(step, wanted);
        let payload = seen.ok.as_ref().or_else(|| seen.event.as_ref().map(|event| &event["payload"]));
        let mut lacks = None;
        for (name, pointer) in &step.keep {
            match payload.and_then(|payload| payload.pointer(pointer)) {
                Some(value) => drop(self.kept.insert(name.clone(), value.clone())),
                None => lacks = Some(format!("{pointer} is not there to be kept")),
            }
        }
        let compared = self.compare(wanted, &seen).and(lacks.map_or(Ok(()), Err));
        let compared = compared.map_err(|why| format!("{why}\n  saw {seen:?}"));
        match (step.waits_for, compared) {
            // How soon something comes in vain is not compared where time is real.
            (Some(_), Ok(())) if self.stage.place().is_real() => Ok(()),
            (Some(part), Ok(())) => {
                Err(format!("no longer waits for {part:?}: take it off the list\n  saw {seen:?}"))
            }
            // Half built is not waiting: an answer has the shape, even when it does not say everything yet, and a
            // refusal says that the method is not here.
            (Some(_), Err(why)) => match (&wanted.ok, &seen.ok, &seen.error) {
                (Some(shape), Some(payload), _) => shape::fits_in_part(shape, payload, "payload"),
                (None, Some(_), _) => Err("is answered, where an error was due".to_owned()),
                (_, None, Some(error)) if error["details"]["reason"] != "feature-unavailable" => Err(why),
                (_, None, _) => Ok(()),
            },
            (None, Err(why)) => Err(why),
            (None, Ok(())) => match &step.here {
                Some(here) if self.compare(&step.expect, &seen).is_ok() => Err(format!(
                    "no longer differs, so row {} does not belong here\n  saw {seen:?}",
                    here.row
                )),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// How long a step waits for what another connection's act, or time, brings about.
    fn patience_ms(&self, step: &Step, wanted: &Expect) -> u64 {
        match (step.waits_for.is_some() || wanted.is_silence(), self.stage.place().is_real()) {
            (false, _) => EVENT_MS,
            (true, false) => 1_000,
            (true, true) => 20,
        }
    }

    fn act(&mut self, step: &Step, wanted: &Expect) -> Seen {
        let mut seen = Seen::default();
        match &step.r#do {
            Act::Open => {
                let config = ClientConfig { answers_challenge: false, ..self.stage.client(None) };
                let actor = self.open(&step.on, config);
                seen.challenge = self.challenge(actor).map(|(nonce, ts)| json!({"nonce": nonce, "ts": ts}));
            }
            Act::Connect(connect) => self.connect(&step.on, connect, &mut seen),
            Act::Call(call) => {
                let id = self.ask(&step.on, call);
                let actor = self.actor(&step.on);
                match self.stage.answer(actor, &id) {
                    Ok(response) => seen.answer_is(response),
                    Err(_) => seen.close = self.close(actor, ANSWER_MS),
                }
            }
            Act::Ask(call) => {
                let id = self.ask(&step.on, call);
                self.asked.entry((step.on.clone(), call.method.clone())).or_default().push_back(id);
            }
            Act::Answered(method) => {
                let asked = self.asked.get_mut(&(step.on.clone(), method.clone()));
                // The last may be answered in two steps.
                let id =
                    asked.and_then(|ids| if ids.len() > 1 { ids.pop_front() } else { ids.front().cloned() });
                let id = id.expect("a case asks before it waits for an answer");
                let actor = self.actor(&step.on);
                let is_it =
                    |event: &ClientEvent| matches!(event, ClientEvent::Response(answer) if answer.id == id);
                let patience_ms = self.patience_ms(step, wanted).min(ANSWER_MS);
                if let Some(ClientEvent::Response(response)) = self.stage.wait_for(actor, patience_ms, is_it)
                {
                    seen.answer_is(response);
                }
            }
            Act::Hello => seen.body = self.hellos.get(&step.on).cloned(),
            Act::Http(fetch) => self.fetch(fetch, &mut seen),
            Act::Send(Value::String(text)) => self.send(&step.on, text, &mut seen),
            Act::Send(frame) => self.send(&step.on, &frame.to_string(), &mut seen),
            Act::SendText { bytes } => self.send(&step.on, &"x".repeat(*bytes), &mut seen),
            Act::Listen(name) => {
                let actor = self.actor(&step.on);
                let is_it =
                    |event: &ClientEvent| matches!(event, ClientEvent::Event(event) if event.name == *name);
                let patience_ms = self.patience_ms(step, wanted);
                if let Some(ClientEvent::Event(event)) = self.stage.wait_for(actor, patience_ms, is_it) {
                    seen.event = Some(json!({
                        "seq": event.seq.is_some(),
                        "stateVersion": event.state_version.is_some(),
                        "payload": event.value(),
                    }));
                }
            }
            Act::Silence | Act::Nothing => {}
            Act::Close => {
                let actor = self.actor(&step.on);
                self.stage.close(actor);
            }
        }
        if let Some(answer) = &wanted.answer {
            seen.answer = self.answer_to(&step.on, &answer.id);
        }
        if wanted.close.is_some() && seen.close.is_none() {
            let actor = self.actor(&step.on);
            seen.close = self.close(actor, EVENT_MS);
        }
        if wanted.open {
            seen.open = self.is_open(&step.on);
        }
        seen
    }

    fn ask(&mut self, on: &str, call: &Call) -> String {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        let mut frame = json!({"type": "req", "id": id, "method": call.method});
        if let Some(params) = &call.params {
            frame["params"] = self.resolve(params);
        }
        let actor = self.actor(on);
        let _ = self.stage.with_client(actor, |client| client.send_text_raw(&frame.to_string()));
        id
    }

    fn fetch(&mut self, fetch: &Fetch, seen: &mut Seen) {
        let host = self.stage.client(None).host;
        let Fetch { method, path } = fetch;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = self.stage.exchange(head.as_bytes(), ANSWER_MS);
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let mut lines = head.lines();
        seen.http = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        seen.headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        seen.body = serde_json::from_str(body).ok();
    }

    fn connect(&mut self, on: &str, connect: &Connect, seen: &mut Seen) {
        let config = self.client_config(connect);
        if let Some(name) = &connect.device {
            seen.device_id = self.key(name).device_id().to_owned();
        }
        let actor = self.open(on, config.clone());
        let Some((nonce, ts)) = self.challenge(actor) else {
            let refused = |event: &ClientEvent| matches!(event, ClientEvent::HttpRefused { .. });
            if let Some(ClientEvent::HttpRefused { status, .. }) = self.stage.wait_for(actor, 0, refused) {
                seen.http = Some(status);
            }
            return;
        };
        let params = connect_params(&config, connect, &nonce, ts);
        let sent = self.stage.with_client(actor, |client| client.send_connect(params));
        assert!(sent.is_ok(), "the connection is open after the challenge");
        match self.stage.admission(actor) {
            Ok(hello) => {
                if let (Some(device), Some(token)) = (&connect.device, hello.device_token()) {
                    self.issued.insert(device.clone(), token.to_owned());
                }
                self.hellos.insert(on.to_owned(), hello.0.clone());
                seen.hello = Some(hello.0);
            }
            Err(refusal) => {
                seen.error = refusal.error.as_ref().map(error_value);
                seen.close = refusal.closed.map(|closed| (closed.code, closed.reason));
            }
        }
    }

    fn client_config(&mut self, connect: &Connect) -> ClientConfig {
        let device = connect.device.as_ref().map(|name| self.key(name));
        let mut config = self.stage.client(device);
        let params = &connect.params;
        let texts = |name: &str| {
            let list = params.get(name).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        config.answers_challenge = false;
        config.client = serde_json::from_value(params["client"].clone()).expect("a case names its client");
        config.role = params["role"].as_str().expect("a case names its role").to_owned();
        config.scopes = texts("scopes");
        config.caps = texts("caps");
        for (name, value) in &connect.headers {
            config.headers.push((name.clone(), value.replace("<host>", &config.host)));
        }
        config.auth.token = connect.auth.get("token").map(|name| self.credential(name));
        config.auth.password = connect.auth.get("password").map(|name| self.credential(name));
        config.auth.device_token = connect.auth.get("deviceToken").map(|name| self.credential(name));
        config
    }

    fn credential(&self, name: &str) -> String {
        if name == "gateway" {
            return clawgate_support::stage::shared_token();
        }
        match name.strip_prefix("issued to ") {
            Some(device) => self.issued.get(device).expect("that device was given a token").clone(),
            None => secrets::chosen(name),
        }
    }

    fn key(&mut self, name: &str) -> DeviceKey {
        if !self.keys.contains_key(name) {
            let key = self.stage.key();
            self.keys.insert(name.to_owned(), key);
        }
        self.keys[name].clone()
    }

    fn open(&mut self, on: &str, config: ClientConfig) -> Actor {
        let actor = self.stage.open(config);
        self.actors.insert(on.to_owned(), actor);
        actor
    }

    fn actor(&self, on: &str) -> Actor {
        *self.actors.get(on).expect("a case opens its connections first")
    }

    fn challenge(&mut self, actor: Actor) -> Option<(String, u64)> {
        let is_it = |event: &ClientEvent| matches!(event, ClientEvent::Challenge { .. });
        match self.stage.wait_for(actor, ANSWER_MS, is_it) {
            Some(ClientEvent::Challenge { nonce, ts_ms: Some(ts) }) => Some((nonce, ts)),
            _ => None,
        }
    }

    fn send(&mut self, on: &str, text: &str, seen: &mut Seen) {
        let actor = self.actor(on);
        if self.stage.with_client(actor, |client| client.send_text_raw(text)).is_err() {
            seen.close = self.close(actor, 0);
        }
    }

    /// The answer with that id, which need not be a text as a client would want it.
    fn answer_to(&mut self, on: &str, id: &Value) -> Option<Value> {
        let actor = self.actor(on);
        let frame = |event: &ClientEvent| match event {
            ClientEvent::Response(response) => {
                let error = response.error.as_ref().map(error_value);
                Some(json!({"id": response.id, "error": error}))
            }
            ClientEvent::Unrecognised(text) => {
                let frame: Value = serde_json::from_str(&text.0).ok()?;
                Some(json!({"id": frame["id"], "error": frame["error"]}))
            }
            ClientEvent::ConnectRefused(_)
            | ClientEvent::Challenge { .. }
            | ClientEvent::HelloOk(_)
            | ClientEvent::Event(_)
            | ClientEvent::Gap { .. }
            | ClientEvent::HttpRefused { .. }
            | ClientEvent::Closed { .. } => None,
        };
        let is_it = |event: &ClientEvent| frame(event).is_some_and(|frame| frame["id"] == *id);
        frame(&self.stage.wait_for(actor, ANSWER_MS, is_it)?)
    }

    fn close(&mut self, actor: Actor, bound_ms: u64) -> Option<(u16, String)> {
        let is_it = |event: &ClientEvent| matches!(event, ClientEvent::Closed { .. });
        match self.stage.wait_for(actor, bound_ms, is_it) {
            Some(ClientEvent::Closed { code, reason, .. }) => Some((code, reason)),
            _ => None,
        }
    }

    fn is_open(&mut self, on: &str) -> bool {
        let actor = self.actor(on);
        match self.stage.with_client(actor, |client| client.request("health", Value::Null)) {
            Ok(id) => self.stage.answer(actor, &id).is_ok_and(|response| response.ok),
            Err(_) => false,
        }
    }

    /// Params with the ids of devices and what steps kept put in. What a waiting step could not keep stays a name.
    fn resolve(&self, params: &Value) -> Value {
        match params {
            Value::String(text) => {
                let Some(name) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) else {
                    return params.clone();
                };
                match name.strip_prefix("id of ") {
                    Some(device) => {
                        json!(self.keys.get(device).expect("that device has connected").device_id())
                    }
                    None => self.kept.get(name).unwrap_or(params).clone(),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            Value::Object(members) => {
                let resolved = members.iter().map(|(name, value)| (name.clone(), self.resolve(value)));
                Value::Object(resolved.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => params.clone(),
        }
    }

    /// The same in texts that people read, such as the message of an error.
    pub(crate) fn resolve_within(&self, expect: &Value) -> Value {
        let mut text = expect.to_string();
        for (name, value) in &self.kept {
            if let Some(value) = value.as_str() {
                text = text.replace(&format!("<{name}>"), value);
            }
        }
        serde_json::from_str(&text).expect("ids need no escapes")
    }
}

/// `connect` params: those of the case, its credentials, and the device proof with what is wrong with it.
fn connect_params(config: &ClientConfig, connect: &Connect, nonce: &str, ts: u64) -> Value {
    let nonce = if matches!(connect.r#break, Some(Break::Nonce)) { OTHER_NONCE } else { nonce };
    let made = config.connect_params(nonce, ts);
    let mut params = connect.params.clone();
    for name in ["auth", "device"] {
        if let Some(value) = made.get(name) {
            params.insert(name.to_owned(), value.clone());
        }
    }
    let mut params = Value::Object(params);
    match connect.r#break {
        Some(Break::NonceMissing) => {
            params["device"].as_object_mut().expect("a broken proof is one").remove("nonce");
        }
        Some(Break::Signature) => params["device"]["signature"] = json!("AAAA"),
        Some(Break::Id) => params["device"]["id"] = json!("0".repeat(64)),
        Some(Break::Nonce) | None => {}
    }
    params
}

const OTHER_NONCE: &str = "00000000-0000-0000-0000-000000000000";
