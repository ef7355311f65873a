//! The targets `http_head` and `http_body`: any bytes where a request is read, and any bytes where its body is. What
//! is accepted is held to a second, simpler reading of the same bytes.

use super::socket::{Socket, small_limits};
use super::source::Source;
use clawgate_proto::http::HttpRequest;
use clawgate_proto::limits::Limits;

/// The target `http_head`: the bytes of a whole connection.
pub fn http_head(data: &[u8]) {
    let mut source = Source(data);
    let limits = if source.flip() { small_limits() } else { Limits::default() };
    let mut socket = Socket::new(limits.clone(), usize::MAX);
    let _ = socket.offer(source.0);
    for request in &socket.requests {
        check_request(request, &limits);
    }
    if let Some(first) = socket.requests.first() {
        check_against_lines(first, source.0);
    }
    socket.end();
    assert!(
        socket.wire.is_empty() || socket.wire.starts_with(b"HTTP/1.1 "),
        "the first word is a status line"
    );
}

/// What every accepted request looks like.
fn check_request(request: &HttpRequest, limits: &Limits) {
    assert!(!request.method.is_empty() && request.method.bytes().all(is_token_byte), "{:?}", request.method);
    assert!(request.path.starts_with('/') || request.path == "*", "{:?}", request.path);
    let query = request.query.as_deref().unwrap_or_default();
    assert!(request.path.len() + query.len() <= limits.target_bytes_max);
    assert!(!request.path.contains(['?', '#', ' ']) && !query.contains(['#', ' ']));
    assert!(request.headers.len() <= limits.header_count_max);
    for (name, value) in &request.headers {
        assert!(
            !name.is_empty() && name.bytes().all(|b| is_token_byte(b) && !b.is_ascii_uppercase()),
            "{name:?}"
        );
        assert!(!value.chars().any(|c| c.is_ascii_control() && c != '\t'), "{value:?}");
        assert_eq!(value.trim_matches([' ', '\t']), value);
    }
    for alone in ["host", "content-length", "transfer-encoding"] {
        assert!(request.headers(alone).count() <= 1, "{alone} twice");
    }
    let chunked = request.header("transfer-encoding").is_some();
    let length = request.header("content-length");
    assert!(!(chunked && length.is_some()), "two ways to end a body");
    assert!(request.body.len() <= limits.body_bytes_max);
    match length {
        Some(length) => assert_eq!(length.parse::<usize>().ok(), Some(request.body.len())),
        None => assert!(chunked || request.body.is_empty(), "a body out of nowhere"),
    }
}

/// The first request again, read line by line: it must be the same one.
fn check_against_lines(request: &HttpRequest, stream: &[u8]) {
    // Empty lines in front of a request line are allowed (RFC 9112 section 2.2).
    let mut rest = stream;
    while let Some(behind) = rest.strip_prefix(b"\r\n") {
        rest = behind;
    }
    let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("an accepted head ends");
    let head = core::str::from_utf8(&rest[..end]).expect("an accepted head is text");
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let target = match &request.query {
        Some(query) => format!("{}?{query}", request.path),
        None => request.path.clone(),
    };
    let is_same = [" HTTP/1.1", " HTTP/1.0"].iter().any(|version| {
        line.strip_suffix(version).and_then(|line| line.split_once(' ')).is_some_and(|(method, said)| {
            // The absolute form names the host as well (RFC 9112 section 3.2.2).
            method == request.method && (said == target || said.ends_with(&target) || said.contains("://"))
        })
    });
    assert!(is_same, "{line:?} is not {} {target}", request.method);
    let fields: Vec<(String, &str)> = lines
        .map(|line| line.split_once(':').expect("an accepted field has a colon"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
        .collect();
    let same = request.headers.iter().map(|(name, value)| (name.clone(), value.as_str()));
    assert!(fields.into_iter().eq(same), "the fields differ: {head:?}");
}

/// The target `http_body`: the first byte chooses how the body is delimited, the rest is the body and what follows.
pub fn http_body(data: &[u8]) {
    let mut source = Source(data);
    let limits = small_limits();
    let kind = source.below(4);
    let length = usize::from(source.word() % 300);
    let delimiter = match kind {
        0 => format!("Content-Length: {length}\r\n"),
        1 => "Transfer-Encoding: chunked\r\n".to_owned(),
        2 => format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"),
        _ => "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n".to_owned(),
    };
    let mut stream = format!("POST /x HTTP/1.1\r\nHost: a\r\n{delimiter}\r\n").into_bytes();
    stream.extend_from_slice(source.0);
    let mut socket = Socket::new(limits.clone(), usize::MAX);
    let _ = socket.offer(&stream);
    let expected = if kind % 2 == 0 {
        (length <= limits.body_bytes_max && source.0.len() >= length).then(|| source.0[..length].to_vec())
    } else {
        dechunked(source.0)
    };
    if let Some(request) = socket.requests.first() {
        assert_eq!(Some(&request.body[..]), expected.as_deref(), "the body is another");
    } else if kind % 2 == 0 {
        assert_eq!(expected, None, "a complete body was not given");
    }
    socket.end();
    let continues = socket.wire.starts_with(b"HTTP/1.1 100 ");
    assert!(!continues || kind >= 2, "100 without being asked");
}

/// A chunked body (RFC 9112 section 7.1), as strict as it is simple; `None` when it is malformed or not complete.
fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (line, behind) = line(rest)?;
        let size = line.split(|byte| *byte == b';').next()?;
        let size = core::str::from_utf8(size).ok()?.trim_end_matches([' ', '\t']);
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = behind;
        if size == 0 {
            break;
        }
        let chunk = rest.get(..size)?;
        body.extend_from_slice(chunk);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, behind) = line(rest)?;
        rest = behind;
        if line.is_empty() {
            return Some(body);
        }
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
