//! Where the gateway's certificate and key are (`gateway.tls`; spec: config section 5).

use crate::environment::Environment;
use std::path::{Path, PathBuf};

/// `gateway.tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `enabled`.
    pub enabled: bool,
    /// `autoGenerate`; it does when nothing is said.
    pub auto_generate: Option<bool>,
    /// `certPath`, as it is written, variables expanded.
    pub cert_path: Option<String>,
    /// `keyPath`.
    pub key_path: Option<String>,
    /// `caPath`: further certificates.
    pub ca_path: Option<String>,
}

/// The files of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those that go with it, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// Certificates among which those are looked for that lead from ours to one that clients trust.
    pub authorities: Option<PathBuf>,
    /// Whether both are made when there are none.
    pub makes: bool,
}

impl Files {
    /// As the settings say, whether or not TLS is on.
    pub fn of(settings: &TlsSettings, environment: &Environment, state_dir: &Path) -> Self {
        let folder = state_dir.join("gateway/tls");
        let named = |path: &Option<String>| {
            let path = path.as_deref().map(str::trim).filter(|path| !path.is_empty());
            path.map(|path| environment.path(path))
        };
        Self {
            certificate: named(&settings.cert_path).unwrap_or_else(|| folder.join("gateway-cert.pem")),
            key: named(&settings.key_path).unwrap_or_else(|| folder.join("gateway-key.pem")),
            authorities: named(&settings.ca_path),
            makes: settings.auto_generate != Some(false),
        }
    }
}
