//! Request bodies: by length, and chunked (RFC 9112 sections 6 and 7.1).
//!
//! A body is collected whole, up to the limit; memory grows with what arrived, never with what was announced.
//! Chunk framing is read strictly: exact CR LF, no white space, no unbounded extensions.

use super::buffer::Residue;
use super::http::fault::HttpFault;
use super::http::head::check_trailers;
use super::http::scan::Scan;
use super::http::{HttpLimits, is_token_byte};
use bytes::Bytes;

/// How a head delimits its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    None,
    /// Exactly this many bytes, more than zero.
    Bytes(usize),
    /// Chunks, to the last one.
    Chunked,
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct BodyReader {
    data: Vec<u8>,
    place: Place,
    /// Bytes of chunk extensions so far: they carry nothing, so a peer gets few of them.
    extension_bytes: usize,
}

#[derive(Debug)]
enum Place {
    /// This many bytes, then the end.
    Rest(usize),
    /// In a chunk-size line.
    Size(Line),
    /// In a chunk with this many bytes to come.
    Chunk(usize),
    /// In the CR LF behind a chunk.
    ChunkEnd(Line),
    /// Behind the last chunk.
    Trailers(Scan),
    Done,
}

/// A short line being searched for its CR LF.
#[derive(Debug, Default)]
struct Line {
    bytes: usize,
    after_cr: bool,
}

impl BodyReader {
    /// Before the first byte of a body.
    pub(crate) fn new(length: BodyLength) -> Self {
        let place = match length {
            BodyLength::None => Place::Done,
            BodyLength::Bytes(count) => Place::Rest(count),
            BodyLength::Chunked => Place::Size(Line::default()),
        };
        Self { data: Vec::new(), place, extension_bytes: 0 }
    }

    /// Moves what belongs to the body out of the residue. The body, when it is complete.
    ///
    /// # Errors
    /// Malformed chunk framing, or a body beyond its limit.
    pub(crate) fn read(
        &mut self,
        limits: HttpLimits,
        residue: &mut Residue,
    ) -> Result<Option<Bytes>, HttpFault> {
        loop {
            match &mut self.place {
                Place::Rest(rest) => {
                    *rest -= take(&mut self.data, *rest, residue);
                    if *rest > 0 {
                        return Ok(None);
                    }
                    self.place = Place::Done;
                }
                Place::Size(line) => {
                    let max = limits.chunk_line_bytes_max;
                    let Some(end) = line.find_end(residue, max, HttpFault::ChunkSize)? else {
                        return Ok(None);
                    };
                    let chunk = ChunkLine::parse(&residue.unread()[..end])?;
                    residue.consume(end + CR_LF.len());
                    self.extension_bytes += chunk.extension_bytes;
                    if self.extension_bytes > limits.head_bytes_max {
                        return Err(HttpFault::ChunkSize);
                    }
                    let room = limits.body_bytes_max - self.data.len();
                    self.place = match usize::try_from(chunk.size) {
                        Ok(0) => Place::Trailers(Scan::trailers()),
                        Ok(size) if size <= room => Place::Chunk(size),
                        Ok(_) | Err(_) => return Err(HttpFault::BodyTooLarge),
                    };
                }
                Place::Chunk(rest) => {
                    *rest -= take(&mut self.data, *rest, residue);
                    if *rest > 0 {
                        return Ok(None);
                    }
                    self.place = Place::ChunkEnd(Line::default());
                }
                Place::ChunkEnd(line) => {
                    let Some(end) = line.find_end(residue, 0, HttpFault::ChunkEnding)? else {
                        return Ok(None);
                    };
                    residue.consume(end + CR_LF.len());
                    self.place = Place::Size(Line::default());
                }
                Place::Trailers(scan) => {
                    let fresh = residue.unseen().len();
                    let Some(end) = scan.read(limits, residue.unseen())? else {
                        residue.mark_seen(fresh);
                        return Ok(None);
                    };
                    let end = residue.unread().len() - fresh + end;
                    check_trailers(&residue.unread()[..end], scan.fields())?;
                    residue.consume(end);
                    self.place = Place::Done;
                }
                Place::Done => return Ok(Some(Bytes::from(core::mem::take(&mut self.data)))),
            }
        }
    }
}

/// Moves up to `count` bytes from the residue to the body and says how many.
fn take(data: &mut Vec<u8>, count: usize, residue: &mut Residue) -> usize {
    let count = count.min(residue.unread().len());
    data.extend_from_slice(&residue.unread()[..count]);
    residue.consume(count);
    count
}

impl Line {
    /// Searches on. `Some(n)` when the line has `n` bytes before its CR LF.
    ///
    /// # Errors
    /// `fault` when the line is longer than `bytes_max`, has a CR or LF alone, or another control character.
    fn find_end(
        &mut self,
        residue: &mut Residue,
        bytes_max: usize,
        fault: HttpFault,
    ) -> Result<Option<usize>, HttpFault> {
        let fresh = residue.unseen();
        for &byte in fresh {
            match (self.after_cr, byte) {
                (true, b'\n') => return Ok(Some(self.bytes)),
                (false, b'\r') => self.after_cr = true,
                (false, b'\t' | b' '..=b'~') if self.bytes < bytes_max => self.bytes += 1,
                _ => return Err(fault),
            }
        }
        let count = fresh.len();
        residue.mark_seen(count);
        Ok(None)
    }
}

/// What a chunk-size line says.
#[derive(Debug, PartialEq, Eq)]
struct ChunkLine {
    size: u64,
    extension_bytes: usize,
}

impl ChunkLine {
    /// RFC 9112 7.1: `1*HEXDIG *( ";" name [ "=" ( token / quoted-string ) ] )`, without the "bad white space" the
    /// grammar allows: nothing sends it, and readers differ on it.
    fn parse(line: &[u8]) -> Result<Self, HttpFault> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        // Sixteen digits fill the number; a seventeenth would overflow it or be a disguise.
        if digits == 0 || digits > 16 {
            return Err(HttpFault::ChunkSize);
        }
        let (number, mut rest) = line.split_at(digits);
        let mut size = 0_u64;
        for &digit in number {
            let value = char::from(digit).to_digit(16).ok_or(HttpFault::ChunkSize)?;
            size = (size << 4) | u64::from(value);
        }
        let extension_bytes = rest.len();
        while !rest.is_empty() {
            rest = skip_extension(rest).ok_or(HttpFault::ChunkSize)?;
        }
        Ok(Self { size, extension_bytes })
    }
}

/// One extension off the front.
fn skip_extension(bytes: &[u8]) -> Option<&[u8]> {
    let rest = skip_token(bytes.strip_prefix(b";")?)?;
    let Some(value) = rest.strip_prefix(b"=") else { return Some(rest) };
    let Some(mut quoted) = value.strip_prefix(b"\"") else { return skip_token(value) };
    loop {
        quoted = match quoted {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] => rest,
            [_, rest @ ..] => rest,
            [] => return None,
        };
    }
}

fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let count = bytes.iter().take_while(|&&byte| is_token_byte(byte)).count();
    (count > 0).then(|| &bytes[count..])
}

const CR_LF: &[u8] = b"\r\n";
