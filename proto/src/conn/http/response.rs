//! Response heads, with everything every response carries.

use super::ReplyTo;
use crate::http::{HttpResponse, imf_fixdate};
use crate::time::Now;

/// What follows a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseEnd {
    /// The body must be sent.
    pub(crate) has_body: bool,
    /// The connection ends behind this response.
    pub(crate) closes: bool,
}

/// Appends a complete response. Whether the connection ends behind it.
#[cfg(test)]
#[must_use]
pub(crate) fn write_response(response: &HttpResponse, to: ReplyTo, now: Now, wire: &mut Vec<u8>) -> bool {
    let end = write_head(response, to, now, wire);
    if end.has_body {
        wire.extend_from_slice(&response.body);
    }
    end.closes
}

/// Appends the head of a response: status, date, length, connection, the headers of every response and its own.
/// Its own win over the default ones; those that frame the message are decided here alone.
pub(crate) fn write_head(response: &HttpResponse, to: ReplyTo, now: Now, wire: &mut Vec<u8>) -> ResponseEnd {
    let status = response.status;
    let closes = response.close || !to.keep_alive;
    // RFC 9110 6.4.1: these never have a body, and (8.6) the first two not even a length.
    let never_body = (100..200).contains(&status) || matches!(status, 204 | 304);

    wire.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    write_field("Date", &imf_fixdate(now.wall), wire);
    if !never_body {
        let length = response.body.len() as u64 + response.rest;
        write_field("Content-Length", &length.to_string(), wire);
    }
    let has = |name: &str| response.headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name));
    let connection = match (has("Upgrade"), closes) {
        (false, false) => "keep-alive",
        (false, true) => "close",
        // RFC 9110 7.8: Upgrade is named in Connection.
        (true, false) => "upgrade",
        (true, true) => "upgrade, close",
    };
    write_field("Connection", connection, wire);
    for (name, value) in DEFAULTS {
        if !has(name) {
            write_field(name, value, wire);
        }
    }
    for (name, value) in &response.headers {
        if !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            write_field(name, value, wire);
        }
    }
    wire.extend_from_slice(b"\r\n");
    ResponseEnd { has_body: !never_body && !to.head_only, closes }
}

/// Appends the interim answer that makes a peer send its body (RFC 9110 section 15.2.1).
pub(crate) fn write_continue(wire: &mut Vec<u8>) {
    wire.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// One field. Values may hold what a peer sent, so a control character becomes a space: no value ends its line.
fn write_field(name: &str, value: &str, wire: &mut Vec<u8>) {
    wire.extend_from_slice(name.as_bytes());
    wire.extend_from_slice(b": ");
    wire.extend(value.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
    wire.extend_from_slice(b"\r\n");
}

/// On every response, as the reference sends them.
const DEFAULTS: [(&str, &str); 3] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
];

/// Fields that nobody else may set: they frame the message.
const OURS: [&str; 5] = ["Date", "Content-Length", "Connection", "Transfer-Encoding", "Keep-Alive"];

/// RFC 9110 section 15. An unknown code has no phrase; the space before it stays.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
