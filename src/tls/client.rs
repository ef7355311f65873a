//! The client's side: which certificate is the gateway's. Nothing is trusted because it was met before.

use super::{Met, Trust, fingerprint_of};
use clawgate_proto::tls::Connector;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A way to a gateway by TLS, and what was met on it.
#[derive(Clone, Debug)]
pub struct Secure {
    connector: Connector,
    verifier: Arc<Verifier>,
}

impl Secure {
    /// For the client of the core.
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// Which certificate the latest connection met.
    pub fn met(&self) -> Met {
        self.verifier.met.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether one certificate is trusted and no other.
    pub fn is_pinned(&self) -> bool {
        matches!(self.verifier.trusted, Trusted::Pin(_))
    }
}

/// A way to this host, IPv6 with or without brackets, that trusts so.
///
/// # Errors
/// TLS cannot be used with it; for a person.
pub fn secure(trust: &Trust, host: &str) -> Result<Secure, String> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| format!("{host} is no name that a certificate could be for"))?;
    let provider = Arc::new(default_provider());
    let trusted = match trust {
        Trust::Pin(fingerprint) => Trusted::Pin(fingerprint.clone()),
        Trust::System => system(&provider),
    };
    let verifier = Arc::new(Verifier { trusted, provider: Arc::clone(&provider), met: Mutex::default() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Secure { connector: Connector::new(config.into(), name), verifier })
}

#[derive(Debug)]
struct Verifier {
    trusted: Trusted,
    provider: Arc<CryptoProvider>,
    met: Mutex<Met>,
}

#[derive(Debug)]
enum Trusted {
    Pin(String),
    Authorities(Arc<WebPkiServerVerifier>),
    /// Nobody is known; a sentence for a person.
    Nobody(String),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = fingerprint_of(end_entity);
        let verified = match &self.trusted {
            // The handshake is signed with the key of this certificate, which nobody else has: its names, its dates and
            // its issuer say nothing more.
            Trusted::Pin(pinned) if *pinned == fingerprint => Ok(ServerCertVerified::assertion()),
            Trusted::Pin(_) => Err((
                CertificateError::ApplicationVerificationFailure.into(),
                "it is not the pinned one".to_owned(),
            )),
            Trusted::Authorities(inner) => inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|why| {
                    let said = sentence(&why);
                    (why, said)
                }),
            Trusted::Nobody(why) => Err((CertificateError::UnknownIssuer.into(), why.clone())),
        };
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        *met = Met { fingerprint: Some(fingerprint), why_not: None };
        verified.map_err(|(why, said)| {
            met.why_not = Some(said);
            why
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "rustls adds to them, and names them itself")]
fn sentence(why: &Error) -> String {
    let Error::InvalidCertificate(why) = why else { return why.to_string() };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, by the clock of this machine".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => "nobody whom this machine trusts has signed it".to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::Other(inner) => inner.to_string(),
        other => format!("it cannot be used ({other:?})"),
    }
}

/// Whom this machine trusts: the operating system's file of authorities.
fn system(provider: &Arc<CryptoProvider>) -> Trusted {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let usual = AUTHORITIES.iter().map(|path| Path::new(path).to_owned());
    // Who names one wants no others.
    if let Some(path) = named.as_ref().filter(|path| !path.is_file()) {
        return Trusted::Nobody(format!(
            "SSL_CERT_FILE is {}, which is no file, so nobody is known who could have signed it",
            path.display()
        ));
    }
    let Some(path) = named.into_iter().chain(usual).find(|path| path.is_file()) else {
        return Trusted::Nobody(format!(
            "this machine has no file of authorities ({}; SSL_CERT_FILE names another one), so nobody is known who could \
             have signed it",
            AUTHORITIES.join(", ")
        ));
    };
    let nobody = |why: &str| {
        Trusted::Nobody(format!("{}: {why}, so nobody is known who could have signed it", path.display()))
    };
    let read = CertificateDer::pem_file_iter(&path);
    let Ok(found) = read else { return nobody("it cannot be read") };
    let mut roots = RootCertStore::empty();
    // Such files hold certificates that some programs cannot use: the others still count.
    roots.add_parsable_certificates(found.flatten().take(AUTHORITIES_MAX));
    match WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider)).build() {
        Ok(verifier) => Trusted::Authorities(verifier),
        Err(_) => nobody("it holds no certificate that can be used"),
    }
}

/// Debian and its like, Red Hat, SUSE, Alpine and macOS.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Several times what any of them holds.
const AUTHORITIES_MAX: usize = 2_000;
