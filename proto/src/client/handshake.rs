//! The way in: the upgrade request and what may answer it (RFC 6455 section 4.1, RFC 9112), and `connect` params
//! with the device proof (spec: v4 sections 4 to 6).

use super::{ClientConfig, DeviceKey};
use crate::conn::upgrade::accept_key;
use crate::connect::proof::SignedPayload;
use crate::seed::Random;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// An upgrade that is not finished: the response as far as it came, and the key that proves it is for us.
pub(super) struct Upgrade {
    accept: String,
    received: Vec<u8>,
    refused: Option<Refused>,
}

/// A response that is not the upgrade; its body may still be coming.
#[derive(Debug)]
struct Refused {
    status: u16,
    /// `None` when the end of the stream ends it.
    length: Option<usize>,
}

/// What the response turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not complete yet.
    Partial,
    /// 101: frames follow, and the first bytes of them may be here already.
    Upgraded {
        /// Bytes behind the head.
        rest: Vec<u8>,
    },
    /// Another status, with the body as far as it is kept.
    Refused {
        /// Status code.
        status: u16,
        /// At most [`REFUSAL_BODY_BYTES_MAX`] bytes.
        body: Vec<u8>,
    },
    /// Not an HTTP response, or a 101 that RFC 6455 section 4.1 tells a client to fail.
    Broken(&'static str),
}

impl Upgrade {
    /// Appends the request to `wire`.
    pub(super) fn start(config: &ClientConfig, random: &mut Random, wire: &mut Vec<u8>) -> Self {
        let key = STANDARD.encode(random.bytes::<16>());
        let mut head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            config.path, config.host
        );
        let origin = config.origin.iter().map(|value| ("Origin", value.as_str()));
        let further = config.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in origin.chain(further) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        wire.extend_from_slice(head.as_bytes());
        Self { accept: accept_key(&key), received: Vec::new(), refused: None }
    }

    /// Takes bytes of the response.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Answer {
        self.received.extend_from_slice(bytes);
        if self.refused.is_none() {
            match self.parse_head() {
                Ok(Some(answer)) => return answer,
                Ok(None) => {}
                Err(why) => return Answer::Broken(why),
            }
        }
        let Some(refused) = &self.refused else { return Answer::Partial };
        let wanted = refused.length.unwrap_or(usize::MAX).min(REFUSAL_BODY_BYTES_MAX);
        if self.received.len() < wanted { Answer::Partial } else { self.end() }
    }

    /// Nothing more will come, or nobody waits for it any longer.
    pub(super) fn end(&mut self) -> Answer {
        let Some(refused) = &self.refused else {
            return Answer::Broken("connection closed before the upgrade was answered");
        };
        let wanted = refused.length.unwrap_or(usize::MAX).min(REFUSAL_BODY_BYTES_MAX);
        self.received.truncate(wanted);
        Answer::Refused { status: refused.status, body: core::mem::take(&mut self.received) }
    }

    /// Whether the head was a refusal whose body is still coming.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// An answer when the head is a whole 101; otherwise notes a refusal, or waits.
    fn parse_head(&mut self) -> Result<Option<Answer>, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = match response.parse(&self.received) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) if self.received.len() > HEAD_BYTES_MAX => {
                return Err("response head too large");
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("not an HTTP response"),
        };
        let headers = &*response.headers;
        let all = |name: &'static str| {
            headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value)
        };
        let status = response.code.unwrap_or(0);
        if status != 101 {
            let length = all("content-length").next().and_then(|value| core::str::from_utf8(value).ok());
            let length = length.and_then(|text| text.trim().parse().ok());
            self.received.drain(..head_bytes);
            self.refused = Some(Refused { status, length });
            return Ok(None);
        }
        let lists = |name: &'static str, word: &[u8]| {
            all(name)
                .flat_map(|value| value.split(|b| *b == b','))
                .any(|w| w.trim_ascii().eq_ignore_ascii_case(word))
        };
        if !lists("upgrade", b"websocket") || !lists("connection", b"upgrade") {
            return Err("101 without upgrade to websocket");
        }
        if !all("sec-websocket-accept").eq([self.accept.as_bytes()]) {
            return Err("101 with a wrong accept key");
        }
        if all("sec-websocket-extensions").next().is_some() {
            return Err("101 with an extension that was not offered");
        }
        let rest = self.received.split_off(head_bytes);
        Ok(Some(Answer::Upgraded { rest }))
    }
}

impl ClientConfig {
    /// The params of `connect`, signed for this challenge. `signed_at_ms` is the challenge's own time, so that
    /// this machine's clock does not matter.
    pub fn connect_params(&self, nonce: &str, signed_at_ms: u64) -> Value {
        let info = &self.client;
        let mut client = Map::new();
        let optional = [
            ("displayName", &info.display_name),
            ("deviceFamily", &info.device_family),
            ("modelIdentifier", &info.model_identifier),
            ("instanceId", &info.instance_id),
            ("buildId", &info.build_id),
            ("timeZone", &info.time_zone),
        ];
        let always = [
            ("id", &info.id),
            ("mode", &info.mode),
            ("version", &info.version),
            ("platform", &info.platform),
        ];
        client.extend(always.map(|(key, value)| (key.to_owned(), json!(value))));
        put_present(&mut client, optional);

        let mut params = Map::new();
        params.insert("minProtocol".to_owned(), json!(self.min_protocol));
        params.insert("maxProtocol".to_owned(), json!(self.max_protocol));
        params.insert("client".to_owned(), Value::Object(client));
        params.insert("role".to_owned(), json!(self.role));
        params.insert("scopes".to_owned(), json!(self.scopes));
        params.insert("caps".to_owned(), json!(self.caps));
        if !self.commands.is_empty() {
            params.insert("commands".to_owned(), json!(self.commands));
        }
        put_present(&mut params, [("pathEnv", &self.path_env)]);

        let mut auth = Map::new();
        let given = [
            ("token", &self.auth.token),
            ("deviceToken", &self.auth.device_token),
            ("bootstrapToken", &self.auth.bootstrap_token),
            ("password", &self.auth.password),
        ];
        put_present(&mut auth, given);
        if !auth.is_empty() {
            params.insert("auth".to_owned(), Value::Object(auth));
        }
        if let Some(key) = &self.identity {
            params.insert("device".to_owned(), self.device_claim(key, nonce, signed_at_ms));
        }
        Value::Object(params)
    }

    fn device_claim(&self, key: &DeviceKey, nonce: &str, signed_at_ms: u64) -> Value {
        let payload = SignedPayload {
            device_id: key.device_id(),
            client_id: &self.client.id,
            client_mode: &self.client.mode,
            role: &self.role,
            scopes: &self.scopes,
            signed_at: signed_at_ms,
            token: self.auth.signed_token(),
            nonce,
            platform: &self.client.platform,
            device_family: self.client.device_family.as_deref().unwrap_or_default(),
        };
        json!({ "id": key.device_id(), "publicKey": key.public_key_base64url(),
            "signature": key.sign(&payload.v3()), "signedAt": signed_at_ms, "nonce": nonce })
    }
}

fn put_present<const N: usize>(object: &mut Map<String, Value>, members: [(&str, &Option<String>); N]) {
    for (key, value) in members {
        if let Some(value) = value {
            object.insert(key.to_owned(), json!(value));
        }
    }
}

/// Bytes of a response head; beyond it the upgrade failed.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a response.
const HEADER_COUNT_MAX: usize = 64;
/// Bytes kept of the body of a refusal.
pub(super) const REFUSAL_BODY_BYTES_MAX: usize = 2_048;
