//! The gateway's side: its certificate, made at the first start and kept, and what rustls is told.
//!
//! TLS 1.3, and 1.2 where somebody asked for it. No tickets, so no key of ours outlives a connection, and nothing is
//! kept between two of them; no early data, no compression, no certificates of clients.

use super::files::Files;
use super::pair::{self, Pair};
use super::{Oldest, Shown};
use crate::log::{self, Logger};
use crate::storage::{Disk, RealDisk, Storage};
use clawgate_proto::host::Version;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::tls::Acceptor;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A certificate that a gateway can start with.
#[derive(Clone, Debug)]
pub struct Prepared {
    files: Files,
    oldest: Oldest,
    pair: Pair,
    note: Option<String>,
    warnings: Vec<String>,
}

/// Looks at the certificate, and makes one where there is none and `names` says for what. `None`: there is none yet, and
/// one will be made.
///
/// # Errors
/// It cannot be used, or not be made; says what to do. Nothing is ever served in the clear instead.
pub fn prepare<D: Disk>(
    files: &Files,
    oldest: Oldest,
    storage: &Storage<D>,
    names: Option<&[String]>,
) -> Result<Option<Prepared>, String> {
    let now_ms = log::wall_ms();
    let (pair, note) = match (pair::read(files, storage, now_ms)?, names) {
        (Some(pair), _) => (pair, None),
        (None, _) if !files.makes => {
            return Err(format!(
                "gateway tls: cert/key missing\nThere is neither {} nor {}, and gateway.tls.autoGenerate is false: put them \
                 there, or set it to true to have them made",
                files.certificate.display(),
                files.key.display()
            ));
        }
        (None, None) => return Ok(None),
        (None, Some(names)) => {
            pair::write(files, storage, names, now_ms, [Version::MISSING; 2])?;
            let pair = pair::read(files, storage, now_ms)?.ok_or("gateway tls: what was written is gone")?;
            (pair, Some(format!("made a certificate; it is kept in {}", files.certificate.display())))
        }
    };
    let mut warnings = Vec::new();
    let mode = std::fs::metadata(&files.key).map(|found| found.permissions().mode() & 0o777);
    if let Ok(mode) = mode
        && mode & 0o077 != 0
    {
        let key = files.key.display();
        warnings.push(format!("{key} can be read by others (mode {mode:03o}): chmod 600 it"));
    }
    if pair.shown.not_before_ms > now_ms {
        warnings.push(format!(
            "the certificate of this gateway is valid from {} on, which the clock of this machine takes for the future",
            log::timestamp(pair.shown.not_before_ms)
        ));
    }
    if pair.shown.not_after_ms < now_ms.saturating_add(SOON_MS) {
        let until = log::timestamp(pair.shown.not_after_ms);
        warnings.push(format!("the certificate of this gateway expires on {until}: have it renewed"));
    }
    if oldest == Oldest::Tls12 {
        warnings.push(
            "tls.minVersion in clawgate.json is 1.2: clients that know TLS 1.3 use it all the same"
                .to_owned(),
        );
    }
    Ok(Some(Prepared { files: files.clone(), oldest, pair, note, warnings }))
}

/// The certificate that a gateway of these files shows; `None` when there is none yet. Its key is not looked at.
///
/// # Errors
/// It cannot be read.
pub fn shown(files: &Files, storage: &Storage<RealDisk>) -> Result<Option<Shown>, String> {
    pair::certificate(files, storage)
}

/// Makes a certificate with a new key, in the place of what is there.
///
/// # Errors
/// It cannot be made or written.
pub fn renew(files: &Files, storage: &Storage<RealDisk>, names: &[String]) -> Result<Shown, String> {
    let now_ms = log::wall_ms();
    let marks = pair::marks(files, storage)
        .ok_or_else(|| format!("gateway tls: {} cannot be looked at", files.certificate.display()))?;
    pair::write(files, storage, names, now_ms, marks)?;
    let pair = pair::read(files, storage, now_ms)?.ok_or("gateway tls: what was written is gone")?;
    Ok(pair.shown)
}

impl Prepared {
    /// The certificate.
    pub fn shown(&self) -> &Shown {
        &self.pair.shown
    }

    /// What was done; a sentence.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// What its person should know.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How connections are taken with it, and what they get. When its files change, later connections get what they say
    /// then.
    ///
    /// # Errors
    /// rustls does not like it.
    pub fn acceptor<D: Disk>(
        &self,
        storage: &Arc<Storage<D>>,
        logger: &Arc<Logger>,
    ) -> Result<(Acceptor, Served), String> {
        let versions: &[_] = match self.oldest {
            Oldest::Tls13 => &[&TLS13],
            Oldest::Tls12 => &[&TLS13, &TLS12],
        };
        let current = Current {
            key: Arc::clone(&self.pair.key),
            fingerprint: self.pair.shown.fingerprint.clone(),
            marks: self.pair.marks,
            looked: Instant::now(),
        };
        let resolver = Resolver {
            files: self.files.clone(),
            storage: Arc::clone(storage),
            logger: Arc::clone(logger),
            current: Mutex::new(current),
        };
        let resolver = Arc::new(resolver);
        let mut config = ServerConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(versions)
            .map_err(|why| format!("gateway tls: {why}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Resolver<D>>::clone(&resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let served = Served(Box::new(move || resolver.current().fingerprint.clone()));
        Ok((Acceptor::new(config.into()), served))
    }
}

/// Which certificate connections get now.
pub struct Served(Box<dyn Fn() -> String + Send + Sync>);

impl Served {
    /// Its fingerprint as bytes.
    pub fn digest(&self) -> Option<[u8; 32]> {
        super::digest(&(self.0)())
    }
}

/// It leads to a private key.
impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served")
    }
}

/// Gives each connection the certificate that its files hold now.
struct Resolver<D> {
    files: Files,
    storage: Arc<Storage<D>>,
    logger: Arc<Logger>,
    current: Mutex<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    fingerprint: String,
    /// What the files were when they were read last, or refused.
    marks: [Version; 2],
    looked: Instant,
}

impl<D: Disk> ResolvesServerCert for Resolver<D> {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().key))
    }
}

impl<D: Disk> Resolver<D> {
    /// What holds now.
    fn current(&self) -> MutexGuard<'_, Current> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_AGAIN {
            current.looked = Instant::now();
            self.look(&mut current);
        }
        current
    }

    /// Two system calls where nothing has changed.
    fn look(&self, current: &mut Current) {
        let Some(marks) = pair::marks(&self.files, &self.storage) else { return };
        if marks == current.marks {
            return;
        }
        current.marks = marks;
        let record = match pair::read(&self.files, &self.storage, log::wall_ms()) {
            Ok(Some(pair)) => {
                // What was read may be newer than what was looked at.
                current.marks = pair.marks;
                // The chain behind the same certificate may be another one.
                current.key = pair.key;
                if pair.shown.fingerprint == current.fingerprint {
                    return;
                }
                current.fingerprint.clone_from(&pair.shown.fingerprint);
                Record::new(Level::Info, "tls.certificate-changed")
                    .field("sha256", &pair.shown.fingerprint)
                    .field("until", log::timestamp(pair.shown.not_after_ms))
            }
            // Between two renames the files do not belong together: that passes. If it does not, this was said.
            Ok(None) => unusable("its files are gone"),
            Err(why) => unusable(&why),
        };
        self.logger.log(&record);
    }
}

fn unusable(why: &str) -> Record {
    Record::new(Level::Warn, "tls.certificate-unusable")
        .field("why", why)
        .field("hint", "the one from before is still used; mend its files")
}

/// It leads to a private key.
impl<D> fmt::Debug for Resolver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("files", &self.files).finish_non_exhaustive()
    }
}

/// How often the files are looked at, when connections come or somebody is told which certificate it is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Two weeks.
const SOON_MS: u64 = 14 * 86_400_000;
