//! A WebSocket client that does next to nothing, for loads and measurements: requests are frames made beforehand,
//! and of what arrives it looks at frame heads only. The handshake is the client core's.

use crate::client::{now, unique_bytes};
use crate::frame::raw_frame;
use crate::secrets;
use clawgate_proto::client::{Client, ClientConfig, ClientEvent};
use clawgate_proto::seed::Seed;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An upgraded socket.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// The beginning of a frame that has not arrived whole.
    rest: Vec<u8>,
}

/// Opcode of a text message (RFC 6455 section 5.2).
pub const TEXT: u8 = 0x1;
const PING: u8 = 0x9;

impl Wire {
    /// A connected socket on which frames come without an upgrade.
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Upgrades a connected socket, with no gateway protocol behind it.
    ///
    /// # Errors
    /// The socket failed, or the answer was not 101; its head is in the error.
    pub fn upgraded(stream: TcpStream) -> io::Result<Self> {
        prepare(&stream)?;
        (&stream).write_all(upgrade_request(&stream)?.as_bytes())?;
        let (head, rest) = read_head(&stream)?;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(io::Error::other(head));
        }
        Ok(Self { stream, rest })
    }

    /// Goes as far as hello-ok on a connected socket. Events that came together with it are dropped.
    ///
    /// # Errors
    /// The socket failed, or the gateway refused; with what it said.
    pub fn admitted(stream: TcpStream, config: ClientConfig) -> io::Result<Self> {
        prepare(&stream)?;
        let started = Instant::now();
        let mut client = Client::new(config, Seed::new(unique_bytes()), now(started));
        let mut out = Vec::new();
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            while let Some(event) = client.next_event() {
                match event {
                    ClientEvent::HelloOk(hello) => {
                        secrets::record_tokens(&hello.0);
                        while let Some(frame) = Frame::first(&bytes) {
                            bytes.drain(..frame.len());
                        }
                        return Ok(Self { stream, rest: bytes });
                    }
                    ClientEvent::ConnectRefused(_)
                    | ClientEvent::HttpRefused { .. }
                    | ClientEvent::Closed { .. } => {
                        return Err(io::Error::other(format!("not admitted: {event:?}")));
                    }
                    ClientEvent::Challenge { .. }
                    | ClientEvent::Response(_)
                    | ClientEvent::Event(_)
                    | ClientEvent::Gap { .. }
                    | ClientEvent::Unrecognised(_) => {}
                }
            }
            client.take_wire(&mut out);
            (&stream).write_all(&out)?;
            out.clear();
            // One thing at a time, so that the client core swallows nothing that comes behind hello-ok.
            let first = if client.is_upgraded() {
                Frame::first(&bytes).map(|frame| frame.len())
            } else {
                head_len(&bytes)
            };
            if let Some(len) = first {
                client.receive(now(started), &bytes[..len]);
                bytes.drain(..len);
                continue;
            }
            match (&stream).read(&mut buffer)? {
                0 => client.receive_end(now(started)),
                n => bytes.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes bytes as they are; see [`text_frame`].
    ///
    /// # Errors
    /// The socket's; on a non-blocking one also a full buffer.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// Reads once, into `buffer`, and shows opcode and payload of each frame that is whole now. Answers pings.
    ///
    /// # Errors
    /// The socket's, and the end of the stream.
    pub fn read(&mut self, buffer: &mut [u8], mut seen: impl FnMut(u8, &[u8])) -> io::Result<()> {
        let kept = self.rest.len();
        if kept >= buffer.len() {
            return Err(io::Error::other("a frame is larger than the buffer"));
        }
        buffer[..kept].copy_from_slice(&self.rest);
        let read = (&self.stream).read(&mut buffer[kept..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = &buffer[..kept + read];
        while let Some(frame) = Frame::first(bytes) {
            seen(frame.opcode, frame.payload);
            if frame.opcode == PING {
                self.send(&raw_frame(0x8a, Some(MASK), frame.payload))?;
            }
            bytes = &bytes[frame.len()..];
        }
        self.rest.clear();
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

/// A masked text frame, ready to be written.
pub fn text_frame(text: &str) -> Vec<u8> {
    raw_frame(0x81, Some(MASK), text.as_bytes())
}

/// The upgrade request that every client sends, up to its empty line.
///
/// # Errors
/// The socket is not connected.
pub fn upgrade_request(stream: &TcpStream) -> io::Result<String> {
    let host = stream.peer_addr()?;
    Ok(format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
}

/// Reads a response head, and gives what came behind it.
///
/// # Errors
/// The socket's, and an end before the empty line.
pub fn read_head(mut stream: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if let Some(len) = head_len(&bytes) {
            let rest = bytes.split_off(len);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

struct Frame<'bytes> {
    opcode: u8,
    head_bytes: usize,
    payload: &'bytes [u8],
}

impl<'bytes> Frame<'bytes> {
    /// The first frame, if it is there whole. A server does not mask (RFC 6455 section 5.1).
    fn first(bytes: &'bytes [u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (head_bytes, payload_bytes) = match second {
            126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            short => (2, short.into()),
        };
        let end = usize::try_from(payload_bytes).ok()?.checked_add(head_bytes)?;
        Some(Self { opcode: first & 0xf, head_bytes, payload: bytes.get(head_bytes..end)? })
    }

    fn len(&self) -> usize {
        self.head_bytes + self.payload.len()
    }
}

fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))
}

/// Longest wait for one read or write.
const BOUND: Duration = Duration::from_secs(20);
/// Any will do: it only has to be there.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::echo;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn frames_are_found_whole_or_not_at_all() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = raw_frame(0x81, None, &vec![b'x'; len]);
            let frame = Frame::first(&bytes).unwrap();
            assert_eq!((frame.opcode, frame.payload.len(), frame.len()), (TEXT, len, bytes.len()));
            assert!((0..bytes.len()).step_by(997).all(|cut| Frame::first(&bytes[..cut]).is_none()));
        }
    }

    #[test]
    fn an_echo_comes_back() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || echo::serve(listener.accept().unwrap().0, echo::budget()));
        let mut wire = Wire::upgraded(TcpStream::connect(addr).unwrap()).unwrap();
        let texts = ["one".to_owned(), "two".repeat(40_000), "three".to_owned()];
        for text in &texts {
            wire.send(&text_frame(text)).unwrap();
        }
        let mut seen = Vec::new();
        let mut buffer = vec![0; 256 * 1024];
        while seen.len() < texts.len() {
            wire.read(&mut buffer, |opcode, payload| {
                assert_eq!(opcode, TEXT);
                seen.push(String::from_utf8(payload.to_vec()).unwrap());
            })
            .unwrap();
        }
        assert_eq!(seen, texts);
        drop(wire);
        server.join().unwrap().unwrap();
    }
}
