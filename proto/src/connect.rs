//! The `connect` request as facts: what the peer claims, and whether it proved its device key
//! (spec: v4 sections 5 and 6.2; RFC 8032 for Ed25519).

pub mod parse;
pub mod proof;

use core::fmt;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A well-formed `connect`, with the one costly check already made.
#[derive(Debug)]
pub struct ConnectRequest {
    /// Request id.
    pub id: Box<str>,
    /// What the peer sent.
    pub params: ConnectParams,
    /// Whether it owns the key it showed.
    pub proof: Proof,
}

/// The outcome of the device proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// No device was shown.
    Absent,
    /// The device owns this key: base64url without padding, the canonical form.
    Good {
        /// Canonical public key.
        public_key: String,
    },
    /// The first check that failed.
    Bad(ProofFault),
}

/// The checks of a device proof, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofFault {
    /// The id is not the hash of the key, or the key cannot be decoded.
    DeviceIdMismatch,
    /// Signed too long ago, or in the future.
    Expired,
    /// A blank nonce.
    NonceMissing,
    /// Not this connection's nonce.
    NonceMismatch,
    /// Neither payload version fits the signature.
    Signature,
    /// The bytes are no Ed25519 key.
    PublicKey,
}

/// `connect` params, validated. Objects are closed; [`ConnectParams::parse`] is the way to get one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectParams {
    /// Lowest protocol the peer speaks.
    #[serde(deserialize_with = "whole")]
    pub min_protocol: u64,
    /// Highest protocol the peer speaks.
    #[serde(deserialize_with = "whole")]
    pub max_protocol: u64,
    /// What the peer says it is.
    pub client: ClientInfo,
    /// Asked role; `operator` when absent.
    pub role: Option<String>,
    /// Asked scopes, as sent: the order is part of the signature.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Declared capabilities.
    #[serde(default)]
    pub caps: Vec<String>,
    /// Commands a node offers.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Permissions a node declares.
    #[serde(default)]
    pub permissions: BTreeMap<String, bool>,
    /// A node's PATH.
    pub path_env: Option<String>,
    /// The device and its proof.
    pub device: Option<DeviceClaim>,
    /// Credentials.
    #[serde(default)]
    pub auth: Credentials,
    /// Kept by nobody.
    pub locale: Option<String>,
    /// Kept by nobody.
    pub user_agent: Option<String>,
    /// A node's computer-use declaration, passed on as it is.
    pub computer_use: Option<Box<RawValue>>,
}

/// `connect.params.client`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    /// One of the known client ids.
    pub id: String,
    /// One of the known modes.
    pub mode: String,
    /// Its version.
    pub version: String,
    /// Its platform, as sent.
    pub platform: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Device family, as sent.
    pub device_family: Option<String>,
    /// Hardware model.
    pub model_identifier: Option<String>,
    /// Stable id of the installation.
    pub instance_id: Option<String>,
    /// Build of a bundled page.
    pub build_id: Option<String>,
    /// Time zone name.
    pub time_zone: Option<String>,
}

/// `connect.params.device`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceClaim {
    /// Hex SHA-256 of the raw public key.
    pub id: String,
    /// Base64, base64url or PEM.
    pub public_key: String,
    /// Base64 or base64url.
    pub signature: String,
    /// Unix milliseconds.
    #[serde(deserialize_with = "whole")]
    pub signed_at: u64,
    /// The challenge's nonce.
    pub nonce: String,
}

/// `connect.params.auth`. Present and empty differ from absent: the signature covers the first present token.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Shared token, or a device token.
    pub token: Option<String>,
    /// Setup token.
    pub bootstrap_token: Option<String>,
    /// Device token.
    pub device_token: Option<String>,
    /// Shared password.
    pub password: Option<String>,
}

impl Credentials {
    /// The token that the device signature covers: the first that is present, even when it is empty. The
    /// password is never signed.
    pub fn signed_token(&self) -> &str {
        let first =
            self.token.as_deref().or(self.device_token.as_deref()).or(self.bootstrap_token.as_deref());
        first.unwrap_or_default()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.is_some())
            .field("bootstrap_token", &self.bootstrap_token.is_some())
            .field("device_token", &self.device_token.is_some())
            .field("password", &self.password.is_some())
            .finish()
    }
}

/// JSON has one kind of number: `3.0` is 3. What does not fit saturates.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    Ok(number.as_u64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as u64))
}
