//! Those who do not behave: sockets that fall silent, bytes that are no request, frames that nobody may send, secrets that
//! are wrong. Each is sent away, or leaves by itself.

use crate::ground::{Ground, Outcome, Tally};
use clawgate_support::siege::{Siege, Stalled, address, connect_from};
use clawgate_support::wire::{read_head, text_frame, upgrade_request};
use clawgate_support::{TestClient, raw_frame};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Comes with something that is wrong, from ever other addresses.
pub(crate) fn stranger(ground: &Ground, number: usize, until: Instant) -> Outcome {
    let mut visit = number;
    while Instant::now() < until {
        visit += 1;
        Tally::add(&ground.tally.strangers);
        let from = address(OWN_ADDRESSES + visit % 500);
        match visit % 8 {
            0 => guess(ground, from)?,
            1 => sent_away(ground, from, b"\x00\xff\x16\x03not http\r\n\r\n")?,
            2 => {
                let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(20_000));
                sent_away(ground, from, head.as_bytes())?;
            }
            3 => sent_away(ground, from, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")?,
            4 => upgraded(ground, from, &text_frame("not json"))?,
            5 => upgraded(ground, from, &raw_frame(0x81, None, b"unmasked"))?,
            6 => upgraded(ground, from, &[0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4])?,
            _ => upgraded(ground, from, &text_frame(r#"{"type":"req","id":"1","method":"health"}"#))?,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A wrong secret.
fn guess(ground: &Ground, from: Ipv4Addr) -> Outcome {
    let mut config = ground.operator(None);
    config.auth.token = Some(format!("{}x", ground.token()));
    match ground.enter_from(from, config) {
        Err(why) if why.contains("AUTH_TOKEN_MISMATCH") => Ok(()),
        Err(why) => Err(format!("a wrong token is refused otherwise: {why}")),
        Ok(_) => Err("a wrong token opens".to_owned()),
    }
}

/// Bytes after which the gateway ends the connection.
fn sent_away(ground: &Ground, from: Ipv4Addr, bytes: &[u8]) -> Outcome {
    let mut stream = reach(ground, from)?;
    // It may be gone before all of it is written.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    ended(&mut stream)
}

/// A frame that ends the handshake. By TLS only the bytes before it can be wrong.
fn upgraded(ground: &Ground, from: Ipv4Addr, frame: &[u8]) -> Outcome {
    if ground.is_sealed {
        return sent_away(ground, from, frame);
    }
    let mut stream = reach(ground, from)?;
    let request = upgrade_request(&stream).map_err(|why| why.to_string())?;
    stream.write_all(request.as_bytes()).map_err(|why| why.to_string())?;
    let (head, _) = read_head(&stream).map_err(|why| format!("no answer to an upgrade: {why}"))?;
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(format!("an upgrade is answered: {head}"));
    }
    let _ = stream.write_all(frame);
    ended(&mut stream)
}

fn reach(ground: &Ground, from: Ipv4Addr) -> Outcome<TcpStream> {
    connect_from(from, ground.addr).map_err(|why| format!("cannot connect: {why}"))
}

/// Reads to the end, or to the reset that stands for it.
fn ended(stream: &mut TcpStream) -> Outcome {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(why) if matches!(why.kind(), std::io::ErrorKind::ConnectionReset) => return Ok(()),
            Err(why) => return Err(format!("a stranger is not sent away: {why}")),
        }
    }
}

/// Sockets that fall silent half way, for a moment.
pub(crate) fn half_open(ground: &Ground, _: usize, until: Instant) -> Outcome {
    while Instant::now() < until {
        if ground.is_sealed {
            let sockets: Vec<TcpStream> =
                (0..HALF_OPEN).map(|n| half_sealed(ground, n)).collect::<Outcome<_>>()?;
            std::thread::sleep(Duration::from_millis(300));
            drop(sockets);
        } else {
            let siege = Siege::lay(ground.addr, HALF_OPEN, PER_ADDRESS).map_err(|why| why.to_string())?;
            std::thread::sleep(Duration::from_millis(300));
            drop(siege);
        }
        ground.tally.strangers.fetch_add(HALF_OPEN as u64, std::sync::atomic::Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Silent, half a hello of TLS, or a whole one and nothing behind it.
fn half_sealed(ground: &Ground, number: usize) -> Outcome<TcpStream> {
    let mut stream = reach(ground, address(number / PER_ADDRESS))?;
    let hello = hello();
    let len = [0, hello.len() / 2, hello.len()][number % 3];
    stream.write_all(&hello[..len]).map_err(|why| why.to_string())?;
    Ok(stream)
}

#[cfg(feature = "tls")]
fn hello() -> Vec<u8> {
    clawgate_support::sealed::Pipe::new(b"").take()
}

#[cfg(not(feature = "tls"))]
fn hello() -> Vec<u8> {
    Vec::new()
}

/// One that floods until it is read from no more, and never reads.
pub(crate) fn stalled(ground: &Ground, _: usize, until: Instant) -> Outcome {
    while Instant::now() < until && !ground.is_sealed {
        let stalled = Stalled::start(ground.addr, ground.token()).map_err(|why| format!("stalled: {why}"))?;
        std::thread::sleep(Duration::from_secs(1));
        drop(stalled);
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// A client that is cut in the middle of its handshake, at any byte.
pub(crate) fn quitter(ground: &Ground, number: usize, until: Instant) -> Outcome {
    while Instant::now() < until {
        Tally::add(&ground.tally.strangers);
        let config = ground.operator(Some(number));
        let mut client =
            TestClient::open(ground.addr, config).map_err(|why| format!("cannot connect: {why}"))?;
        // As far as the challenge, in which `connect` goes out, and not as far as its answer.
        let _ = client.next(Duration::from_millis(50));
        drop(client);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The siege has the addresses before these.
const OWN_ADDRESSES: usize = 1_000;
const HALF_OPEN: usize = 60;
const PER_ADDRESS: usize = 20;
