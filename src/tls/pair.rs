//! A certificate and its private key, from their files; and new ones.

use super::certificate::Outline;
use super::files::Files;
use super::{Shown, fingerprint_of};
use crate::storage::{Disk, Put, PutFault, Storage};
use clawgate_proto::host::Version;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256,
    date_time_ymd,
};
use rustls::InconsistentKeys;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Both, ready to be used.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) shown: Shown,
    /// What their files were when they were read.
    pub(super) marks: Marks,
}

/// What the files of a certificate are: its own, its key's, and the one of further certificates, which is missing where
/// none is configured.
pub(super) type Marks = [Version; 3];

/// Reads both. `None` when neither is there.
///
/// # Errors
/// One is missing, or they cannot be used; says what to do.
pub(super) fn read<D: Disk>(
    files: &Files,
    storage: &Storage<D>,
    now_ms: u64,
) -> Result<Option<Pair>, String> {
    let (certificate, key) = (&files.certificate, &files.key);
    let (chain, pem, mut marks) = match (storage.read(certificate)?, storage.read(key)?) {
        (None, None) => return Ok(None),
        (Some((chain, a)), Some((pem, b))) => (chain, pem, [a, b, Version::MISSING]),
        (found, _) => {
            let (there, missing) = if found.is_some() { (certificate, key) } else { (key, certificate) };
            return Err(format!(
                "gateway tls: cert/key missing\n{} is there, and {} is not: put it back, set gateway.tls.certPath and \
                 gateway.tls.keyPath, or move the other one away to have both made anew",
                there.display(),
                missing.display()
            ));
        }
    };
    let wrong = |path: &Path, why: &str| format!("gateway tls: {}: {why}", path.display());
    let mut chain = certificates(&chain)
        .ok_or_else(|| wrong(certificate, "it holds no certificate in PEM form (BEGIN CERTIFICATE)"))?;
    let pem = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let why = "it holds no private key that can be used: PEM, without a passphrase (BEGIN PRIVATE KEY)";
        wrong(key, why)
    })?;
    let signer = any_supported_type(&pem).map_err(|_| {
        wrong(key, "its algorithm is not supported; use ECDSA P-256 or P-384, Ed25519, or RSA")
    })?;
    if let Some(path) = &files.authorities {
        let Some((more, mark)) = storage.read(path)? else {
            return Err(format!("gateway tls: gateway.tls.caPath: there is no file {}", path.display()));
        };
        marks[2] = mark;
        let more = certificates(&more).ok_or_else(|| wrong(path, "it holds no certificate in PEM form"))?;
        extend(&mut chain, &more);
    }
    let leaf =
        Outline::read(&chain[0]).ok_or_else(|| wrong(certificate, "its first certificate is broken"))?;
    if leaf.not_after_ms < now_ms {
        return Err(wrong(
            certificate,
            &format!(
                "the certificate has expired ({}): get a new one from whoever issued it, or, if it was made here, run \
                 `clawgate gateway tls renew`",
                crate::log::timestamp(leaf.not_after_ms)
            ),
        ));
    }
    let shown = Shown {
        fingerprint: fingerprint_of(&chain[0]),
        not_before_ms: leaf.not_before_ms,
        not_after_ms: leaf.not_after_ms,
        signs_itself: leaf.issuer == leaf.subject,
    };
    let key = CertifiedKey::new(chain, signer);
    match key.keys_match() {
        // A key that cannot tell its public half is not known to be wrong.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(format!(
                "gateway tls: {} is not the key of {}: they do not belong together",
                files.key.display(),
                certificate.display()
            ));
        }
        Err(_) => return Err(wrong(certificate, "its first certificate is broken")),
    }
    Ok(Some(Pair { key: key.into(), shown, marks }))
}

/// The certificate alone.
///
/// # Errors
/// It is there and cannot be used.
pub(super) fn certificate<D: Disk>(files: &Files, storage: &Storage<D>) -> Result<Option<Shown>, String> {
    let Some((pem, _)) = storage.read(&files.certificate)? else { return Ok(None) };
    let chain = certificates(&pem);
    let shown = chain.as_ref().and_then(|chain| {
        let leaf = Outline::read(&chain[0])?;
        Some(Shown {
            fingerprint: fingerprint_of(&chain[0]),
            not_before_ms: leaf.not_before_ms,
            not_after_ms: leaf.not_after_ms,
            signs_itself: leaf.issuer == leaf.subject,
        })
    });
    let path = files.certificate.display();
    shown.map(Some).ok_or_else(|| format!("gateway tls: {path}: it holds no certificate in PEM form"))
}

/// What the files are now; `None` when they cannot be looked at.
pub(super) fn marks<D: Disk>(files: &Files, storage: &Storage<D>) -> Option<Marks> {
    let more = files.authorities.as_ref().map_or(Ok(Version::MISSING), |path| storage.mark(path));
    Some([storage.mark(&files.certificate).ok()?, storage.mark(&files.key).ok()?, more.ok()?])
}

/// Makes both and writes them, in the place of what `expected` says is there.
///
/// # Errors
/// They cannot be made or written; for a person.
pub(super) fn write<D: Disk>(
    files: &Files,
    storage: &Storage<D>,
    names: &[String],
    now_ms: u64,
    expected: [Version; 2],
) -> Result<(), String> {
    let (certificate, key) = make(names, now_ms).ok_or("gateway tls: no certificate could be made")?;
    // The key first: a certificate without one would be shown to people.
    let puts = [
        Put { path: &files.key, expected: Some(expected[1]), content: key.as_bytes() },
        Put { path: &files.certificate, expected: Some(expected[0]), content: certificate.as_bytes() },
    ];
    storage.put(&puts).map(drop).map_err(|fault| match fault {
        PutFault::Conflict(path) => format!(
            "gateway tls: {} was written by somebody else meanwhile; look at it, and try again",
            path.display()
        ),
        PutFault::Failed(why) => format!("gateway tls: {why}"),
    })
}

/// A certificate that signs itself, for these names and addresses, and its key: PEM. ECDSA on P-256: every client knows
/// it, and it is cheaper to make and to sign with than the reference's RSA.
pub(super) fn make(names: &[String], now_ms: u64) -> Option<(String, String)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).ok()?;
    let mut params = CertificateParams::new(names).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "openclaw-gateway");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A board without a battery begins in 1970, until somebody has told it the time.
    let from_ms = now_ms.max(EARLIEST_MS);
    let at = |ms: u64| date_time_ymd(1970, 1, 1) + Duration::from_millis(ms);
    params.not_before = at(from_ms - DAY_MS);
    params.not_after = at(from_ms + LIFE_DAYS * DAY_MS);
    let certificate = params.self_signed(&key).ok()?;
    Some((certificate.pem(), key.serialize_pem()))
}

/// The certificates in a PEM text; `None` when there is none, or one is broken.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).take(CHAIN_MAX).collect();
    found.ok().filter(|found| !found.is_empty())
}

/// Adds those that lead from the last one to one that signs itself, which clients have, or do not want.
fn extend(chain: &mut Vec<CertificateDer<'static>>, more: &[CertificateDer<'static>]) {
    while chain.len() < SENT_MAX {
        let Some(last) = chain.last().and_then(|last| Outline::read(last)) else { return };
        let issuer = last.issuer;
        let next = more.iter().find(|other| {
            Outline::read(other).is_some_and(|it| it.subject == issuer && it.issuer != it.subject)
        });
        match next {
            Some(next) if !chain.contains(next) => chain.push(next.clone()),
            Some(_) | None => return,
        }
    }
}

/// As the reference makes them.
const LIFE_DAYS: u64 = 3_650;
const DAY_MS: u64 = 86_400_000;
/// 2026-01-01.
const EARLIEST_MS: u64 = 1_767_225_600_000;
/// Certificates read from one file: more than any bundle of authorities holds.
const CHAIN_MAX: usize = 1_000;
/// Certificates that are sent: a chain is three long.
const SENT_MAX: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use crate::storage::RealDisk;
    use rcgen::{BasicConstraints, IsCa, Issuer};
    use std::fs;

    fn params(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    #[test]
    fn what_leads_on_from_a_certificate_is_sent_with_it_and_its_root_is_not() {
        let (root_key, middle_key, key) =
            (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = params("root", true).self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(params("root", true), root_key);
        let middle = params("middle", true).signed_by(&middle_key, &root_issuer).unwrap();
        let middle_issuer = Issuer::new(params("middle", true), middle_key);
        let leaf = params("leaf", false).signed_by(&key, &middle_issuer).unwrap();
        let other = params("other", true).self_signed(&KeyPair::generate().unwrap()).unwrap();

        let folder = Folder::new();
        let path = |name: &str| folder.path().join(name);
        let files = Files {
            certificate: path("cert.pem"),
            key: path("key.pem"),
            authorities: Some(path("ca.pem")),
            makes: true,
        };
        fs::write(&files.certificate, leaf.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        let bundle = [other.pem(), root.pem(), middle.pem()].concat();
        fs::write(path("ca.pem"), &bundle).unwrap();
        let storage = Storage::new(RealDisk, 1);
        let pair = read(&files, &storage, EARLIEST_MS).unwrap().unwrap();
        assert_eq!(pair.key.cert, [leaf.der().clone(), middle.der().clone()]);
        assert!(!pair.shown.signs_itself);
        // What stands in the file of the certificate is not sent twice.
        fs::write(&files.certificate, leaf.pem() + &middle.pem()).unwrap();
        assert_eq!(read(&files, &storage, EARLIEST_MS).unwrap().unwrap().key.cert.len(), 2);
        fs::write(path("ca.pem"), "nonsense").unwrap();
        assert!(read(&files, &storage, EARLIEST_MS).unwrap_err().contains("ca.pem: it holds no certificate"));
    }

    #[test]
    fn a_clock_that_was_never_set_makes_no_certificate_that_is_over_when_it_is() {
        let (pem, _) = make(&["localhost".to_owned()], 0).unwrap();
        let chain = certificates(pem.as_bytes()).unwrap();
        let outline = Outline::read(&chain[0]).unwrap();
        assert_eq!(outline.not_after_ms, EARLIEST_MS + LIFE_DAYS * DAY_MS);
    }
}
