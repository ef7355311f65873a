//! A device's Ed25519 key (RFC 8032): its id, its public forms, its signatures, and the two PEM texts that
//! `identity/device.json` holds (RFC 8410: SPKI for the public half, PKCS #8 for the private one).

use crate::connect::proof::{device_id, public_key_text};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use core::fmt;
use ed25519_dalek::{Signer as _, SigningKey};

/// The key a device proves itself with. `Debug` shows only the public id.
#[derive(Clone)]
pub struct DeviceKey {
    key: SigningKey,
    device_id: Box<str>,
}

/// A PEM text that is not an Ed25519 key in the expected form. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemFault {
    /// No `BEGIN` and `END` lines with the expected label.
    Label,
    /// What stands between them is not base64.
    Base64,
    /// Not the fixed DER prefix of an Ed25519 key, or not 32 bytes of key behind it.
    NotEd25519,
}

impl DeviceKey {
    /// The key of a 32-byte private seed (RFC 8032 section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let device_id = device_id(key.verifying_key().as_bytes()).into();
        Self { key, device_id }
    }

    /// Reads a PKCS #8 PEM text, as [`DeviceKey::private_pem`] writes it.
    ///
    /// # Errors
    /// The text is something else.
    pub fn from_private_pem(pem: &str) -> Result<Self, PemFault> {
        Ok(Self::from_seed(&decode(pem, PRIVATE, &PKCS8_PREFIX)?))
    }

    /// Lower-case hex SHA-256 of the raw public key: 64 characters.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// The raw public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The raw public key as base64url without padding: 43 characters, the canonical form on the wire.
    pub fn public_key_base64url(&self) -> String {
        public_key_text(&self.public_key())
    }

    /// The public key as SPKI PEM.
    pub fn public_pem(&self) -> String {
        encode(PUBLIC, &SPKI_PREFIX, &self.public_key())
    }

    /// The private key as PKCS #8 PEM. A secret: write it only to the identity file.
    pub fn private_pem(&self) -> String {
        encode(PRIVATE, &PKCS8_PREFIX, self.key.as_bytes())
    }

    /// The signature over `payload` as base64url without padding.
    pub fn sign(&self, payload: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(payload.as_bytes()).to_bytes())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKey").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

impl fmt::Display for PemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Label => "no PEM text of the expected kind",
            Self::Base64 => "the PEM text is not base64",
            Self::NotEd25519 => "the PEM text holds no Ed25519 key",
        })
    }
}

impl core::error::Error for PemFault {}

/// The raw key in a SPKI PEM text.
///
/// # Errors
/// The text is something else.
pub fn public_key_from_pem(pem: &str) -> Result<[u8; 32], PemFault> {
    decode(pem, PUBLIC, &SPKI_PREFIX)
}

/// Both DER forms are shorter than a PEM line of 64 characters allows, so there is always exactly one line.
fn encode(label: &str, prefix: &[u8], key: &[u8; 32]) -> String {
    let body = STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn decode(pem: &str, label: &str, prefix: &[u8]) -> Result<[u8; 32], PemFault> {
    let body = pem
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))
        .and_then(|rest| rest.strip_suffix(&format!("-----END {label}-----")))
        .ok_or(PemFault::Label)?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| PemFault::Base64)?;
    let key = der.strip_prefix(prefix).ok_or(PemFault::NotEd25519)?;
    key.try_into().map_err(|_| PemFault::NotEd25519)
}

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";
/// RFC 8410 section 4: `SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING (33 bytes, 0 unused bits) }`.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// RFC 8410 section 7: `SEQUENCE { 0, SEQUENCE { id-Ed25519 }, OCTET STRING { OCTET STRING (32 bytes) } }`.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// RFC 8032 section 7.1, TEST 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC_HEX: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn unhex(text: &str) -> [u8; 32] {
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        out
    }

    #[test]
    fn a_published_vector_gives_its_public_key_and_signature() {
        let key = DeviceKey::from_seed(&unhex(SEED));
        assert_eq!(key.public_key(), unhex(PUBLIC_HEX));
        let signature = URL_SAFE_NO_PAD.decode(key.sign("")).unwrap();
        assert_eq!(signature.len(), 64);
        assert_eq!(signature[..8], [0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72]);
        assert_eq!(signature[56..], [0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b]);
    }

    #[test]
    fn pem_texts_come_back_as_the_same_key() {
        let key = DeviceKey::from_seed(&unhex(SEED));
        // As OpenSSL prints this key.
        let private = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
        let public = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        assert_eq!(
            key.private_pem(),
            format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n")
        );
        assert_eq!(
            key.public_pem(),
            format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n")
        );
        let again = DeviceKey::from_private_pem(&key.private_pem().replace('\n', "\r\n")).unwrap();
        assert_eq!(again.device_id(), key.device_id());
        assert_eq!(public_key_from_pem(&key.public_pem()).unwrap(), key.public_key());
    }

    #[test]
    fn other_pem_texts_are_refused() {
        let key = DeviceKey::from_seed(&unhex(SEED));
        let fault = |pem: &str| DeviceKey::from_private_pem(pem).unwrap_err();
        assert_eq!(fault(""), PemFault::Label);
        assert_eq!(fault(&key.public_pem()), PemFault::Label);
        assert_eq!(fault("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----"), PemFault::Base64);
        assert_eq!(
            fault("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            PemFault::NotEd25519
        );
        let long = encode(PRIVATE, &[&PKCS8_PREFIX[..], &[7]].concat(), &unhex(SEED));
        assert_eq!(fault(&long), PemFault::NotEd25519);
    }

    #[test]
    fn the_id_is_the_hash_and_debug_shows_nothing_else() {
        let key = DeviceKey::from_seed(&unhex(SEED));
        assert_eq!(key.device_id(), "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9");
        assert_eq!(format!("{key:?}"), format!("DeviceKey {{ device_id: \"{}\", .. }}", key.device_id()));
    }
}
