//! The gateway's side: its certificate, made at the first start and kept, and what rustls is told.
//!
//! TLS 1.3, and 1.2 where somebody asked for it. No tickets, so no key of ours outlives a connection, and nothing is
//! kept between two of them; no early data, no compression, no certificates of clients.

use super::files::Files;
use super::pair::{self, Marks, Pair};
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
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

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
            let note = if storage.disk().is_kept() {
                format!("made a certificate; it is kept in {}", files.certificate.display())
            } else {
                "made a certificate for this run alone (--state-in-memory): after each restart it is another one, which \
                          no client trusts. For one that stays, name files in gateway.tls.certPath and gateway.tls.keyPath"
                    .to_owned()
            };
            (pair, Some(note))
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
    let [certificate, key, _] = pair::marks(files, storage)
        .ok_or_else(|| format!("gateway tls: {} cannot be looked at", files.certificate.display()))?;
    pair::write(files, storage, names, now_ms, [certificate, key])?;
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

    /// What keeps it for a gateway that runs: later connections get what its files say then.
    pub fn keeper<D: Disk>(&self, storage: &Arc<Storage<D>>, logger: &Arc<Logger>) -> Arc<Keeper<D>> {
        let fingerprint = self.pair.shown.fingerprint.clone();
        let known = Known { fingerprint, marks: self.pair.marks, said: None };
        Arc::new(Keeper {
            files: self.files.clone(),
            storage: Arc::clone(storage),
            logger: Arc::clone(logger),
            key: Mutex::new(Arc::clone(&self.pair.key)),
            known: Mutex::new(known),
        })
    }

    /// How connections are taken with what is kept there.
    ///
    /// # Errors
    /// rustls does not like it.
    pub fn acceptor<D: Disk>(&self, keeper: &Arc<Keeper<D>>) -> Result<Acceptor, String> {
        let versions: &[_] = match self.oldest {
            Oldest::Tls13 => &[&TLS13],
            Oldest::Tls12 => &[&TLS13, &TLS12],
        };
        let keeper: Arc<dyn ResolvesServerCert> = Arc::<Keeper<D>>::clone(keeper);
        let mut config = ServerConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(versions)
            .map_err(|why| format!("gateway tls: {why}"))?
            .with_no_client_auth()
            .with_cert_resolver(keeper);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Acceptor::new(config.into()))
    }
}

/// Gives each connection the certificate of the latest look. Connections never look themselves: a folder that does not
/// answer must not keep them waiting.
pub struct Keeper<D> {
    files: Files,
    storage: Arc<Storage<D>>,
    logger: Arc<Logger>,
    /// Held for as long as it takes to point at it.
    key: Mutex<Arc<CertifiedKey>>,
    /// Held for as long as files take.
    known: Mutex<Known>,
}

struct Known {
    fingerprint: String,
    /// What the files were when they were taken up last.
    marks: Marks,
    /// Why those that are there now are not, as it was said.
    said: Option<String>,
}

impl<D: Disk> ResolvesServerCert for Keeper<D> {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl<D: Disk> Keeper<D> {
    fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The SHA-256 of the certificate that connections get now.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.key().cert.first().map(|certificate| Sha256::digest(certificate).into())
    }

    /// The files, for who watches them.
    pub fn paths(&self) -> Vec<PathBuf> {
        let Files { certificate, key, authorities, .. } = &self.files;
        [certificate, key].into_iter().chain(authorities).cloned().collect()
    }

    /// Whether the files are others than those that were taken up.
    pub fn is_behind(&self) -> bool {
        self.known.try_lock().is_ok_and(|known| {
            pair::marks(&self.files, &self.storage).is_some_and(|marks| marks != known.marks)
        })
    }

    /// Takes up what the files say now: a system call for each where nothing has changed. May block for as long as they do
    /// not answer; whoever looks meanwhile goes on at once. What is refused is read again at every look: not only files
    /// change, but also what kept them from being read, and the clock.
    pub fn look(&self) {
        let mut known = match self.known.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(known)) => known.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let Some(marks) = pair::marks(&self.files, &self.storage) else { return };
        if marks == known.marks {
            known.said = None;
            return;
        }
        let why = match pair::read(&self.files, &self.storage, log::wall_ms()) {
            Ok(Some(pair)) => {
                // What was read may be newer than what was looked at.
                known.marks = pair.marks;
                known.said = None;
                // The chain behind the same certificate may be another one.
                *self.key.lock().unwrap_or_else(PoisonError::into_inner) = pair.key;
                if pair.shown.fingerprint == known.fingerprint {
                    return;
                }
                known.fingerprint.clone_from(&pair.shown.fingerprint);
                let record = Record::new(Level::Info, "tls.certificate-changed")
                    .field("sha256", &pair.shown.fingerprint)
                    .field("until", log::timestamp(pair.shown.not_after_ms));
                return self.logger.log(&record);
            }
            // Between two renames the files do not belong together: that passes. If it does not, this was said.
            Ok(None) => "its files are gone".to_owned(),
            Err(why) => why,
        };
        if known.said.as_ref() != Some(&why) {
            self.logger.log(&unusable(&why));
            known.said = Some(why);
        }
    }
}

fn unusable(why: &str) -> Record {
    Record::new(Level::Warn, "tls.certificate-unusable")
        .field("why", why)
        .field("hint", "the one from before is still used; mend its files")
}

/// It leads to a private key.
impl<D> fmt::Debug for Keeper<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Two weeks.
const SOON_MS: u64 = 14 * 86_400_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::log::file::{Ring, Sink};
    use crate::scratch::Folder;
    use std::fs::{self, File};
    use std::io;
    use std::path::Path;
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// The real disk, unless it does not answer, or reads nothing.
    #[derive(Default)]
    struct Stalling {
        is_broken: AtomicBool,
        /// Whether it is stalled, and how many wait for it.
        state: Mutex<(bool, u32)>,
        changed: Condvar,
    }

    impl Stalling {
        fn stall(&self, is_stalled: bool) {
            self.state.lock().unwrap().0 = is_stalled;
            self.changed.notify_all();
        }

        fn awake(&self) {
            let mut state = self.state.lock().unwrap();
            state.1 += 1;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |state| state.0).unwrap();
            state.1 -= 1;
        }

        /// Until somebody waits for it.
        fn is_waited_for(&self) -> bool {
            let state = self.state.lock().unwrap();
            let bound = Duration::from_secs(20);
            let waited = self.changed.wait_timeout_while(state, bound, |state| state.1 == 0).unwrap();
            !waited.1.timed_out()
        }
    }

    impl Disk for Stalling {
        type File = File;
        fn mark(&self, path: &Path) -> io::Result<Version> {
            self.awake();
            RealDisk.mark(path)
        }
        fn read(&self, path: &Path) -> io::Result<Option<(Vec<u8>, Version)>> {
            self.awake();
            if self.is_broken.load(Ordering::Relaxed) {
                return Err(io::Error::other("no descriptor is left"));
            }
            RealDisk.read(path)
        }
        fn create_folder(&self, folder: &Path) -> io::Result<()> {
            RealDisk.create_folder(folder)
        }
        fn create(&self, path: &Path) -> io::Result<File> {
            RealDisk.create(path)
        }
        fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
            RealDisk.write(file, bytes)
        }
        fn sync(&self, file: &File) -> io::Result<()> {
            RealDisk.sync(file)
        }
        fn sync_named(&self, path: &Path) -> io::Result<()> {
            RealDisk.sync_named(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.rename(from, to)
        }
        fn sync_folder(&self, folder: &Path) -> io::Result<()> {
            RealDisk.sync_folder(folder)
        }
        fn mark_of(&self, file: &File) -> io::Result<Version> {
            RealDisk.mark_of(file)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            RealDisk.remove(path)
        }
        fn entries(&self, folder: &Path) -> io::Result<Vec<(String, Duration)>> {
            RealDisk.entries(folder)
        }
    }

    /// A gateway's certificate in this folder, made now, with further ones beside it; and what it logs.
    struct Kept {
        files: Files,
        names: [String; 1],
        storage: Arc<Storage<Stalling>>,
        keeper: Arc<Keeper<Stalling>>,
        logger: Arc<Logger>,
    }

    impl Kept {
        fn new(folder: &Folder) -> Self {
            let path = |name: &str| folder.path().join(name);
            let names = ["localhost".to_owned()];
            let authorities = path("ca.pem");
            fs::write(&authorities, pair::make(&names, log::wall_ms()).unwrap().0).unwrap();
            let (certificate, key) = (path("cert.pem"), path("key.pem"));
            let files = Files { certificate, key, authorities: Some(authorities), makes: true };
            let storage = Arc::new(Storage::new(Stalling::default(), 1));
            let prepared = prepare(&files, Oldest::Tls13, &storage, Some(&names)).unwrap().unwrap();
            let sink = Sink::Memory(Ring::default());
            let logger = Logger::new(None, false).keeping(sink, Some(Level::Info), "h".to_owned()).into();
            let keeper = prepared.keeper(&storage, &logger);
            Self { files, names, storage, keeper, logger }
        }

        fn renew(&self) -> String {
            renew(&self.files, &Storage::new(RealDisk, 2), &self.names).unwrap().fingerprint
        }

        /// What connections get after a look.
        fn seen(&self) -> String {
            self.keeper.look();
            super::super::fingerprint_of(&self.keeper.key().cert[0])
        }

        /// How often this was logged.
        fn said(&self, what: &str) -> usize {
            let span = self.logger.span().unwrap();
            let text = String::from_utf8(self.logger.read(&span, 0, 100_000).unwrap()).unwrap();
            text.matches(what).count()
        }
    }

    #[test]
    fn what_was_refused_is_tried_again_and_said_once() {
        let folder = Folder::new();
        let kept = Kept::new(&folder);
        let first = kept.seen();
        // The files are whole; it is the reading that fails, and then no longer does.
        let second = kept.renew();
        kept.storage.disk().is_broken.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(kept.seen(), first);
        }
        assert_eq!((kept.said("no descriptor is left"), kept.said("certificate-changed")), (1, 0));
        kept.storage.disk().is_broken.store(false, Ordering::Relaxed);
        assert_eq!(kept.seen(), second);
        assert!(!kept.keeper.is_behind());
        assert_eq!((kept.said("certificate-unusable"), kept.said("certificate-changed")), (1, 1));
        // Another time is said again.
        kept.renew();
        kept.storage.disk().is_broken.store(true, Ordering::Relaxed);
        assert_eq!(kept.seen(), second);
        assert_eq!(kept.said("no descriptor is left"), 2);
    }

    #[test]
    fn the_file_of_further_certificates_counts_as_the_other_two_do() {
        let folder = Folder::new();
        let kept = Kept::new(&folder);
        let authorities = kept.files.authorities.clone().unwrap();
        assert_eq!(kept.keeper.paths().last(), Some(&authorities));
        let (first, whole) = (kept.seen(), fs::read(&authorities).unwrap());
        assert!(!kept.keeper.is_behind());
        let second = kept.renew();
        fs::write(&authorities, &whole[..whole.len() / 2]).unwrap();
        assert_eq!((kept.seen(), kept.seen()), (first.clone(), first));
        assert_eq!(kept.said("ca.pem: it holds no certificate"), 1);
        fs::write(&authorities, &whole).unwrap();
        assert_eq!(kept.seen(), second);
        // It alone has changed: its certificates are sent, and there is nothing to tell.
        fs::write(&authorities, [&whole[..], &whole[..]].concat()).unwrap();
        assert!(kept.keeper.is_behind());
        assert_eq!(kept.seen(), second);
        assert!(!kept.keeper.is_behind());
        assert_eq!((kept.said("certificate-unusable"), kept.said("certificate-changed")), (1, 1));
    }

    #[test]
    fn a_folder_that_does_not_answer_keeps_no_handshake_waiting() {
        let folder = Folder::new();
        let files = Files {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            authorities: None,
            makes: true,
        };
        let names = ["localhost".to_owned()];
        let storage = Arc::new(Storage::new(Stalling::default(), 1));
        let prepared = prepare(&files, Oldest::Tls13, &storage, Some(&names)).unwrap().unwrap();
        let keeper = prepared.keeper(&storage, &Arc::new(Logger::new(None, false)));
        prepared.acceptor(&keeper).unwrap();
        let first = keeper.key();
        keeper.look();
        assert!(!keeper.is_behind() && Arc::ptr_eq(&first, &keeper.key()));

        let new = renew(&files, &Storage::new(RealDisk, 2), &names).unwrap();
        assert!(keeper.is_behind() && Arc::ptr_eq(&first, &keeper.key()), "a connection does not look");
        storage.disk().stall(true);
        let looks = {
            let keeper = Arc::clone(&keeper);
            std::thread::spawn(move || keeper.look())
        };
        assert!(storage.disk().is_waited_for());
        // Neither a connection nor the next look waits with it: or this test would not end.
        assert!(Arc::ptr_eq(&first, &keeper.key()));
        keeper.look();
        storage.disk().stall(false);
        looks.join().unwrap();
        assert_eq!(super::super::fingerprint_of(&keeper.key().cert[0]), new.fingerprint);
        assert!(!keeper.is_behind());
    }
}
