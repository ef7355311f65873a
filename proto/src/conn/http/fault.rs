//! What can be wrong with a request, which status says so, and what a person reads.

use crate::http::HttpResponse;

/// A request that is refused. The connection always ends with it: after a fault nobody can be sure where the next
/// request would begin (RFC 9112 section 2.2 and 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpFault {
    /// The first line is not `METHOD SP target SP HTTP/x.y`.
    RequestLine,
    /// A version that is neither 1.0 nor 1.1.
    Version,
    /// A method that has no meaning on a server of its own (CONNECT).
    Method,
    /// A target with characters or of a form that is not accepted.
    Target,
    /// A target beyond `target_bytes_max`.
    TargetTooLong,
    /// A head beyond `head_bytes_max`.
    HeadTooLarge,
    /// More fields than `header_count_max`.
    TooManyHeaders,
    /// A line that ends with anything but CR LF, or a CR inside a line.
    LineEnding,
    /// A header line that begins with white space.
    FoldedHeader,
    /// A header line without a valid name directly followed by a colon.
    HeaderName,
    /// A control character, or bytes that are not UTF-8, in a header value.
    HeaderValue,
    /// A field that must be alone appears more than once.
    RepeatedHeader,
    /// No Host, or one that is not a host with an optional port.
    Host,
    /// A Content-Length that is not one plain number.
    ContentLength,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndChunked,
    /// A Transfer-Encoding that cannot be trusted to delimit a body.
    TransferEncoding,
    /// A transfer coding other than `chunked`.
    UnknownCoding,
    /// A body beyond `body_bytes_max`.
    BodyTooLarge,
    /// An Expect other than `100-continue`.
    Expectation,
    /// A chunk-size line that is malformed or too long.
    ChunkSize,
    /// Chunk data that is not followed by CR LF.
    ChunkEnding,
    /// Trailer fields that may not stand there.
    Trailers,
    /// Plain HTTP where TLS is spoken.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "a build without TLS has no such port"))]
    NeedsTls,
    /// The head did not come in time.
    HeadTimeout,
    /// The body did not come in time.
    BodyTimeout,
    /// An upgrade with a method other than GET.
    UpgradeMethod,
    /// An upgrade to something other than a WebSocket.
    UpgradeProtocol,
    /// An upgrade with a body.
    UpgradeBody,
    /// No usable `Sec-WebSocket-Key`.
    UpgradeKey,
    /// A WebSocket version other than 13 (or its equal on the wire, 8).
    UpgradeVersion,
    /// A `Sec-WebSocket-Protocol` that is not a list of names.
    UpgradeSubprotocol,
    /// A plain request where only a WebSocket is served.
    UpgradeRequired,
}

impl HttpFault {
    /// The status code of the answer.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::RequestLine
            | Self::Target
            | Self::LineEnding
            | Self::FoldedHeader
            | Self::HeaderName
            | Self::HeaderValue
            | Self::RepeatedHeader
            | Self::Host
            | Self::ContentLength
            | Self::LengthAndChunked
            | Self::TransferEncoding
            | Self::ChunkSize
            | Self::ChunkEnding
            | Self::Trailers
            | Self::NeedsTls
            | Self::UpgradeProtocol
            | Self::UpgradeBody
            | Self::UpgradeKey
            | Self::UpgradeVersion
            | Self::UpgradeSubprotocol => 400,
            Self::Method | Self::UpgradeMethod => 405,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::UpgradeRequired => 426,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::UnknownCoding => 501,
            Self::Version => 505,
        }
    }

    /// The answer: always the last one on its connection.
    pub(crate) fn response(self) -> HttpResponse {
        let mut response = HttpResponse::text(self.status(), self.text()).closing();
        if self.is_upgrade() {
            // As the reference labels them; the texts are ours alone, so nothing of the peer's can become markup.
            response.headers = vec![("Content-Type", "text/html".into())];
        }
        match self {
            // RFC 9110 15.5.6: a 405 names the methods that would be allowed.
            Self::Method => response.with("Allow", "GET, HEAD, POST"),
            Self::UpgradeMethod => response.with("Allow", "GET"),
            // RFC 6455 4.4: the versions that would be understood.
            Self::UpgradeVersion => response.with("Sec-WebSocket-Version", "13, 8"),
            // RFC 9110 15.5.22: a 426 names the protocol to come back with.
            Self::UpgradeRequired => response.with("Upgrade", "websocket"),
            Self::RequestLine
            | Self::Version
            | Self::Target
            | Self::TargetTooLong
            | Self::HeadTooLarge
            | Self::TooManyHeaders
            | Self::LineEnding
            | Self::FoldedHeader
            | Self::HeaderName
            | Self::HeaderValue
            | Self::RepeatedHeader
            | Self::Host
            | Self::ContentLength
            | Self::LengthAndChunked
            | Self::TransferEncoding
            | Self::UnknownCoding
            | Self::BodyTooLarge
            | Self::Expectation
            | Self::ChunkSize
            | Self::ChunkEnding
            | Self::Trailers
            | Self::NeedsTls
            | Self::HeadTimeout
            | Self::BodyTimeout
            | Self::UpgradeProtocol
            | Self::UpgradeBody
            | Self::UpgradeKey
            | Self::UpgradeSubprotocol => response,
        }
    }

    /// Whether it is one of the refusals of a WebSocket handshake that clients of the reference have seen.
    fn is_upgrade(self) -> bool {
        matches!(self, Self::UpgradeMethod | Self::UpgradeProtocol | Self::UpgradeKey | Self::UpgradeVersion)
    }

    /// What a person reads. The texts of the upgrade faults are those that clients know.
    fn text(self) -> &'static str {
        match self {
            Self::RequestLine => "The request line is not a method, a target and an HTTP version.",
            Self::Version => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            Self::Method => "This is not a proxy.",
            Self::Target => "The request target is not a valid path.",
            Self::TargetTooLong => "The request target is too long.",
            Self::HeadTooLarge => "The request head is too large.",
            Self::TooManyHeaders => "The request has too many header fields.",
            Self::LineEnding => "Every line must end with CR LF, and only there.",
            Self::FoldedHeader => "A header line must not begin with white space.",
            Self::HeaderName => "A header line must be a name directly followed by a colon.",
            Self::HeaderValue => "A header value has characters that are not allowed.",
            Self::RepeatedHeader => "A header that must appear once appears more than once.",
            Self::Host => "The Host header is missing or is not a host name with an optional port.",
            Self::ContentLength => "Content-Length must be one plain number.",
            Self::LengthAndChunked => "Content-Length and Transfer-Encoding must not come together.",
            Self::TransferEncoding => "Transfer-Encoding must be chunked, once, and needs HTTP/1.1.",
            Self::UnknownCoding => "The only transfer coding understood here is chunked.",
            Self::BodyTooLarge => "The request body is too large.",
            Self::Expectation => "The only expectation understood here is 100-continue.",
            Self::ChunkSize => "A chunk-size line is malformed or too long.",
            Self::ChunkEnding => "A chunk does not end with CR LF.",
            Self::Trailers => "A trailer field may not stand in a trailer.",
            Self::NeedsTls => "This port speaks TLS: use https:// or wss:// instead of http:// or ws://.",
            Self::HeadTimeout => "The request head did not arrive in time.",
            Self::BodyTimeout => "The request body did not arrive in time.",
            Self::UpgradeMethod => "Invalid HTTP method",
            Self::UpgradeProtocol => "Invalid Upgrade header",
            Self::UpgradeBody => "An upgrade request must not have a body.",
            Self::UpgradeKey => "Missing or invalid Sec-WebSocket-Key header",
            Self::UpgradeVersion => "Missing or invalid Sec-WebSocket-Version header",
            Self::UpgradeSubprotocol => "Invalid Sec-WebSocket-Protocol header",
            Self::UpgradeRequired => "upgrade required",
        }
    }
}
