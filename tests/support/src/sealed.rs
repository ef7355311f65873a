//! TLS for stages: one certificate for all of them, made when the first asks for it, and clients that trust it alone.

use crate::secrets;
use clawgate_proto::tls::{Acceptor, Connector};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
pub use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io::Read as _;
use std::sync::{Arc, OnceLock};

struct Pair {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pem: [String; 2],
}

fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a name makes a certificate");
        Pair {
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
            pem: [made.cert.pem(), made.signing_key.serialize_pem()],
        }
    })
}

/// How the gateway of a stage takes connections.
///
/// # Panics
/// Never, with a certificate that was just made.
pub fn acceptor() -> Acceptor {
    let Pair { certificate, key, pem: _ } = pair();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key));
    Acceptor::new(config.expect("the certificate fits its key").into())
}

/// The certificate and its key, as files for a program whose clients are these.
pub fn pem() -> &'static [String; 2] {
    let pem = &pair().pem;
    secrets::record_pem(&pem[1]);
    pem
}

/// How a client of a stage reaches it.
pub fn connector() -> Connector {
    Connector::new(client_config(&[&TLS13]), name())
}

/// The same, for a client that speaks only this version.
pub fn connector_of(version: &'static SupportedProtocolVersion) -> Connector {
    Connector::new(client_config(&[version]), name())
}

/// A certificate, as PEM, that was valid until 2021.
///
/// # Panics
/// Never: its names are names.
pub fn expired() -> String {
    let key = rcgen::KeyPair::generate().expect("the system has entropy");
    let mut params = rcgen::CertificateParams::new([NAME.to_owned()]).expect("a name makes a certificate");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    params.self_signed(&key).expect("it can be signed").pem()
}

/// A client that trusts nobody.
pub fn distrustful() -> Connector {
    distrustful_of(&TLS13)
}

/// The same, for a client that speaks only this version. Whoever speaks it too is not trusted; whoever does not, is not
/// understood.
pub fn distrustful_of(version: &'static SupportedProtocolVersion) -> Connector {
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[version])
        .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    Connector::new(config.expect("the provider speaks it").into(), name())
}

fn client_config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pair().certificate.clone()).expect("it is a certificate");
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(versions)
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    config.expect("the provider speaks it").into()
}

fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("it is a name")
}

/// A raw exchange of bytes by TLS.
pub struct Pipe {
    session: ClientConnection,
    said_farewell: bool,
}

impl Pipe {
    /// Begins, with these bytes to be sent.
    ///
    /// # Panics
    /// Never, with this configuration.
    pub fn new(bytes: &[u8]) -> Self {
        use std::io::Write as _;
        let mut session = ClientConnection::new(client_config(&[&TLS13]), name()).expect("a session");
        session.set_buffer_limit(None);
        session.writer().write_all(bytes).expect("memory takes it");
        Self { session, said_farewell: false }
    }

    /// Says that nothing follows what was given (RFC 8446 section 6.1).
    pub fn farewell(&mut self) {
        self.session.send_close_notify();
    }

    /// What is to be sent now.
    ///
    /// # Panics
    /// Never: memory takes it.
    pub fn take(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut wire).expect("memory takes it");
        }
        wire
    }

    /// Takes what came, and appends what it says; whether more may come.
    pub fn receive(&mut self, mut wire: &[u8], clear: &mut Vec<u8>) -> bool {
        while !wire.is_empty() {
            if self.session.read_tls(&mut wire).is_err() {
                return false;
            }
            let Ok(state) = self.session.process_new_packets() else { return false };
            let mut piece = vec![0; state.plaintext_bytes_to_read()];
            if self.session.reader().read_exact(&mut piece).is_ok() {
                clear.append(&mut piece);
            }
            if state.peer_has_closed() {
                self.said_farewell = true;
                return false;
            }
        }
        true
    }

    /// Whether the gateway said that nothing follows (RFC 8446 section 6.1).
    pub fn said_farewell(&self) -> bool {
        self.said_farewell
    }
}

const NAME: &str = "localhost";
