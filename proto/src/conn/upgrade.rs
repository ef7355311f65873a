//! The WebSocket opening handshake, server side (RFC 6455 section 4.2).
//!
//! Any path may be upgraded; who may stay is decided later, in band. No extension is ever accepted. The first
//! subprotocol offered is echoed, because browsers give up without one.

use super::http::{HttpFault, ReplyTo, has_token, is_token_byte};
use crate::http::HttpRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// A handshake that was asked for correctly and is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    accept: String,
    subprotocol: Option<String>,
}

impl Upgrade {
    /// Looks whether a request asks to become a WebSocket. `None` when it does not and is answered as HTTP.
    ///
    /// # Errors
    /// It asks, but not correctly; the checks stand in the order in which the reference makes them.
    pub(crate) fn check(request: &HttpRequest, to: ReplyTo) -> Result<Option<Self>, HttpFault> {
        // RFC 9110 7.8: an Upgrade in HTTP/1.0 is ignored, and one that Connection does not name is not meant for us.
        let named = request.headers("connection").any(|list| has_token(list, "upgrade"));
        if !to.http11 || !named || request.header("upgrade").is_none() {
            return Ok(None);
        }
        if request.method != "GET" {
            return Err(HttpFault::UpgradeMethod);
        }
        if !request.headers("upgrade").any(|list| has_token(list, "websocket")) {
            return Err(HttpFault::UpgradeProtocol);
        }
        if !request.body.is_empty() || request.header("transfer-encoding").is_some() {
            return Err(HttpFault::UpgradeBody);
        }
        let key =
            single(request, "sec-websocket-key").filter(|key| is_key(key)).ok_or(HttpFault::UpgradeKey)?;
        // Version 8 differs from 13 only in what a browser calls its Origin.
        match single(request, "sec-websocket-version") {
            Some("13" | "8") => {}
            Some(_) | None => return Err(HttpFault::UpgradeVersion),
        }
        Ok(Some(Self { accept: accept_key(key), subprotocol: first_subprotocol(request)? }))
    }

    /// Appends the 101. Frames follow directly behind it.
    pub(crate) fn write(&self, wire: &mut Vec<u8>) {
        wire.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        wire.extend_from_slice(self.accept.as_bytes());
        if let Some(name) = &self.subprotocol {
            wire.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            wire.extend_from_slice(name.as_bytes());
        }
        wire.extend_from_slice(b"\r\n\r\n");
    }
}

/// RFC 6455 4.2.2: proves to the client that we understood it.
pub(crate) fn accept_key(key: &str) -> String {
    const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

/// The only field of that name.
fn single<'a>(request: &'a HttpRequest, name: &'a str) -> Option<&'a str> {
    let mut values = request.headers(name);
    values.next().filter(|_| values.next().is_none())
}

/// Sixteen bytes in base64. The spare bits of the last digit may be set: the example in RFC 6455 sets them.
fn is_key(key: &str) -> bool {
    let Some(digits) = key.strip_suffix("==") else { return false };
    digits.len() == 22
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn first_subprotocol(request: &HttpRequest) -> Result<Option<String>, HttpFault> {
    let mut first = None;
    for list in request.headers("sec-websocket-protocol") {
        for name in list.split(',') {
            let name = name.trim_matches([' ', '\t']);
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                return Err(HttpFault::UpgradeSubprotocol);
            }
            first.get_or_insert(name);
        }
    }
    Ok(first.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::conn::http::{HttpNext, HttpReader};
    use crate::limits::Limits;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    const ASKS: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";

    fn check(line: &str, fields: &[&str]) -> Result<Option<Upgrade>, HttpFault> {
        let mut reader = HttpReader::new(&Limits::default());
        let head = format!("{line}\r\nHost: a\r\n{}\r\n", fields.concat());
        assert_eq!(reader.receive(head.as_bytes()), head.len());
        let HttpNext::Request { request, reply } = reader.next().unwrap() else {
            panic!("no request: {head}")
        };
        Upgrade::check(&request, reply)
    }

    fn get(fields: &[&str]) -> Result<Option<Upgrade>, HttpFault> {
        check("GET /any?x=1 HTTP/1.1", fields)
    }

    fn written(upgrade: &Upgrade) -> String {
        let mut wire = Vec::new();
        upgrade.write(&mut wire);
        String::from_utf8(wire).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc() {
        let upgrade =
            get(&[ASKS, KEY, VERSION, "Sec-WebSocket-Extensions: permessage-deflate\r\n"]).unwrap().unwrap();
        assert_eq!(
            written(&upgrade),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn the_first_subprotocol_is_echoed() {
        let two = ["Sec-WebSocket-Protocol: chat.v2 ,superchat\r\n", "Sec-WebSocket-Protocol: x\r\n"];
        let upgrade = get(&[ASKS, KEY, VERSION, two[0], two[1]]).unwrap().unwrap();
        assert!(written(&upgrade).ends_with("\r\nSec-WebSocket-Protocol: chat.v2\r\n\r\n"));
        for bad in ["", "a,,b", "a b", "a/b"] {
            let offer = format!("Sec-WebSocket-Protocol: {bad}\r\n");
            assert_eq!(get(&[ASKS, KEY, VERSION, &offer]), Err(HttpFault::UpgradeSubprotocol), "{bad}");
        }
    }

    #[test]
    fn what_does_not_ask_is_plain_http() {
        for fields in
            [&[][..], &["Upgrade: websocket\r\n", KEY, VERSION], &["Connection: upgrade\r\n", KEY, VERSION]]
        {
            assert_eq!(get(fields), Ok(None), "{fields:?}");
        }
        assert_eq!(check("GET / HTTP/1.0", &[ASKS, KEY, VERSION]), Ok(None));
    }

    #[test]
    fn faults_are_found_in_the_order_of_the_reference() {
        let body = "Transfer-Encoding: chunked\r\n\r\n0\r\n";
        for (line, fields, fault) in [
            ("HEAD / HTTP/1.1", &[ASKS][..], HttpFault::UpgradeMethod),
            ("OPTIONS / HTTP/1.1", &["Connection: upgrade\r\nUpgrade: h2c\r\n"], HttpFault::UpgradeMethod),
            ("GET / HTTP/1.1", &["Connection: upgrade\r\nUpgrade: h2c\r\n"], HttpFault::UpgradeProtocol),
            (
                "GET / HTTP/1.1",
                &["Connection: upgrade\r\nUpgrade: websockets\r\n"],
                HttpFault::UpgradeProtocol,
            ),
            ("GET / HTTP/1.1", &[ASKS, KEY, VERSION, body], HttpFault::UpgradeBody),
            ("GET / HTTP/1.1", &[ASKS], HttpFault::UpgradeKey),
            ("GET / HTTP/1.1", &[ASKS, KEY, KEY, VERSION], HttpFault::UpgradeKey),
            ("GET / HTTP/1.1", &[ASKS, KEY], HttpFault::UpgradeVersion),
            ("GET / HTTP/1.1", &[ASKS, KEY, "Sec-WebSocket-Version: 12\r\n"], HttpFault::UpgradeVersion),
            ("GET / HTTP/1.1", &[ASKS, KEY, "Sec-WebSocket-Version: 013\r\n"], HttpFault::UpgradeVersion),
            ("GET / HTTP/1.1", &[ASKS, KEY, VERSION, VERSION], HttpFault::UpgradeVersion),
        ] {
            assert_eq!(check(line, fields), Err(fault), "{line} {fields:?}");
        }
        assert!(get(&[ASKS, KEY, "Sec-WebSocket-Version: 8\r\n"]).unwrap().is_some());
        assert!(
            get(&["Connection: upgrade\r\nUpgrade: h2c, websocket\r\n", KEY, VERSION]).unwrap().is_some()
        );
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        for good in ["dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC==", "++++////++++////++++//=="] {
            assert!(is_key(good), "{good}");
        }
        for bad in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQA=",
            "dGhlIHNhbXBsZSBub25jZ-==",
            "a==",
        ] {
            assert!(!is_key(bad), "{bad}");
        }
    }
}
