//! Bytes to messages: heads, masks, fragments, UTF-8, control frames (RFC 6455 sections 5 to 8).
//!
//! A byte belongs to a head, to a control frame's payload, to the message being assembled, or is dropped; the
//! outcome does not depend on how the bytes were cut.

use super::frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, apply_mask};
use super::{Data as MessageData, Fault, Held, Message, Opcode, Received};
use crate::budget::Budget;
use crate::conn::outbox::{Item, Outbox};
use crate::frame::CloseFrame;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The reading half of a WebSocket.
#[derive(Debug)]
pub(crate) struct Reader {
    is_server: bool,
    mode: Mode,
    message_bytes_max: usize,
    budget: Budget,
    head: [u8; HEADER_BYTES_MAX],
    head_len: usize,
    frame: Option<Frame>,
    control: Vec<u8>,
    message: Option<Assembly>,
}

/// How much of the peer's words still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Everything.
    Open,
    /// Only its close frame: we have sent ours.
    AwaitClose,
    /// Nothing: its close frame came, or the frames can no longer be told apart.
    Deaf,
}

/// A frame whose head is complete.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    done: usize,
    left: u64,
}

/// A complete head, and whether its length was in the shortest form.
struct Head {
    header: FrameHeader,
    len: u64,
    is_minimal: bool,
}

/// A message whose last frame has not come.
#[derive(Debug)]
struct Assembly {
    is_text: bool,
    bytes: Vec<u8>,
    /// How much of `bytes` is known to be UTF-8, when it has to be.
    checked: usize,
    held: Held,
}

impl Reader {
    pub(crate) fn new(is_server: bool, message_bytes_max: usize, budget: Budget) -> Self {
        Self {
            is_server,
            mode: Mode::Open,
            message_bytes_max,
            budget,
            head: [0; HEADER_BYTES_MAX],
            head_len: 0,
            frame: None,
            control: Vec::new(),
            message: None,
        }
    }

    pub(crate) fn set_message_bytes_max(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// From now on only the peer's close frame is looked for.
    pub(crate) fn stop_reading_messages(&mut self) {
        if self.mode == Mode::Open {
            self.mode = Mode::AwaitClose;
            self.message = None;
            self.control = Vec::new();
        }
    }

    /// Bytes held for a message that is not complete.
    pub(crate) fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.bytes.len())
    }

    /// Takes bytes from the front, up to the end of the first thing worth saying. Pongs and the answers to
    /// closes and faults go to `outbox`.
    pub(crate) fn receive(&mut self, bytes: &[u8], outbox: &mut Outbox) -> (usize, Option<Received>) {
        if let Some((taken, message)) = self.whole_message(bytes) {
            return (taken, Some(Received::Message(message)));
        }
        let mut taken = 0;
        loop {
            if self.mode == Mode::Deaf {
                return (bytes.len(), None);
            }
            let was_open = self.mode == Mode::Open;
            match self.step(&bytes[taken..], outbox) {
                Ok((n, received)) => {
                    taken += n;
                    if received.is_some() || taken == bytes.len() {
                        return (taken, received);
                    }
                }
                Err((n, _)) if !was_open => taken += n,
                Err((n, fault)) => {
                    taken += n;
                    self.stop_reading_messages();
                    outbox.push(Item::Close(Some(fault.close_frame())), 0);
                    return (taken, Some(Received::Fault(fault)));
                }
            }
        }
    }

    /// What nearly every peer sends: a short text message in one masked frame, all of which is here. `None` says
    /// nothing about the bytes: then they are read step by step, with the same outcome.
    fn whole_message(&self, bytes: &[u8]) -> Option<(usize, Message)> {
        const FINAL_TEXT: u8 = 0x81;
        const MASKED: u8 = 0x80;
        let is_between = self.mode == Mode::Open && self.head_len == 0 && self.frame.is_none();
        let [FINAL_TEXT, length, a, b, c, d, payload @ ..] = bytes else { return None };
        let length = usize::from(length.checked_sub(MASKED)?);
        // From 126 on the length stands elsewhere.
        let is_short = length < 126 && length <= self.message_bytes_max;
        if !(is_between && is_short && self.is_server && self.message.is_none()) {
            return None;
        }
        let mut payload = payload.get(..length)?.to_vec();
        apply_mask(&mut payload, [*a, *b, *c, *d], 0);
        let text = String::from_utf8(payload).ok()?;
        let message = Message { data: MessageData::Text(text), held: Held::none(self.budget.clone()) };
        Some((HEAD_BYTES_SHORT + length, message))
    }

    /// Reads one head, or a piece of one payload.
    fn step(
        &mut self,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(usize, Option<Received>), (usize, Fault)> {
        let Some(mut frame) = self.frame else {
            let (taken, complete) = self.read_head(bytes).map_err(|fault| (bytes.len(), fault))?;
            let Some(head) = complete else { return Ok((taken, None)) };
            let Head { header, len, .. } = &head;
            self.frame = Some(Frame {
                opcode: header.opcode,
                is_final: header.is_final,
                mask: header.mask.unwrap_or_default(),
                done: 0,
                left: *len,
            });
            if self.mode == Mode::Open
                && let Err(fault) = self.begin_frame(&head)
            {
                // The refused frame is read past; an empty one is over with its head.
                if *len == 0 {
                    self.frame = None;
                }
                return Err((taken, fault));
            }
            // An empty frame is complete with its head.
            let received =
                if *len == 0 { self.end_frame(outbox).map_err(|fault| (taken, fault))? } else { None };
            return Ok((taken, received));
        };
        let taken = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
        let piece = &bytes[..taken];
        let result = if self.mode == Mode::Open { self.take_payload(frame, piece) } else { Ok(()) };
        frame.done = frame.done.wrapping_add(taken);
        frame.left -= taken as u64;
        self.frame = Some(frame);
        let result = result.and_then(|()| if frame.left == 0 { self.end_frame(outbox) } else { Ok(None) });
        if frame.left == 0 {
            self.frame = None;
        }
        result.map(|received| (taken, received)).map_err(|fault| (taken, fault))
    }

    /// Collects a head.
    fn read_head(&mut self, bytes: &[u8]) -> Result<(usize, Option<Head>), Fault> {
        let have = self.head_len;
        let more = bytes.len().min(HEADER_BYTES_MAX - have);
        self.head[have..have + more].copy_from_slice(&bytes[..more]);
        let mut head = self.head;
        let opcode = OpCode::from(head[0] & 0x0f);
        if is_reserved(opcode) {
            // The parser would stop here, but the length is wanted: what follows this frame may be a close.
            head[0] = (head[0] & 0xf0) | u8::from(OpCode::Data(Data::Binary));
        }
        let mut cursor = Cursor::new(&head[..have + more]);
        match FrameHeader::parse(&mut cursor) {
            Ok(None) => {
                self.head_len = have + more;
                Ok((more, None))
            }
            Ok(Some((header, len))) => {
                self.head_len = 0;
                let end = cursor.position() as usize;
                let is_minimal = header.len(len) == end;
                if len > i64::MAX as u64 {
                    // RFC 6455 5.2: the most significant bit must be 0. Nothing after such a frame can be found.
                    self.mode = Mode::Deaf;
                    return Err(Fault::Protocol("length of 64 bits"));
                }
                let header = FrameHeader { opcode, ..header };
                Ok((end - have, Some(Head { header, len, is_minimal })))
            }
            Err(_) => {
                self.mode = Mode::Deaf;
                Err(Fault::Protocol("unreadable head"))
            }
        }
    }

    /// Refuses a frame by its head.
    fn begin_frame(&mut self, head: &Head) -> Result<(), Fault> {
        let Head { header, len, is_minimal } = head;
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Fault::Protocol("reserved bit"));
        }
        if is_reserved(header.opcode) {
            return Err(Fault::Protocol("reserved opcode"));
        }
        if header.mask.is_some() != self.is_server {
            return Err(Fault::Protocol("mask"));
        }
        if !*is_minimal {
            return Err(Fault::Protocol("length not in its shortest form"));
        }
        let data = match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(Fault::Protocol("fragmented control frame"));
            }
            OpCode::Control(_) if *len > CONTROL_BYTES_MAX as u64 => {
                return Err(Fault::Protocol("long control frame"));
            }
            OpCode::Control(_) => return Ok(()),
            OpCode::Data(data) => data,
        };
        let held = match (data, &self.message) {
            (Data::Continue, None) => return Err(Fault::Protocol("nothing to continue")),
            (Data::Text | Data::Binary, Some(_)) => return Err(Fault::Protocol("message inside a message")),
            (Data::Continue, Some(message)) => message.bytes.len(),
            (Data::Text | Data::Binary | Data::Reserved(_), _) => 0,
        };
        if len.saturating_add(held as u64) > self.message_bytes_max as u64 {
            return Err(Fault::TooBig);
        }
        if self.message.is_none() {
            self.message = Some(Assembly {
                is_text: data == Data::Text,
                bytes: Vec::new(),
                checked: 0,
                held: Held::none(self.budget.clone()),
            });
        }
        Ok(())
    }

    fn take_payload(&mut self, frame: Frame, piece: &[u8]) -> Result<(), Fault> {
        let target = match frame.opcode {
            OpCode::Control(_) => &mut self.control,
            OpCode::Data(_) => {
                let message = self.message.as_mut().expect("a data frame belongs to a message");
                message.reserve(piece.len(), frame.left)?;
                &mut message.bytes
            }
        };
        let start = target.len();
        target.extend_from_slice(piece);
        if self.is_server {
            apply_mask(&mut target[start..], frame.mask, frame.done);
        }
        match frame.opcode {
            OpCode::Control(_) => Ok(()),
            // The last piece is checked with the whole.
            OpCode::Data(_) if frame.is_final && frame.left == piece.len() as u64 => Ok(()),
            OpCode::Data(_) => self.message.as_mut().map_or(Ok(()), Assembly::check),
        }
    }

    /// The payload of the frame is complete.
    fn end_frame(&mut self, outbox: &mut Outbox) -> Result<Option<Received>, Fault> {
        let Some(frame) = self.frame.take() else { return Ok(None) };
        if self.mode == Mode::AwaitClose {
            if frame.opcode != OpCode::Control(Control::Close) {
                return Ok(None);
            }
            self.mode = Mode::Deaf;
            return Ok(Some(Received::Closed(None)));
        }
        match frame.opcode {
            OpCode::Control(Control::Ping) => {
                let payload = core::mem::take(&mut self.control);
                outbox.control(Opcode::Pong, &payload);
                Ok(None)
            }
            OpCode::Control(Control::Close) => {
                let close = parse_close(&core::mem::take(&mut self.control))?;
                self.stop_reading_messages();
                self.mode = Mode::Deaf;
                // RFC 6455 5.5.1: echo the status code.
                let echo = close.as_ref().map(|close| CloseFrame::new(close.code, ""));
                outbox.push(Item::Close(echo), 0);
                Ok(Some(Received::Closed(close)))
            }
            OpCode::Control(Control::Pong | Control::Reserved(_)) => {
                self.control = Vec::new();
                Ok(None)
            }
            OpCode::Data(_) if !frame.is_final => Ok(None),
            OpCode::Data(_) => {
                let message = self.message.take().expect("a data frame belongs to a message");
                message.finish().map(|message| Some(Received::Message(message)))
            }
        }
    }
}

impl Assembly {
    /// Makes room for `more` bytes, of the `left` bytes this frame still has.
    fn reserve(&mut self, more: usize, left: u64) -> Result<(), Fault> {
        let needed = self.bytes.len() + more;
        if needed <= self.bytes.capacity() {
            return Ok(());
        }
        // Growth doubles what has arrived, and never reaches beyond what this frame declares.
        let frame_end =
            usize::try_from(left).map_or(usize::MAX, |left| self.bytes.len().saturating_add(left));
        let capacity =
            self.bytes.capacity().saturating_mul(2).max(GROWTH_BYTES_MIN).min(frame_end).max(needed);
        if !self.held.cover(capacity) || self.bytes.try_reserve_exact(capacity - self.bytes.len()).is_err() {
            return Err(Fault::Memory);
        }
        Ok(())
    }

    /// Checks the bytes that have arrived since the last check.
    fn check(&mut self) -> Result<(), Fault> {
        if !self.is_text {
            return Ok(());
        }
        match core::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Fault::Utf8),
        }
        Ok(())
    }

    fn finish(self) -> Result<Message, Fault> {
        let data = if self.is_text {
            MessageData::Text(String::from_utf8(self.bytes).map_err(|_| Fault::Utf8)?)
        } else {
            MessageData::Binary(self.bytes)
        };
        Ok(Message { data, held: self.held })
    }
}

/// RFC 6455 sections 5.5.1 and 7.4: nothing, or a code that may be sent and a reason in UTF-8.
fn parse_close(payload: &[u8]) -> Result<Option<CloseFrame>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Fault::Protocol("close code of one byte")) };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Fault::Protocol("close code"));
    }
    let reason = core::str::from_utf8(reason).map_err(|_| Fault::Utf8)?;
    Ok(Some(CloseFrame { code, reason: reason.to_owned().into() }))
}

fn is_reserved(opcode: OpCode) -> bool {
    match opcode {
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => true,
        OpCode::Data(Data::Continue | Data::Text | Data::Binary)
        | OpCode::Control(Control::Close | Control::Ping | Control::Pong) => false,
    }
}

/// The head of a masked frame whose length fits its second byte.
const HEAD_BYTES_SHORT: usize = 6;
/// The first allocation for a message that comes in pieces.
const GROWTH_BYTES_MIN: usize = 1024;
