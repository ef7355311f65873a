//! hello-ok: what a client is told when it is let in (spec: handshake section 8, v4 section 7).

use super::{Dialect, surfaces};
use crate::admission::{Admission, IssuedToken};
use crate::frame::StateVersion;
use crate::gateway::events;
use crate::scope::Role;
use crate::{methods, scope};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HelloOk<'a> {
    r#type: &'static str,
    protocol: u8,
    server: Server<'a>,
    features: Features,
    snapshot: Snapshot<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<HelloAuth<'a>>,
    policy: Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    canvas_host_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_surface_urls: Option<BTreeMap<&'static str, &'a str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server<'a> {
    version: &'a str,
    conn_id: &'a str,
}

#[derive(Serialize)]
struct Features {
    methods: Vec<&'static str>,
    events: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<[&'static str; 0]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    presence: &'a RawValue,
    health: &'a RawValue,
    state_version: StateVersion,
    uptime_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspension: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_dir: Option<&'a str>,
    session_defaults: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_mode: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HelloAuth<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<&'a str>,
    role: &'static str,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    device_tokens: Vec<HandedToken<'a>>,
}

/// A token of another role than the one that came in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HandedToken<'a> {
    device_token: &'a str,
    role: &'a str,
    scopes: &'a [String],
    issued_at_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    max_payload: usize,
    max_buffered_bytes: usize,
    tick_interval_ms: u64,
}

/// Renders hello-ok's payload (spec: handshake section 8, v4 section 7). Runs outside the gateway's lock.
pub fn hello_ok(admission: &Admission) -> Vec<u8> {
    let Admission { dialect, config, .. } = admission;
    let limits = &config.limits;
    let admin = admission.scopes.satisfies(scope::ADMIN);
    let (auth, capabilities) = match dialect {
        // Protocol 3 shows the token's stored scopes, sorted, and no `auth` at all without a token. An operator was
        // given none there when it had asked for no scopes.
        Dialect::V3 => {
            let shown = |issued: &&IssuedToken| admission.role == Role::Node || !issued.scopes.is_empty();
            let auth = admission.token.as_ref().filter(shown).map(|issued| HelloAuth {
                device_token: Some(&issued.token),
                role: admission.role.as_str(),
                scopes: issued.scopes.clone(),
                issued_at_ms: Some(issued.issued_at_ms),
                device_tokens: Vec::new(),
            });
            (auth, None)
        }
        Dialect::V4 => {
            let auth = HelloAuth {
                device_token: admission.token.as_ref().map(|issued| issued.token.as_str()),
                role: admission.role.as_str(),
                scopes: admission.scopes.as_slice().to_vec(),
                issued_at_ms: admission.token.as_ref().map(|issued| issued.issued_at_ms),
                device_tokens: handed(admission),
            };
            (Some(auth), Some([]))
        }
    };
    let surface_url = admission.surface.as_ref().map(|surface| surface.url.as_str());
    let hello = HelloOk {
        r#type: "hello-ok",
        protocol: dialect.protocol(),
        server: Server { version: &config.about.version, conn_id: &admission.conn_id },
        features: Features {
            // What is not served is not named either.
            methods: methods::advertised(*dialect)
                .filter(|name| config.canvas.is_some() || !surfaces::METHODS.contains(name))
                .collect(),
            events: events::names(*dialect),
            capabilities,
        },
        snapshot: Snapshot {
            presence: raw(&admission.presence),
            health: raw(&admission.health),
            state_version: admission.state_version,
            uptime_ms: admission.uptime_ms,
            suspension: match dialect {
                Dialect::V3 => None,
                Dialect::V4 => Some(json!({"phase": admission.suspension})),
            },
            // Nobody learns more of this host by claiming the older protocol, whose schema has these as optional too.
            config_path: admin.then_some(config.about.config_path.as_str()),
            state_dir: admin.then_some(config.about.state_dir.as_str()),
            session_defaults: json!({
                "defaultAgentId": "main", "mainKey": "main",
                "mainSessionKey": "agent:main:main", "scope": "per-sender",
            }),
            auth_mode: admin.then_some(config.auth.mode.as_str()),
        },
        auth,
        policy: Policy {
            max_payload: limits.message_bytes_max,
            max_buffered_bytes: limits.queued_bytes_max,
            tick_interval_ms: limits.tick_interval_ms,
        },
        canvas_host_url: surface_url.filter(|_| *dialect == Dialect::V3),
        plugin_surface_urls: surface_url
            .filter(|_| *dialect == Dialect::V4)
            .map(|url| BTreeMap::from([("canvas", url)])),
    };
    serde_json::to_vec(&hello).expect("hello-ok has only string keys")
}

fn handed(admission: &Admission) -> Vec<HandedToken<'_>> {
    let handed = admission.handoff.iter().map(|(role, issued)| HandedToken {
        device_token: &issued.token,
        role,
        scopes: &issued.scopes,
        issued_at_ms: issued.issued_at_ms,
    });
    handed.collect()
}

fn raw(json: &Bytes) -> &RawValue {
    // Both snapshots were encoded by this crate a moment ago.
    serde_json::from_slice(json).expect("an encoded snapshot is JSON")
}
