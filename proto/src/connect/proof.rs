//! The device proof: an Ed25519 signature over what `connect` claims and over this connection's nonce
//! (spec: pairing section 1, handshake section 7 step 8; RFC 8032).
//!
//! The peer states its key; the id is the key's hash, so a key cannot be chosen for somebody else's id. The
//! payload has no escaping, so text could be shifted from one field into the next; since the nonce is fresh and
//! this connection's own, only the holder of the key could do that, to itself. The check costs two curve
//! operations at most and is done by the connection, outside the gateway's lock.

use super::{ConnectParams, DeviceClaim, Proof, ProofFault};
use crate::time::Wall;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Judges the device claim of `params`. `nonce` is the one this connection was challenged with.
pub fn check(params: &ConnectParams, nonce: &str, now: Wall, skew_ms: u64) -> Proof {
    let Some(device) = &params.device else { return Proof::Absent };
    match examine(params, device, nonce, now, skew_ms) {
        Ok(public_key) => Proof::Good { public_key },
        Err(fault) => Proof::Bad(fault),
    }
}

/// The order is part of the protocol: the first failed check is the one that is reported.
fn examine(
    params: &ConnectParams,
    device: &DeviceClaim,
    nonce: &str,
    now: Wall,
    skew_ms: u64,
) -> Result<String, ProofFault> {
    let key = decode_key(&device.public_key);
    if key.is_empty() || device_id(&key) != device.id {
        return Err(ProofFault::DeviceIdMismatch);
    }
    if now.0.abs_diff(device.signed_at) > skew_ms {
        return Err(ProofFault::Expired);
    }
    let signed_nonce = trim(&device.nonce);
    if signed_nonce.is_empty() {
        return Err(ProofFault::NonceMissing);
    }
    if signed_nonce != nonce {
        return Err(ProofFault::NonceMismatch);
    }
    let signature =
        Signature::from_slice(&decode_base64(&device.signature)).map_err(|_| ProofFault::Signature)?;
    // Bytes that hash to the id and are no key fail here, as a signature that cannot fit.
    let raw: [u8; 32] = key.as_slice().try_into().map_err(|_| ProofFault::Signature)?;
    let verifier = VerifyingKey::from_bytes(&raw).map_err(|_| ProofFault::Signature)?;
    // Under a key of small order a signature can fit everything: it proves nothing.
    if verifier.is_weak() {
        return Err(ProofFault::PublicKey);
    }
    let payload = SignedPayload::of(params, device);
    let fits = |text: String| verifier.verify_strict(text.as_bytes(), &signature).is_ok();
    if !fits(payload.v3()) && !fits(payload.v2()) {
        return Err(ProofFault::Signature);
    }
    Ok(public_key_text(&raw))
}

/// What a device signs. Holds a token, so it cannot be printed.
#[derive(Clone, Copy)]
pub struct SignedPayload<'a> {
    /// Hex SHA-256 of the raw public key.
    pub device_id: &'a str,
    /// `client.id`, as sent.
    pub client_id: &'a str,
    /// `client.mode`, as sent.
    pub client_mode: &'a str,
    /// The role asked for; `operator` when none is sent.
    pub role: &'a str,
    /// Scopes as sent, in that order.
    pub scopes: &'a [String],
    /// Unix milliseconds.
    pub signed_at: u64,
    /// The first token sent, see [`super::Credentials::signed_token`]; empty when none is.
    pub token: &'a str,
    /// The challenge's nonce; white space around it is not signed.
    pub nonce: &'a str,
    /// `client.platform`, as sent.
    pub platform: &'a str,
    /// `client.deviceFamily`, as sent; empty when absent.
    pub device_family: &'a str,
}

impl<'a> SignedPayload<'a> {
    /// The payload that `params` with this device claim stands for.
    pub fn of(params: &'a ConnectParams, device: &'a DeviceClaim) -> Self {
        Self {
            device_id: &device.id,
            client_id: &params.client.id,
            client_mode: &params.client.mode,
            role: params.role.as_deref().unwrap_or("operator"),
            scopes: &params.scopes,
            signed_at: device.signed_at,
            token: params.auth.signed_token(),
            nonce: &device.nonce,
            platform: &params.client.platform,
            device_family: params.client.device_family.as_deref().unwrap_or_default(),
        }
    }

    /// Version 3: eleven fields. Platform and device family are trimmed and lower-cased, ASCII letters only.
    pub fn v3(&self) -> String {
        let platform = trim(self.platform).to_ascii_lowercase();
        let device_family = trim(self.device_family).to_ascii_lowercase();
        format!("{}|{platform}|{device_family}", self.joined("v3"))
    }

    /// Version 2: nine fields, without platform and device family.
    pub fn v2(&self) -> String {
        self.joined("v2")
    }

    fn joined(&self, version: &str) -> String {
        let Self { device_id, client_id, client_mode, role, scopes, signed_at, token, nonce, .. } = self;
        let (scopes, nonce) = (scopes.join(","), trim(nonce));
        format!("{version}|{device_id}|{client_id}|{client_mode}|{role}|{scopes}|{signed_at}|{token}|{nonce}")
    }
}

/// The id of a device: lower-case hex SHA-256 of its raw public key.
pub fn device_id(raw_key: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = Sha256::digest(raw_key);
    hash.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// The canonical text of a public key: base64url without padding.
pub fn public_key_text(raw_key: &[u8; 32]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(raw_key)
}

/// Raw key bytes from any of the accepted forms; empty when there is nothing to decode.
fn decode_key(text: &str) -> Vec<u8> {
    /// The fixed head of an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4).
    const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

    let Some((_, rest)) = text.split_once("-----BEGIN PUBLIC KEY-----") else { return decode_base64(text) };
    let Some((body, _)) = rest.split_once("-----END PUBLIC KEY-----") else { return Vec::new() };
    let der = decode_base64(body);
    match der.strip_prefix(&SPKI_HEAD) {
        Some(raw) => raw.to_vec(),
        None => der,
    }
}

/// Base64 of either alphabet, as leniently as peers' own decoders read it: other characters are skipped, padding
/// ends the text, loose bits at the end are dropped. No decision rests on the text; the bytes are hashed or
/// verified.
fn decode_base64(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut have) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(digit);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
            bits &= (1 << have) - 1;
        }
    }
    out
}

/// Trims what ECMAScript's `trim` does: Unicode white space and the byte order mark, but not U+0085.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use base64::prelude::BASE64_STANDARD;
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    const SKEW_MS: u64 = 120_000;
    const NONCE: &str = "0cffdfbb-dac0-473c-ac0e-455602a334b1";
    const NOW: u64 = 1_795_336_353_600;

    /// Params in a shape of the test's choosing, signed with a key of its own.
    fn params(change: impl FnOnce(&mut Value), payload: fn(&SignedPayload<'_>) -> String) -> ConnectParams {
        let key = SigningKey::from_bytes(&[7; 32]);
        let raw = key.verifying_key().to_bytes();
        let mut value = json!({
            "minProtocol": 3, "maxProtocol": 4,
            "client": {"id": "test", "version": "1", "platform": " LinuX\u{feff} ", "mode": "test", "deviceFamily": "ÉCRAN"},
            "scopes": ["operator.write", "operator.read"],
            "auth": {"token": "secret"},
            "device": {
                "id": device_id(&raw), "publicKey": public_key_text(&raw), "signature": "x",
                "signedAt": NOW, "nonce": NONCE,
            },
        });
        change(&mut value);
        let mut params = parsed(&value);
        let device = params.device.clone().unwrap();
        let signature = key.sign(payload(&SignedPayload::of(&params, &device)).as_bytes());
        params.device.as_mut().unwrap().signature = BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes());
        params
    }

    fn v3(payload: &SignedPayload<'_>) -> String {
        payload.v3()
    }

    fn v2(payload: &SignedPayload<'_>) -> String {
        payload.v2()
    }

    fn parsed(value: &Value) -> ConnectParams {
        ConnectParams::parse(Some(&to_raw_value(value).unwrap())).unwrap()
    }

    fn judge(params: &ConnectParams) -> Proof {
        check(params, NONCE, Wall(NOW), SKEW_MS)
    }

    fn device(params: &mut ConnectParams) -> &mut DeviceClaim {
        params.device.as_mut().unwrap()
    }

    /// Signatures made by the reference's own clients, with throw-away keys.
    #[test]
    fn signatures_of_the_reference_clients_are_good() {
        let scripted = json!({
            "minProtocol": 3, "maxProtocol": 3,
            "client": {"id": "test", "version": "1.0.0", "platform": "linux", "mode": "test"},
            "caps": [], "role": "operator",
            "scopes": ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"],
            "auth": {"token": "testtoken"},
            "device": {
                "id": "e7c3a63d8f5748457ffe495546b6fd1990e6684f94deb8538ae4a4388bf0e91c",
                "publicKey": "Mrs56m82WTEZrZFMvshPrPt08UMI6ged2tNQnUJ13f4",
                "signature": "yENHk1WU6YZAToXL_0ZDeJECNCJeWcyoy0ERyOxRwamAVroZjquifdgqdaG35nayxLJAb9nYMVXuTfrezVycAg",
                "signedAt": 1_795_335_852_752_u64, "nonce": "c28f97f4-2059-4c9f-8e77-1b385cca2dd3",
            },
        });
        let node_host = json!({
            "minProtocol": 4, "maxProtocol": 4,
            "client": {"id": "node-host", "version": "2026.9.6", "platform": "linux", "deviceFamily": "Linux", "mode": "node"},
            "auth": {"token": "testtoken"}, "role": "node", "scopes": [],
            "device": {
                "id": "469126882dd8a1f635491331188734d6359863f8937ddd6f06c4264db5254e10",
                "publicKey": "Q41UlLz0zFxNL4WAc6S1ToGGHNwFiiXRSw1vCp2ylk0",
                "signature": "Dd33m3s4EwZ-ram1NevuHCPt4IAL6bCnhedobi30_qE6ljFKKddG_wcA8YK-ii3t5T-cMoiO9nk2R0_xczwKDQ",
                "signedAt": 1_795_336_173_963_u64, "nonce": "023d4d80-597d-4d21-b45f-e6a1b54715ed",
            },
        });
        let page = json!({
            "minProtocol": 3, "maxProtocol": 3,
            "client": {"id": "openclaw-control-ui", "version": "2026.3.13", "platform": "Linux x86_64", "mode": "webchat"},
            "role": "operator", "scopes": ["operator.admin", "operator.approvals", "operator.pairing"],
            "auth": {"token": "testtoken"},
            "device": {
                "id": "7b66a1a518c873709315771705cede96188a2fa40182a98d6940881fdb579e4a",
                "publicKey": "3uGiIxZK_yhSkEhtbod72JmhkUxGX4L2BKs0Tkzjqb0",
                "signature": "EYXUwSHaYKeRDRnaWXXJ10k2BAvkvRmTssaLr78hFOBA57BJw6SnszxaGt-N0G1-3dWToT3vMZK5tGyhX7vmCw",
                "signedAt": 1_795_335_646_645_u64, "nonce": "8d119e9f-9eaf-4e3f-9b89-865af1216fa7",
            },
        });
        let stored_token = json!({
            "minProtocol": 4, "maxProtocol": 4,
            "client": {"id": "test", "version": "1.0.0", "platform": "linux", "mode": "test"},
            "role": "operator",
            "scopes": ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"],
            "auth": {"deviceToken": "ippBEYjeFMcFcfb9qKS5fpCJ-kvCUY6t2eS08r6fEvk"},
            "device": {
                "id": "4ca1e450079dde947ba7ffe6a9a7cc4c445664c0b66e892535119b1938f727f5",
                "publicKey": "dCGqkQpqxDW4zH5nqkx5F-2zdufn5une-FgKNigU_oI",
                "signature": "cQv7hzCfuJNCpNwaS9nVFKfrsK9MIUaMqN084qILTFBqa0GOhAxiVqgjxS24JTKqUwifmyDUNnWKdJkGVo5gAQ",
                "signedAt": 1_795_336_402_952_u64, "nonce": "458f54f0-d7a0-47f0-a166-e302accc2b6b",
            },
        });
        for value in [scripted, node_host, page, stored_token] {
            let params = parsed(&value);
            let claim = params.device.as_ref().unwrap();
            let proof = check(&params, &claim.nonce, Wall(claim.signed_at + 5), SKEW_MS);
            assert_eq!(proof, Proof::Good { public_key: claim.public_key.clone() }, "{}", params.client.id);

            let mut forged = params.clone();
            forged.scopes.push("operator.talk".to_owned());
            let proof = check(&forged, &claim.nonce, Wall(claim.signed_at), SKEW_MS);
            assert_eq!(proof, Proof::Bad(ProofFault::Signature));
        }
    }

    #[test]
    fn without_a_device_there_is_nothing_to_judge() {
        let mut params = params(|_| {}, v3);
        params.device = None;
        assert_eq!(judge(&params), Proof::Absent);
    }

    #[test]
    fn both_payload_versions_are_good() {
        for signed in [params(|_| {}, v3), params(|_| {}, v2)] {
            assert!(matches!(judge(&signed), Proof::Good { .. }));
        }
        assert_eq!(
            judge(&params(|_| {}, |p| p.v3().replacen("v3", "v1", 1))),
            Proof::Bad(ProofFault::Signature)
        );
    }

    #[test]
    fn the_payload_is_what_the_peer_sent() {
        let signed = params(|_| {}, v3);
        let payload = SignedPayload::of(&signed, signed.device.as_ref().unwrap());
        let id = payload.device_id;
        assert_eq!(
            payload.v3(),
            format!(
                "v3|{id}|test|test|operator|operator.write,operator.read|{NOW}|secret|{NONCE}|linux|Écran"
            )
        );
        assert_eq!(
            payload.v2(),
            format!("v2|{id}|test|test|operator|operator.write,operator.read|{NOW}|secret|{NONCE}")
        );
    }

    #[test]
    fn the_first_present_token_is_signed_even_when_empty() {
        let cases = [
            (json!({"token": "", "deviceToken": "d"}), ""),
            (json!({"deviceToken": " d ", "bootstrapToken": "b"}), " d "),
            (json!({"bootstrapToken": "b", "password": "p"}), "b"),
            (json!({"password": "p"}), ""),
        ];
        for (auth, token) in cases {
            let params = params(|value| value["auth"] = auth, v3);
            assert_eq!(params.auth.signed_token(), token);
            assert!(matches!(judge(&params), Proof::Good { .. }));
        }
    }

    #[test]
    fn every_form_of_a_key_gives_the_canonical_text() {
        let signed = params(|_| {}, v3);
        let canonical = signed.device.as_ref().unwrap().public_key.clone();
        let raw = decode_base64(&canonical);
        let standard = BASE64_STANDARD.encode(&raw);
        let spki = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0][..], &raw].concat();
        let body = BASE64_STANDARD.encode(spki);
        let forms = [
            standard.clone(),
            standard.trim_end_matches('=').to_owned(),
            format!("{canonical}=="),
            format!(" {}\n{} ", &canonical[..20], &canonical[20..]),
            format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"),
            format!(
                "-----BEGIN PUBLIC KEY-----\r\n{}\r\n{}\r\n-----END PUBLIC KEY-----",
                &body[..30],
                &body[30..]
            ),
        ];
        for form in forms {
            let mut params = signed.clone();
            device(&mut params).public_key = form;
            let signature = decode_base64(&device(&mut params).signature);
            device(&mut params).signature = BASE64_STANDARD.encode(signature);
            assert_eq!(judge(&params), Proof::Good { public_key: canonical.clone() });
        }
    }

    #[test]
    fn faults_are_reported_in_order() {
        let mut params = params(|_| {}, v3);
        let good = params.device.clone().unwrap();
        let bad = |fault| Proof::Bad(fault);

        // Everything is wrong; each repair shows the next fault.
        *device(&mut params) = DeviceClaim {
            id: good.id.to_ascii_uppercase(),
            public_key: good.public_key.clone(),
            signature: "AAAA".to_owned(),
            signed_at: NOW - SKEW_MS - 1,
            nonce: " \u{feff}".to_owned(),
        };
        assert_eq!(judge(&params), bad(ProofFault::DeviceIdMismatch));
        device(&mut params).id = good.id.clone();
        assert_eq!(judge(&params), bad(ProofFault::Expired));
        device(&mut params).signed_at = NOW + SKEW_MS + 1;
        assert_eq!(judge(&params), bad(ProofFault::Expired));
        device(&mut params).signed_at = NOW;
        assert_eq!(judge(&params), bad(ProofFault::NonceMissing));
        device(&mut params).nonce = "another".to_owned();
        assert_eq!(judge(&params), bad(ProofFault::NonceMismatch));
        device(&mut params).nonce = format!(" {NONCE}\n");
        assert_eq!(judge(&params), bad(ProofFault::Signature));
        device(&mut params).signature = BASE64_URL_SAFE_NO_PAD.encode([0; 64]);
        assert_eq!(judge(&params), bad(ProofFault::Signature));
        device(&mut params).signature = good.signature;
        assert_eq!(judge(&params), Proof::Good { public_key: good.public_key });
    }

    #[test]
    fn the_edge_of_the_skew_is_inside() {
        let params = params(|_| {}, v3);
        for now in [NOW - SKEW_MS, NOW + SKEW_MS] {
            assert!(matches!(check(&params, NONCE, Wall(now), SKEW_MS), Proof::Good { .. }));
        }
        for now in [NOW - SKEW_MS - 1, NOW + SKEW_MS + 1, 0, u64::MAX] {
            assert_eq!(check(&params, NONCE, Wall(now), SKEW_MS), Proof::Bad(ProofFault::Expired));
        }
    }

    #[test]
    fn keys_that_are_none_fail_where_the_reference_fails_them() {
        let mut params = params(|_| {}, v3);
        let judge_key = |params: &mut ConnectParams, raw: &[u8]| {
            device(params).public_key = BASE64_STANDARD.encode(raw);
            device(params).id = device_id(raw);
            judge(params)
        };
        assert_eq!(judge_key(&mut params, &[]), Proof::Bad(ProofFault::DeviceIdMismatch));
        assert_eq!(judge_key(&mut params, &[5; 31]), Proof::Bad(ProofFault::Signature));
        assert_eq!(judge_key(&mut params, &[5; 33]), Proof::Bad(ProofFault::Signature));
        // The y coordinate 2 is on no point of the curve.
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert_eq!(judge_key(&mut params, &no_point), Proof::Bad(ProofFault::Signature));
        // The neutral element: the all-zero signature would fit any message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        device(&mut params).signature = BASE64_STANDARD.encode(signature);
        assert_eq!(judge_key(&mut params, &neutral), Proof::Bad(ProofFault::PublicKey));

        device(&mut params).public_key = "-----BEGIN PUBLIC KEY-----\nAAAA".to_owned();
        assert_eq!(judge(&params), Proof::Bad(ProofFault::DeviceIdMismatch));
    }

    #[test]
    fn base64_is_read_as_leniently_as_peers_do() {
        assert_eq!(decode_base64("-_+/"), decode_base64("+/-_"));
        assert_eq!(decode_base64("aGk"), b"hi");
        assert_eq!(decode_base64("aGk="), b"hi");
        assert_eq!(decode_base64(" a G\nk=trailing"), b"hi");
        assert_eq!(decode_base64("aGl"), b"hi");
        assert_eq!(decode_base64("aGkhI"), b"hi!");
        assert_eq!(decode_base64("????"), b"");
    }
}
