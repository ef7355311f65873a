//! `device.pair.setupCode` and what becomes of one: which address it names, and whether its device got its tokens
//! (spec: v4 section 6.8, pairing section 7).
//!
//! A code holds a secret that works once, never the gateway's own. It is spent when its device is let in, in the same
//! write; whether hello-ok then arrived is known when it is written, and told to those who may pair.

use super::devices::setup::{Redeemed, SetupAccess, SetupIssued};
use super::devices::{Done, Op};
use super::pair::Key;
use super::{Call, Gateway, events};
use crate::config::{AuthMode, Config};
use crate::dialect;
use crate::error::RequestError;
use crate::frame::Payload;
use crate::id::ConnId;
use crate::methods::Params;
use crate::net;
use crate::output::{Output, Reply};
use crate::time::Now;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// What became of codes, for `device.pair.setupStatus`.
#[derive(Debug, Default)]
pub(super) struct Setups {
    /// The latest last.
    results: VecDeque<Outcome>,
    /// Codes whose device left before it could know, in this input.
    pub(super) undelivered: Vec<Redeemed>,
}

#[derive(Debug)]
struct Outcome {
    setup_id: String,
    is_certain: bool,
    told: Value,
}

/// The address in a code, and where it comes from.
#[derive(Debug)]
pub(super) struct Place {
    url: String,
    source: &'static str,
}

impl Gateway {
    /// Something of what was queued towards a peer is written.
    pub(super) fn setup_delivered(&mut self, now: Now, conn: ConnId, bytes: usize, out: &mut Vec<Output>) {
        let Some(session) = self.peers.session_mut(conn) else { return };
        let Some(delivery) = &mut session.delivery else { return };
        delivery.left = delivery.left.saturating_sub(bytes);
        if delivery.left > 0 {
            return;
        }
        if let Some(delivery) = session.delivery.take() {
            self.setup_ended(now, delivery.redeemed, true, out);
        }
    }

    pub(super) fn tell_undelivered(&mut self, now: Now, out: &mut Vec<Output>) {
        for redeemed in core::mem::take(&mut self.setups.undelivered) {
            self.setup_ended(now, redeemed, false, out);
        }
    }

    fn setup_ended(&mut self, now: Now, redeemed: Redeemed, is_certain: bool, out: &mut Vec<Output>) {
        if is_for_page(redeemed.access) {
            // The event has no word for it, and whoever made the link sees the page.
            return;
        }
        let mut told = json!({
            "setupId": redeemed.setup_id,
            "deviceId": redeemed.device_id,
            "access": redeemed.access.as_str(),
            "ts": now.wall.0,
        });
        if let Some(name) = redeemed.device_name {
            told["deviceName"] = json!(name);
        }
        let event = if is_certain { &events::SETUP_COMPLETED } else { &events::SETUP_UNCERTAIN };
        let payload = Bytes::from(told.to_string());
        while self.setups.results.len() >= self.config.limits.setup_codes_max.max(1) {
            self.setups.results.pop_front();
        }
        self.setups.results.push_back(Outcome { setup_id: redeemed.setup_id, is_certain, told });
        self.broadcast(event, [None, Some(payload)], out);
    }

    /// A code was made: its shape for whoever asked.
    pub(super) fn setup_issued(
        &mut self,
        conn: ConnId,
        id: Box<str>,
        place: &Place,
        issued: &SetupIssued,
        out: &mut Vec<Output>,
    ) {
        let auth = self.config.auth.mode.as_str();
        let expires_at_ms = issued.expires_at_ms;
        let text = dialect::setup_code(&place.url, issued.token.expose(), expires_at_ms);
        let mut result = json!({
            "setupId": issued.setup_id,
            "setupCode": URL_SAFE_NO_PAD.encode(text),
            "gatewayUrl": place.url,
            "auth": auth,
            "urlSource": place.source,
            "access": issued.access.as_str(),
            "expiresAtMs": expires_at_ms,
        });
        if let Some(page) = self.config.control_ui.as_ref().filter(|_| is_for_page(issued.access)) {
            result["basePath"] = json!(page.base_path);
            result["builtIn"] = json!(page.built_in);
        }
        self.respond(conn, id, Reply::Ok(Payload::Value(Box::new(result))), out);
    }
}

/// `device.pair.setupCode`.
pub(crate) fn setup_code(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let profile = params.get("bootstrapProfile").and_then(Value::as_str);
    let access = profile.and_then(SetupAccess::named).unwrap_or(SetupAccess::Full);
    if is_for_page(access) && gateway.config.control_ui.is_none() {
        let error = RequestError::Unavailable {
            message: "this gateway serves no page: gateway.controlUi.enabled is false".to_owned(),
            reason: "control-ui-off",
            retryable: false,
        };
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let public = params.get("publicUrl").and_then(Value::as_str);
    let prefers_remote = params.get("preferRemoteUrl") == Some(&Value::Bool(true));
    match place(&gateway.config, access, public, prefers_remote) {
        Err(why) => gateway.fail(call.conn, call.id, &RequestError::Invalid(why), out),
        Ok(place) => {
            let by = gateway.peers.session(call.conn).and_then(|session| session.device_id.clone());
            let key = Key::Setup { conn: call.conn, id: call.id, place };
            gateway.submit(call.now, Op::IssueSetup { access, by }, key, out);
        }
    }
}

/// `device.pair.setupStatus`.
pub(crate) fn setup_status(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let wanted = params.get("setupId").and_then(Value::as_str).unwrap_or_default();
    let found = gateway.setups.results.iter().rev().find(|outcome| outcome.setup_id == wanted);
    let result = match found {
        Some(Outcome { is_certain: true, told, .. }) => json!({ "completion": told }),
        Some(Outcome { is_certain: false, told, .. }) => json!({ "deliveryUncertain": told }),
        None => json!({}),
    };
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(result))), out);
}

fn is_for_page(access: SetupAccess) -> bool {
    access == SetupAccess::ControlUiOwner
}

/// The outcome of [`Op::IssueSetup`].
pub(super) fn done(
    gateway: &mut Gateway,
    conn: ConnId,
    id: Box<str>,
    place: &Place,
    done: Done,
    out: &mut Vec<Output>,
) {
    if let Done::SetupIssued(issued) = done {
        gateway.setup_issued(conn, id, place, &issued, out);
    } else {
        gateway.method_done(conn, id, done, out);
    }
}

/// Which address a code names (spec: pairing section 7). A peer's word counts: it is an admin's, and what the code
/// carries there is worth one device.
fn place(
    config: &Config,
    access: SetupAccess,
    public: Option<&str>,
    prefers_remote: bool,
) -> Result<Place, String> {
    match config.auth.mode {
        // What a code's user shows afterwards is a token or password, or its own device token: behind a proxy that names
        // people neither is asked for, and the answer has no word for that.
        AuthMode::None | AuthMode::TrustedProxy => {
            return Err("Gateway auth is not configured (no token or password).".to_owned());
        }
        AuthMode::Token if config.auth.token.is_none() => {
            return Err("Gateway auth is set to token, but no token is configured.".to_owned());
        }
        AuthMode::Password if config.auth.password.is_none() => {
            return Err("Gateway auth is set to password, but no password is configured.".to_owned());
        }
        AuthMode::Token | AuthMode::Password => {}
    }
    if is_for_page(access) {
        // A browser lends a page its keys on this machine, or behind TLS.
        return Ok(Place {
            url: format!("{}://127.0.0.1:{}", config.scheme(), config.port),
            source: "gateway.port",
        });
    }
    let reach = &config.about.reach;
    let remote = reach.remote_url.as_deref().map(|url| (url, "gateway.remote.url"));
    let said = [
        public.map(|url| (url, "request.publicUrl")),
        remote.filter(|_| prefers_remote),
        reach.public_url.as_deref().map(|url| (url, "plugins.entries.device-pair.config.publicUrl")),
        remote,
    ];
    if let Some((text, source)) = said.into_iter().flatten().next() {
        return match net::gateway_url(text, config.scheme()) {
            Some(url) => Ok(Place { url, source }),
            None => Err(format!(
                "{source} is no address of a gateway: it needs a host, as in wss://gateway.example"
            )),
        };
    }
    match &reach.bound {
        Some((url, source)) => Ok(Place { url: url.clone(), source }),
        None => Err("Gateway is only bound to loopback. Set gateway.bind=lan, enable tailscale serve, or \
                     configure plugins.entries.device-pair.config.publicUrl."
            .to_owned()),
    }
}
