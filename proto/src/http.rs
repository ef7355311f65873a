//! HTTP messages as the gateway sees them: parsed requests, and responses to be written.

mod date;
pub mod file;
pub mod path;

pub(crate) use date::{imf_fixdate, parse_imf_fixdate};

use bytes::Bytes;
use std::borrow::Cow;

/// A complete request. Header names are lower case; values have lost the white space around them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// As sent; methods are case-sensitive.
    pub method: String,
    /// Path of the target, still percent-encoded, beginning with `/` (or `*`).
    pub path: String,
    /// Query without `?`.
    pub query: Option<String>,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// Body; empty when there is none.
    pub body: Bytes,
}

/// Header values, the query and the body may hold secrets: only the outline is shown.
impl core::fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl HttpRequest {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// All headers of that (lower-case) name.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// A response. Length, connection and security headers are added when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Further header fields.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Body, or its beginning; not sent in answer to HEAD.
    pub body: Bytes,
    /// Bytes of the body that follow as [`Order::Body`](crate::Order::Body).
    pub rest: u64,
    /// Whether the connection ends with this response.
    pub close: bool,
}

impl HttpResponse {
    /// A response of plain text.
    pub fn text(status: u16, body: &'static str) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", Cow::Borrowed("text/plain; charset=utf-8"))],
            body: Bytes::from_static(body.as_bytes()),
            rest: 0,
            close: false,
        }
    }

    /// A response of JSON.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", Cow::Borrowed("application/json; charset=utf-8"))],
            body: body.into(),
            rest: 0,
            close: false,
        }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same content as another type.
    pub fn typed(mut self, content_type: &'static str) -> Self {
        if let Some((_, value)) = self.headers.iter_mut().find(|(name, _)| *name == "Content-Type") {
            *value = Cow::Borrowed(content_type);
        }
        self
    }

    /// The last response on its connection.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}
