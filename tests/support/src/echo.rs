//! A bare WebSocket echo over the core's own frame layer: what a gateway is measured and tested against. One
//! blocking loop a connection, and nothing between the frames and the socket.

use base64::Engine as _;
use clawgate_proto::budget::Budget;
use clawgate_proto::ws::{Data, Received, Role, WebSocket};
use sha1::{Digest as _, Sha1};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Answers the upgrade, then every message with itself, until the peer closes.
///
/// # Errors
/// The socket failed, or what came first was no upgrade.
pub fn serve(mut stream: TcpStream, budget: Budget) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    let mut have = read_head(&mut stream, &mut bytes, &mut wire)?;
    let mut socket = WebSocket::new(Role::Server, 32 * MIB, budget);
    let mut is_faulty = false;
    loop {
        let mut start = 0;
        while start < have {
            let (taken, received) = socket.receive(&bytes[start..have]);
            start += taken;
            match received {
                Some(Received::Message(message)) => match message.into_data() {
                    Data::Text(text) => socket.send_text(text),
                    Data::Binary(bytes) => socket.send_binary(bytes),
                },
                Some(Received::Fault(_)) => is_faulty = true,
                Some(Received::Closed(_)) | None => {}
            }
        }
        while socket.wants_write() {
            socket.take_wire(&mut wire);
            stream.write_all(&wire)?;
            wire.clear();
        }
        if socket.is_finished() {
            return Ok(());
        }
        if is_faulty {
            // The peer may be in the middle of a frame and never see reason to answer.
            stream.shutdown(Shutdown::Write)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            while stream.read(&mut bytes)? > 0 {}
            return Ok(());
        }
        have = stream.read(&mut bytes)?;
        if have == 0 {
            return Ok(());
        }
    }
}

/// Reads the request head, answers 101, and leaves what came behind the head at the front of `bytes`.
fn read_head(stream: &mut TcpStream, bytes: &mut [u8], wire: &mut Vec<u8>) -> io::Result<usize> {
    let mut have = 0;
    let end = loop {
        if let Some(at) = bytes[..have].windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let n = stream.read(&mut bytes[have..])?;
        if n == 0 {
            return Err(io::Error::other("no complete request head"));
        }
        have += n;
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .ok_or_else(|| io::Error::other("no Sec-WebSocket-Key"))?;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    write!(
        wire,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    stream.write_all(wire)?;
    wire.clear();
    bytes.copy_within(end..have, 0);
    Ok(have - end)
}

/// The budget [`serve`] is usually given: no message of a suite comes near it.
pub fn budget() -> Budget {
    Budget::new(256 * MIB)
}

const MIB: usize = 1024 * 1024;
