//! Who may come in, and with what authority, once more and by the rules alone (spec: v4 sections 3, 5.1 and 6; the
//! same for both dialects).

use super::{Conn, ConnectRequestFacts, Model, Phase, Session, Upgrade};
use clawgate_proto::admission::Admission;
use clawgate_proto::config::{AuthMode, Config};
use clawgate_proto::connect::{ConnectRequest, Proof};
use clawgate_proto::dialect::Dialect;
use clawgate_proto::http::HttpRequest;
use clawgate_proto::id::ConnId;
use clawgate_proto::output::Reply;
use clawgate_proto::scope::Role;
use clawgate_proto::{Now, Peer};
use std::collections::BTreeSet;

pub(super) fn upgrade(peer: Peer, request: &HttpRequest) -> Upgrade {
    let is_named_here = request.header("host").is_some_and(|host| host.starts_with("127.0.0.1"));
    Upgrade {
        is_local: peer.remote.ip().to_canonical().is_loopback() && is_named_here,
        has_origin: request.header("origin").is_some(),
    }
}

pub(super) fn facts(request: &ConnectRequest) -> ConnectRequestFacts {
    let params = &request.params;
    let auth = &params.auth;
    ConnectRequestFacts {
        id: request.id.to_string(),
        protocol: (params.min_protocol, params.max_protocol),
        role: params.role.clone(),
        scopes: params.scopes.iter().map(|scope| scope.trim().to_owned()).collect(),
        who: (params.client.id.clone(), params.client.mode.clone()),
        device: params.device.as_ref().map(|claim| claim.id.clone()),
        is_proved: matches!(request.proof, Proof::Good { .. }),
        secrets: [&auth.token, &auth.password].into_iter().flatten().cloned().collect(),
        device_token: auth.device_token.clone().or_else(|| auth.token.clone()),
    }
}

impl Conn {
    /// Whether the shared secret was shown.
    fn shows_secret(&self, config: &Config, secret: &str) -> bool {
        let asked = self.asked.as_ref();
        config.auth.mode != AuthMode::None
            && asked.is_some_and(|asked| asked.request.secrets.iter().any(|shown| shown == secret))
    }

    /// A service on this machine that shows the shared secret needs no pairing.
    pub(super) fn is_exempt(&self, config: &Config, secret: &str) -> bool {
        let Some(asked) = self.asked.as_ref().map(|asked| &asked.request) else { return false };
        asked.who == ("gateway-client".to_owned(), "backend".to_owned())
            && asked.role.as_deref() != Some("node")
            && self.upgrade.is_local
            && !self.upgrade.has_origin
            && self.shows_secret(config, secret)
    }
}

impl Model {
    /// The gateway lets a peer in.
    pub(super) fn admitted(&mut self, now: Now, conn: ConnId, admission: &Admission) {
        if let Err(why) = self.check_admission(conn, admission) {
            self.accuse(now, format!("{conn} is let in {why}"));
        }
        let Some(book) = self.conns.get_mut(&conn) else { return };
        let Some(asked) = book.asked.as_ref().map(|asked| &asked.request) else { return };
        let is_tracked = asked.who.1 != "cli";
        let device = asked.device.clone();
        let session = Session {
            dialect: admission.dialect,
            role: admission.role,
            scopes: admission.scopes.as_slice().iter().cloned().collect(),
            device: device.clone(),
            is_tracked,
            since: now.mono,
        };
        let node = device.clone();
        book.phase = Phase::Open(session);
        // Each dialect has its own first state to show (spec: v4 section 7, handshake section 8).
        self.dues.cause("presence", [false, is_tracked], now.mono);
        self.dues.cause("health", [true, false], now.mono);
        let is_exempt = self.conns.get(&conn).is_some_and(|book| book.is_exempt(&self.config, &self.secret));
        if let Some(device) = device.filter(|_| !is_exempt)
            && let Err(why) = self.store.acknowledged(&device)
        {
            self.accuse(now, why);
        }
        if admission.role == Role::Node
            && let Some(node_id) = node
        {
            self.node_replaces(conn, &node_id);
        }
        self.reach(format!("admitted, protocol {}", admission.dialect.protocol()));
    }

    fn check_admission(&self, conn: ConnId, admission: &Admission) -> Result<(), String> {
        let Some(book) = self.conns.get(&conn) else { return Err("without a socket".to_owned()) };
        let Some(asked) = book.asked.as_ref().map(|asked| &asked.request) else {
            return Err("without a connect".to_owned());
        };
        if let Some(why) = book.ban {
            return Err(format!("though it {why}"));
        }
        if self.stopping {
            return Err("while the gateway stops".to_owned());
        }
        if admission.request_id.as_ref() != asked.id {
            return Err("under another request's id".to_owned());
        }
        let dialect = match asked.protocol {
            (min, max) if min <= 4 && max >= 4 => Dialect::V4,
            (min, max) if min <= 3 && max >= 3 => Dialect::V3,
            other => return Err(format!("with protocol {other:?}")),
        };
        let role = asked.role.as_deref().unwrap_or("operator");
        if admission.dialect != dialect || admission.role.as_str() != role {
            return Err(format!("as {} in {:?}", admission.role.as_str(), admission.dialect));
        }
        let shows_secret = book.shows_secret(&self.config, &self.secret);
        let is_direct = book.upgrade.is_local && !book.upgrade.has_origin;
        let who = (asked.who.0.as_str(), asked.who.1.as_str());
        let granted: BTreeSet<String> = admission.scopes.as_slice().iter().cloned().collect();
        let Some(device) = &asked.device else {
            let keeps_scopes = match self.config.auth.mode {
                AuthMode::None if is_direct && who == ("gateway-client", "backend") => true,
                AuthMode::Token | AuthMode::Password if shows_secret => {
                    is_direct && matches!(who, ("cli", "cli") | ("gateway-client", "backend"))
                }
                AuthMode::None | AuthMode::Token | AuthMode::Password | AuthMode::TrustedProxy => {
                    return Err("without a device and without the secret".to_owned());
                }
            };
            if admission.role == Role::Node || who.0 == "openclaw-control-ui" {
                return Err("without the device it needs".to_owned());
            }
            let wanted = if keeps_scopes { asked.scopes.clone() } else { BTreeSet::new() };
            return if granted == wanted { Ok(()) } else { Err(format!("with {granted:?}")) };
        };
        if !asked.is_proved {
            return Err("without a proof of its device".to_owned());
        }
        if granted != asked.scopes {
            return Err(format!("with {granted:?} where it asked for {:?}", asked.scopes));
        }
        if book.is_exempt(&self.config, &self.secret) {
            return Ok(());
        }
        let shared = shows_secret || self.config.auth.mode == AuthMode::None;
        let shown = if shared { None } else { Some(asked.device_token.clone().unwrap_or_default()) };
        let issued = admission.token.as_ref().map(|issued| issued.token.as_str());
        self.store.check_paired(device, role, &asked.scopes, issued, shown.as_deref())
    }

    /// The gateway turns a `connect` down.
    pub(super) fn refused(&mut self, now: Now, conn: ConnId, id: &str, reply: &Reply) {
        let Some(book) = self.conns.get(&conn) else { return };
        let Some(asked) = book.asked.as_ref().map(|asked| &asked.request) else {
            return self.accuse(now, format!("{conn}: an answer to {id} before any connect"));
        };
        let Reply::Err(error) = reply else {
            return self.accuse(now, format!("{conn}: ok before it is admitted"));
        };
        let details = error.details.clone().unwrap_or_default();
        let code = details["code"].as_str().unwrap_or(error.code);
        let proves_secret =
            self.config.auth.mode == AuthMode::None || book.shows_secret(&self.config, &self.secret);
        if proves_secret && code.starts_with("AUTH_") && code != "AUTH_RATE_LIMITED" {
            return self.accuse(now, format!("{conn} shows the secret and is told {code}"));
        }
        if asked.is_proved && (code.starts_with("DEVICE_AUTH_") || code == "DEVICE_IDENTITY_REQUIRED") {
            return self.accuse(now, format!("{conn} proves its device and is told {code}"));
        }
        if code == "PAIRING_REQUIRED" {
            let request = details["requestId"].as_str().unwrap_or_default();
            if !self.store.has_request(request) {
                return self
                    .accuse(now, format!("{conn} is told to wait for {request}, which is not stored"));
            }
        }
        if let Some(device) = asked.device.clone() {
            self.store.failed(&device);
        }
    }
}
