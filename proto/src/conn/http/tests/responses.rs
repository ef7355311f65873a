//! What goes out.

use super::*;
use crate::http::HttpResponse;
use crate::time::{Now, Wall};

const KEEP: ReplyTo = ReplyTo { head_only: false, keep_alive: true, http11: true };

fn written(response: &HttpResponse, to: ReplyTo) -> (String, bool) {
    let mut wire = Vec::new();
    let now = Now { wall: Wall(784_111_777_123), ..Now::default() };
    let closes = write_response(response, to, now, &mut wire);
    (String::from_utf8(wire).unwrap(), closes)
}

#[test]
fn a_response_carries_length_connection_date_and_the_headers_of_every_response() {
    let response = HttpResponse::text(404, "Not Found").with("Cache-Control", "no-store");
    let (wire, closes) = written(&response, KEEP);
    assert!(!closes);
    assert_eq!(
        wire,
        "HTTP/1.1 404 Not Found\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Length: 9\r\n\
         Connection: keep-alive\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\n\
         Permissions-Policy: camera=(), microphone=(), geolocation=()\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Cache-Control: no-store\r\n\
         \r\n\
         Not Found"
    );
}

#[test]
fn head_has_the_length_and_not_the_body() {
    let response = HttpResponse::json(200, "{\"ok\":true}");
    let (wire, _) = written(&response, ReplyTo { head_only: true, ..KEEP });
    assert!(wire.contains("\r\nContent-Length: 11\r\n") && wire.ends_with("\r\n\r\n"), "{wire}");
}

#[test]
fn statuses_without_a_body_have_neither() {
    for status in [204, 304] {
        let (wire, _) = written(&HttpResponse::text(status, "no"), KEEP);
        assert!(!wire.contains("Content-Length") && wire.ends_with("\r\n\r\n"), "{wire}");
    }
}

#[test]
fn either_side_may_end_the_connection() {
    let response = HttpResponse::text(200, "x");
    let (wire, closes) = written(&response, ReplyTo { keep_alive: false, ..KEEP });
    assert!(closes && wire.contains("\r\nConnection: close\r\n"));
    let (wire, closes) = written(&response.closing(), KEEP);
    assert!(closes && wire.contains("\r\nConnection: close\r\n"));
}

#[test]
fn values_cannot_start_a_line_and_framing_belongs_to_the_writer() {
    let response = HttpResponse::text(302, "")
        .with("Location", "/\r\nSet-Cookie: a=b\0\n\nx".to_owned())
        .with("content-length", "99")
        .with("Transfer-Encoding", "chunked")
        .with("CONNECTION", "close")
        .with("Referrer-Policy", "same-origin");
    let (wire, closes) = written(&response, KEEP);
    assert!(!closes);
    assert!(wire.contains("\r\nLocation: /  Set-Cookie: a=b   x\r\n"), "{wire}");
    assert!(!wire.contains("chunked") && !wire.contains(": 99") && !wire.contains("no-referrer"), "{wire}");
    assert_eq!(wire.matches("\r\n\r\n").count(), 1);
}

#[test]
fn dates_follow_the_calendar() {
    for (wall, date) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_709_251_199_999, "Thu, 29 Feb 2024 23:59:59 GMT"),
        (1_709_251_200_000, "Fri, 01 Mar 2024 00:00:00 GMT"),
        (1_798_761_599_000, "Thu, 31 Dec 2026 23:59:59 GMT"),
        (4_107_542_400_000, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        let mut wire = Vec::new();
        let now = Now { wall: Wall(wall), ..Now::default() };
        let _ = write_response(&HttpResponse::text(200, ""), KEEP, now, &mut wire);
        let wire = String::from_utf8(wire).unwrap();
        assert!(wire.contains(&format!("\r\nDate: {date}\r\n")), "{wall}: {wire}");
    }
}

#[test]
fn every_fault_closes_and_says_why() {
    use HttpFault::*;
    for (fault, status, header) in [
        (RequestLine, 400, ""),
        (Method, 405, "\r\nAllow: GET, HEAD, POST\r\n"),
        (HeadTimeout, 408, ""),
        (BodyTimeout, 408, ""),
        (BodyTooLarge, 413, ""),
        (TargetTooLong, 414, ""),
        (Expectation, 417, ""),
        (UpgradeRequired, 426, "\r\nUpgrade: websocket\r\n"),
        (HeadTooLarge, 431, ""),
        (UnknownCoding, 501, ""),
        (Version, 505, ""),
        (UpgradeMethod, 405, "\r\nAllow: GET\r\n"),
        (UpgradeVersion, 400, "\r\nSec-WebSocket-Version: 13, 8\r\n"),
        (UpgradeKey, 400, "\r\nContent-Type: text/html\r\n"),
    ] {
        let response = fault.response();
        assert_eq!((fault.status(), response.status), (status, status));
        let (wire, closes) = written(&response, ReplyTo::FAULT);
        assert!(closes && !response.body.is_empty());
        let connection = if fault == UpgradeRequired { "upgrade, close" } else { "close" };
        assert!(wire.contains(&format!("\r\nConnection: {connection}\r\n")), "{wire}");
        assert!(wire.contains(header), "{wire}");
    }
}

#[test]
fn the_interim_answer_is_bare() {
    let mut wire = Vec::new();
    write_continue(&mut wire);
    assert_eq!(wire, b"HTTP/1.1 100 Continue\r\n\r\n");
}
