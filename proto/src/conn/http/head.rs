//! A complete head to a request: httparse tells the parts, this file what they mean together.
//!
//! Implements RFC 9112 sections 3.2 (target and Host), 6 (body length) and 9.3 (persistence), each in its strict
//! reading: where a proxy before us might see another message than we do, the request is refused.

use super::fault::HttpFault;
use super::{HttpLimits, ReplyTo, has_token, is_token_byte};
use crate::conn::body::BodyLength;
use crate::http::HttpRequest;
use core::net::Ipv6Addr;

/// A request whose body is still to come.
#[derive(Debug)]
pub(crate) struct Head {
    /// The request without its body.
    pub(crate) request: Box<HttpRequest>,
    /// How the body is delimited.
    pub(crate) body: BodyLength,
    /// The peer sends the body only after 100 Continue.
    pub(crate) expects_continue: bool,
    /// What the answer must obey.
    pub(crate) reply: ReplyTo,
}

impl Head {
    /// Parses a head that [`super::scan::Scan`] let pass, from the method to the empty line, with `fields` header lines.
    ///
    /// # Errors
    /// The first fault that any check finds.
    pub(crate) fn parse(limits: HttpLimits, head: &[u8], fields: usize) -> Result<Self, HttpFault> {
        let mut slots = vec![httparse::EMPTY_HEADER; fields];
        let mut parsed = httparse::Request::new(&mut slots);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(end)) if end == head.len() => {}
            Ok(_) => return Err(HttpFault::RequestLine),
            Err(error) => return Err(fault_of(error)),
        }
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HttpFault::RequestLine);
        };
        let mut request = HttpRequest { method: method.to_owned(), ..HttpRequest::default() };
        request.headers = owned_fields(parsed.headers)?;
        for name in ONCE {
            if request.headers(name).nth(1).is_some() {
                return Err(HttpFault::RepeatedHeader);
            }
        }
        let http11 = version == 1;
        check_host(&request, http11)?;
        if method == "CONNECT" {
            return Err(HttpFault::Method);
        }
        (request.path, request.query) = split_target(&request, target)?;
        let body = body_length(limits, &request, http11)?;
        let expects_continue = check_expect(&request)? && http11 && !matches!(body, BodyLength::None);
        let asked_close = request.headers("connection").any(|list| has_token(list, "close"));
        let asked_alive = request.headers("connection").any(|list| has_token(list, "keep-alive"));
        let reply = ReplyTo {
            head_only: method == "HEAD",
            // RFC 9112 9.3: 1.1 persists unless told otherwise, 1.0 only when asked.
            keep_alive: !asked_close && (http11 || asked_alive),
            http11,
        };
        Ok(Self { request: Box::new(request), body, expects_continue, reply })
    }
}

/// Checks the trailer fields behind a chunked body; they are dropped, so nothing may depend on them.
///
/// # Errors
/// A malformed field, or one that would have changed how the message is read or who sent it.
pub(crate) fn check_trailers(trailers: &[u8], fields: usize) -> Result<(), HttpFault> {
    let mut slots = vec![httparse::EMPTY_HEADER; fields];
    let parsed = match httparse::parse_headers(trailers, &mut slots) {
        Ok(httparse::Status::Complete((end, parsed))) if end == trailers.len() => parsed,
        Ok(_) => return Err(HttpFault::Trailers),
        Err(error) => return Err(fault_of(error)),
    };
    for (name, _) in owned_fields(parsed)? {
        if ONCE.contains(&name.as_str()) {
            return Err(HttpFault::Trailers);
        }
    }
    Ok(())
}

/// Fields that must appear once at most, because two readers could believe two different ones, and that have no
/// place in a trailer.
const ONCE: [&str; 5] = ["host", "content-length", "transfer-encoding", "authorization", "origin"];

fn fault_of(error: httparse::Error) -> HttpFault {
    match error {
        httparse::Error::HeaderName => HttpFault::HeaderName,
        httparse::Error::HeaderValue => HttpFault::HeaderValue,
        httparse::Error::NewLine => HttpFault::LineEnding,
        httparse::Error::TooManyHeaders => HttpFault::TooManyHeaders,
        httparse::Error::Version => HttpFault::Version,
        httparse::Error::Status | httparse::Error::Token => HttpFault::RequestLine,
    }
}

fn owned_fields(fields: &[httparse::Header<'_>]) -> Result<Vec<(String, String)>, HttpFault> {
    fields
        .iter()
        .map(|field| {
            let value = core::str::from_utf8(field.value).map_err(|_| HttpFault::HeaderValue)?;
            Ok((field.name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect()
}

/// RFC 9112 3.2: exactly one Host in HTTP/1.1, and a valid one wherever it stands.
fn check_host(request: &HttpRequest, http11: bool) -> Result<(), HttpFault> {
    match request.header("host") {
        None if http11 => Err(HttpFault::Host),
        None => Ok(()),
        Some(host) if is_host(host) => Ok(()),
        Some(_) => Err(HttpFault::Host),
    }
}

/// A host name, IPv4 address or bracketed IPv6 address, with an optional port. Narrower than RFC 3986: nothing a
/// browser or tool sends is missing, but no user part, no comma, no percent sign.
fn is_host(host: &str) -> bool {
    let (name_fits, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!name.is_empty() && name.bytes().all(fits), port)
    };
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    name_fits && port_fits
}

/// RFC 9112 3.2: origin-form; `*` for OPTIONS; absolute-form only when it names the same host as Host does.
fn split_target(request: &HttpRequest, target: &str) -> Result<(String, Option<String>), HttpFault> {
    if target == "*" && request.method == "OPTIONS" {
        return Ok(("*".to_owned(), None));
    }
    let local = if target.starts_with('/') {
        target
    } else {
        let rest = strip_scheme(target).ok_or(HttpFault::Target)?;
        let (authority, local) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !request.header("host").is_some_and(|host| host.eq_ignore_ascii_case(authority)) {
            return Err(HttpFault::Target);
        }
        local
    };
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (local, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    // Browsers leave some characters bare in a query that RFC 3986 would encode; these they never do. A backslash
    // in a path is a separator to some readers.
    if local.contains(['"', '<', '>', '#']) || path.contains('\\') {
        return Err(HttpFault::Target);
    }
    Ok((path.to_owned(), query.map(str::to_owned)))
}

fn strip_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// RFC 9112 6.3, refusing every case in which two readers could disagree.
fn body_length(limits: HttpLimits, request: &HttpRequest, http11: bool) -> Result<BodyLength, HttpFault> {
    let length = request.header("content-length");
    if let Some(coding) = request.header("transfer-encoding") {
        if length.is_some() {
            return Err(HttpFault::LengthAndChunked);
        }
        if !http11 {
            return Err(HttpFault::TransferEncoding);
        }
        check_coding(coding)?;
        return Ok(BodyLength::Chunked);
    }
    // Nothing is said, so there is no body, whatever the method (rule 7): a `curl -X POST` sends this.
    let Some(length) = length else { return Ok(BodyLength::None) };
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HttpFault::ContentLength);
    }
    let length = length.parse::<u64>().map_err(|_| HttpFault::ContentLength)?;
    match usize::try_from(length) {
        Ok(0) => Ok(BodyLength::None),
        Ok(length) if length <= limits.body_bytes_max => Ok(BodyLength::Bytes(length)),
        Ok(_) | Err(_) => Err(HttpFault::BodyTooLarge),
    }
}

/// `chunked`, once and alone. Another coding is not implemented; anything else delimits nothing.
fn check_coding(codings: &str) -> Result<(), HttpFault> {
    let mut chunked = 0;
    let mut unknown = false;
    for coding in codings.split(',') {
        let coding = coding.trim_matches([' ', '\t']);
        let name = coding.split(';').next().unwrap_or_default().trim_end_matches([' ', '\t']);
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(HttpFault::TransferEncoding);
        }
        if coding.eq_ignore_ascii_case("chunked") {
            chunked += 1;
        } else {
            unknown = true;
        }
    }
    match (chunked, unknown) {
        (1, false) => Ok(()),
        (0 | 1, true) => Err(HttpFault::UnknownCoding),
        _ => Err(HttpFault::TransferEncoding),
    }
}

/// RFC 9110 10.1.1. Whether a 100 Continue is asked for.
fn check_expect(request: &HttpRequest) -> Result<bool, HttpFault> {
    let mut asked = false;
    for value in request.headers("expect") {
        if !value.eq_ignore_ascii_case("100-continue") {
            return Err(HttpFault::Expectation);
        }
        asked = true;
    }
    Ok(asked)
}
