//! One outgoing frame in parts, and masks (RFC 6455 sections 5.2 and 5.3).

use crate::frame::CloseFrame;
use bytes::Bytes;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The frame types we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A frame, or plain bytes, on its way out. The body may be shared with other connections and is copied only
/// when taken.
#[derive(Debug)]
pub(crate) struct Outgoing {
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    head: Vec<u8>,
    body: Bytes,
    tail: Vec<u8>,
    mask: Option<[u8; 4]>,
    taken: usize,
}

impl Outgoing {
    /// Bytes that are not in a frame.
    pub(crate) fn plain(head: Vec<u8>, body: Bytes) -> Self {
        let header = [0; HEADER_BYTES_MAX];
        Self { header, header_len: 0, head, body, tail: Vec::new(), mask: None, taken: 0 }
    }

    /// One unfragmented frame whose payload is head, body and tail.
    pub(crate) fn frame(
        opcode: Opcode,
        head: Vec<u8>,
        body: Bytes,
        tail: Vec<u8>,
        mask: Option<[u8; 4]>,
    ) -> Self {
        let (header, header_len) = format_header(opcode, head.len() + body.len() + tail.len(), mask);
        Self { header, header_len, head, body, tail, mask, taken: 0 }
    }

    /// How many bytes are not taken yet.
    pub(crate) fn left(&self) -> usize {
        self.header_len + self.head.len() + self.body.len() + self.tail.len() - self.taken
    }

    /// Appends at most `room` bytes; true when nothing is left.
    pub(crate) fn take(&mut self, wire: &mut Vec<u8>, mut room: usize) -> bool {
        let header = self.header.get(..self.header_len).unwrap_or(&[]);
        let mut skip = self.taken;
        for (part, bytes) in [header, &self.head, &self.body, &self.tail].into_iter().enumerate() {
            let Some(rest) = bytes.get(skip..) else {
                skip -= bytes.len();
                continue;
            };
            skip = 0;
            let piece = &rest[..rest.len().min(room)];
            let start = wire.len();
            wire.extend_from_slice(piece);
            if let (Some(mask), true) = (self.mask, part > 0) {
                apply_mask(&mut wire[start..], mask, self.taken - self.header_len);
            }
            self.taken += piece.len();
            room -= piece.len();
            if piece.len() < rest.len() {
                return false;
            }
        }
        true
    }
}

/// Appends one unmasked text frame whose payload, some 60,000 bytes at most, `write` appends.
pub(crate) fn small_text_frame(wire: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = wire.len();
    wire.extend_from_slice(&[0; SMALL_HEADER_BYTES]);
    write(wire);
    let payload = start + SMALL_HEADER_BYTES;
    let (header, header_len) = format_header(Opcode::Text, wire.len() - payload, None);
    debug_assert!(header_len <= SMALL_HEADER_BYTES);
    // A payload of less than 126 bytes has a shorter header.
    let gap = SMALL_HEADER_BYTES - header_len;
    if gap > 0 {
        wire.copy_within(payload.., payload - gap);
        wire.truncate(wire.len() - gap);
    }
    wire[start..start + header_len].copy_from_slice(&header[..header_len]);
}

/// Appends a whole control frame. The payload is cut to what a control frame holds.
pub(crate) fn control_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, wire: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    let (header, header_len) = format_header(opcode, payload.len(), mask);
    wire.extend_from_slice(&header[..header_len]);
    let start = wire.len();
    wire.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut wire[start..], mask, 0);
    }
}

/// The payload of a close frame. The reason is cut to what fits, between two characters.
pub(crate) fn close_payload(close: Option<&CloseFrame>) -> Vec<u8> {
    let Some(close) = close else { return Vec::new() };
    let reason = cut(&close.reason, CONTROL_BYTES_MAX - 2);
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&close.code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// Header of an unmasked frame with a payload of 126 to 65,535 bytes.
const SMALL_HEADER_BYTES: usize = 4;

/// XORs with the mask, beginning `from` bytes into the payload.
pub(crate) fn apply_mask(bytes: &mut [u8], mask: [u8; 4], from: usize) {
    let [a, b, c, d] = core::array::from_fn(|i| mask[(from + i) % 4]);
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

fn format_header(opcode: Opcode, len: usize, mask: Option<[u8; 4]>) -> ([u8; HEADER_BYTES_MAX], usize) {
    let opcode = match opcode {
        Opcode::Text => OpCode::Data(Data::Text),
        Opcode::Binary => OpCode::Data(Data::Binary),
        Opcode::Close => OpCode::Control(Control::Close),
        Opcode::Ping => OpCode::Control(Control::Ping),
        Opcode::Pong => OpCode::Control(Control::Pong),
    };
    let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask };
    let mut out = Cursor::new([0; HEADER_BYTES_MAX]);
    header.format(len as u64, &mut out).expect("the longest header fits");
    let end = out.position() as usize;
    (out.into_inner(), end)
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// RFC 6455 section 5.2: two bytes, eight of length, four of mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// RFC 6455 section 5.5.
pub(super) const CONTROL_BYTES_MAX: usize = 125;
