//! Finds the end of a head, looking at each byte once, and refuses on the way what a later parser would forgive.
//!
//! Strictness lives here because leniency is what request smuggling is made of: only CR LF ends a line, no control
//! character passes, no line is folded, the request line has exactly two spaces (RFC 9112 sections 2.2, 3, 5.2
//! and 11.2). A fault depends only on the bytes up to it, never on how they were cut.

use super::fault::HttpFault;
use super::{HttpLimits, is_token_byte};

/// How far a head, or the trailers of a chunked body, has been read.
#[derive(Debug)]
pub(crate) struct Scan {
    place: Place,
    /// The last byte was a CR.
    after_cr: bool,
    /// An empty line stood before the request line.
    after_empty_line: bool,
    /// Bytes of the current line.
    line_bytes: usize,
    /// Bytes of the current part of the request line.
    part_bytes: usize,
    /// All bytes.
    bytes: usize,
    /// Header lines that have begun.
    fields: usize,
    /// The digits of the version.
    version: (u8, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Method,
    Target,
    Version,
    Fields,
}

impl Scan {
    /// Before the first byte of a request.
    pub(crate) fn head() -> Self {
        Self::at(Place::Method)
    }

    /// Before the first byte behind the last chunk.
    pub(crate) fn trailers() -> Self {
        Self::at(Place::Fields)
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            after_cr: false,
            after_empty_line: false,
            line_bytes: 0,
            part_bytes: 0,
            bytes: 0,
            fields: 0,
            version: (0, 0),
        }
    }

    /// Header lines seen.
    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    /// Bytes of an empty line to skip before the request line.
    pub(crate) fn skip(&self) -> usize {
        if self.after_empty_line { 2 } else { 0 }
    }

    /// Reads on over bytes it has not had before. `Some(n)` when the head ends behind the first `n` of them.
    ///
    /// # Errors
    /// The fault at the first byte that can be part of no valid head.
    pub(crate) fn read(&mut self, limits: HttpLimits, bytes: &[u8]) -> Result<Option<usize>, HttpFault> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.step(limits, byte)? {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }

    fn step(&mut self, limits: HttpLimits, byte: u8) -> Result<bool, HttpFault> {
        self.bytes += 1;
        if self.bytes > limits.head_bytes_max {
            return Err(match self.place {
                Place::Target => HttpFault::TargetTooLong,
                Place::Method | Place::Version | Place::Fields => HttpFault::HeadTooLarge,
            });
        }
        if self.after_cr {
            if byte != b'\n' {
                return Err(HttpFault::LineEnding);
            }
            self.after_cr = false;
            return self.end_line();
        }
        match byte {
            b'\r' => {
                self.after_cr = true;
                return Ok(false);
            }
            b'\n' => return Err(HttpFault::LineEnding),
            _ => {}
        }
        match self.place {
            Place::Method => self.method(byte)?,
            Place::Target => self.target(limits, byte)?,
            Place::Version => self.version(byte)?,
            Place::Fields => self.field(limits, byte)?,
        }
        self.line_bytes += 1;
        Ok(false)
    }

    fn end_line(&mut self) -> Result<bool, HttpFault> {
        let empty = self.line_bytes == 0;
        self.line_bytes = 0;
        match self.place {
            // RFC 9112 2.2: an empty line before the request line is forgiven, for clients that end a body with one.
            Place::Method if empty && !self.after_empty_line => {
                self.after_empty_line = true;
                Ok(false)
            }
            Place::Method | Place::Target => Err(HttpFault::RequestLine),
            Place::Version if self.part_bytes < VERSION.len() => Err(HttpFault::RequestLine),
            Place::Version => {
                if !matches!(self.version, (b'1', b'0' | b'1')) {
                    return Err(HttpFault::Version);
                }
                self.place = Place::Fields;
                Ok(false)
            }
            Place::Fields => Ok(empty),
        }
    }

    fn method(&mut self, byte: u8) -> Result<(), HttpFault> {
        if byte == b' ' && self.line_bytes > 0 {
            self.place = Place::Target;
            return Ok(());
        }
        if is_token_byte(byte) { Ok(()) } else { Err(HttpFault::RequestLine) }
    }

    fn target(&mut self, limits: HttpLimits, byte: u8) -> Result<(), HttpFault> {
        if byte == b' ' && self.part_bytes > 0 {
            self.place = Place::Version;
            self.part_bytes = 0;
            return Ok(());
        }
        if !byte.is_ascii_graphic() {
            return Err(HttpFault::Target);
        }
        self.part_bytes += 1;
        if self.part_bytes > limits.target_bytes_max { Err(HttpFault::TargetTooLong) } else { Ok(()) }
    }

    fn version(&mut self, byte: u8) -> Result<(), HttpFault> {
        let fits = match VERSION.get(self.part_bytes) {
            Some(b'0') => byte.is_ascii_digit(),
            Some(&wanted) => byte == wanted,
            None => false,
        };
        if !fits {
            return Err(HttpFault::RequestLine);
        }
        match self.part_bytes {
            5 => self.version.0 = byte,
            7 => self.version.1 = byte,
            _ => {}
        }
        self.part_bytes += 1;
        Ok(())
    }

    fn field(&mut self, limits: HttpLimits, byte: u8) -> Result<(), HttpFault> {
        if self.line_bytes == 0 {
            if matches!(byte, b' ' | b'\t') {
                return Err(HttpFault::FoldedHeader);
            }
            self.fields += 1;
            if self.fields > limits.header_count_max {
                return Err(HttpFault::TooManyHeaders);
            }
        }
        if byte != b'\t' && byte.is_ascii_control() { Err(HttpFault::HeaderValue) } else { Ok(()) }
    }
}

/// The shape of a version; `0` stands for any digit.
const VERSION: &[u8] = b"HTTP/0.0";
