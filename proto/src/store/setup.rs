//! `devices/bootstrap.json`: setup codes that are out (spec: pairing sections 2.5 and 7, v4 section 6.8).
//!
//! Release 2026.3.13 keeps a token, `ts` and `issuedAtMs`, and binds it to nothing. What binds one here stands beside
//! those as further members, which that release does not look at. A token without them was made by that release.

use crate::secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The document, by token. `Debug` shows none.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SetupTokens(pub BTreeMap<String, Arc<SetupToken>>);

impl core::fmt::Debug for SetupTokens {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.0.values()).finish()
    }
}

/// One token, and what it may open.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetupToken {
    /// The secret: 43 characters of base64url.
    pub token: String,
    /// As `issued_at_ms`.
    pub ts: u64,
    /// When it was made, Unix milliseconds.
    pub issued_at_ms: u64,
    /// Names it where the token itself must not be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_id: Option<String>,
    /// `full`, `limited` or `node`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// The roles it may open; absent for one that is bound to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// What the role operator may be given with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The device that used it first; nobody else may any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// That device's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The device whose operator made it; it ends with that one's rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<String>,
    /// What others wrote here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

// By hand: the token is compared in constant time.
impl PartialEq for SetupToken {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            token,
            ts,
            issued_at_ms,
            setup_id,
            access,
            roles,
            scopes,
            device_id,
            public_key,
            issued_by,
            ..
        } = self;
        secret::same(token, &other.token)
            && (ts, issued_at_ms, setup_id, access)
                == (&other.ts, &other.issued_at_ms, &other.setup_id, &other.access)
            && (roles, scopes, device_id) == (&other.roles, &other.scopes, &other.device_id)
            && (public_key, issued_by, &self.other) == (&other.public_key, &other.issued_by, &other.other)
    }
}

impl core::fmt::Debug for SetupToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SetupToken")
            .field("setup_id", &self.setup_id)
            .field("access", &self.access)
            .field("device_id", &self.device_id)
            .field("issued_at_ms", &self.issued_at_ms)
            .finish_non_exhaustive()
    }
}
