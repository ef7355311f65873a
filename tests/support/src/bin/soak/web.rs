//! Browsers and probes: plain requests, files that are read to their end or not, and pages that load themselves again.

use crate::ground::{Ground, Outcome, Tally};
use clawgate_support::Wire;
use clawgate_support::siege::connect_from;
use clawgate_support::wire::read_head;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// Files of the canvas: name and size.
pub(crate) const FILES: [(&str, usize); 3] =
    [("small.txt", 40), ("page.html", 20_000), ("large.bin", 1 << 20)];
/// The file that changes.
pub(crate) const CHANGING: &str = "changing.txt";

/// Asks for this and that.
pub(crate) fn browser(ground: &Ground, number: usize, until: Instant) -> Outcome {
    let mut turn = number;
    while Instant::now() < until {
        turn += 1;
        match turn % 6 {
            0 => get(ground, "/healthz", 200, 1)?,
            1 => get(ground, "/readyz", 200, 1)?,
            2 => get(ground, &format!("{CANVAS}/{CHANGING}.no"), 404, 1)?,
            3 => abandon(ground)?,
            _ => {
                let (name, bytes) = FILES[turn % FILES.len()];
                get(ground, &format!("{CANVAS}/{name}"), 200, bytes)?;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// One request, its answer read to its end: status, and at least so many bytes.
fn get(ground: &Ground, path: &str, status: u16, bytes_min: usize) -> Outcome {
    Tally::add(&ground.tally.requests);
    let answer = exchange(ground, path)?;
    let head = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    if !head.starts_with(&format!("HTTP/1.1 {status} ")) || answer.len() < bytes_min {
        return Err(format!("{path} is answered with {} bytes: {head}", answer.len()));
    }
    Ok(())
}

fn request(ground: &Ground, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", ground.addr)
}

fn reach(ground: &Ground) -> Outcome<TcpStream> {
    connect_from(Ipv4Addr::LOCALHOST, ground.addr).map_err(|why| format!("cannot connect: {why}"))
}

fn exchange(ground: &Ground, path: &str) -> Outcome<Vec<u8>> {
    let mut stream = reach(ground)?;
    let request = request(ground, path);
    let failed = |why| format!("{path}: {why}");
    let mut answer = Vec::new();
    if ground.is_sealed {
        sealed_exchange(stream, request.as_bytes(), &mut answer).map_err(failed)?;
    } else {
        stream.write_all(request.as_bytes()).map_err(failed)?;
        stream.read_to_end(&mut answer).map_err(failed)?;
    }
    Ok(answer)
}

#[cfg(feature = "tls")]
fn sealed_exchange(mut stream: TcpStream, request: &[u8], answer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut pipe = clawgate_support::sealed::Pipe::new(request);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        stream.write_all(&pipe.take())?;
        let read = stream.read(&mut buffer)?;
        if read == 0 || !pipe.receive(&buffer[..read], answer) {
            break;
        }
    }
    if pipe.said_farewell() { Ok(()) } else { Err(std::io::Error::other("it ended without a farewell")) }
}

#[cfg(not(feature = "tls"))]
fn sealed_exchange(_: TcpStream, _: &[u8], _: &mut Vec<u8>) -> std::io::Result<()> {
    Err(std::io::Error::other("built without TLS"))
}

/// The beginning of a large file, and off.
fn abandon(ground: &Ground) -> Outcome {
    Tally::add(&ground.tally.requests);
    let mut stream = reach(ground)?;
    stream
        .write_all(request(ground, &format!("{CANVAS}/large.bin")).as_bytes())
        .map_err(|why| why.to_string())?;
    let mut first = [0; 512];
    stream.read(&mut first).map(drop).map_err(|why| format!("no beginning of a file: {why}"))
}

/// Pages that wait for a change, see one, and go.
pub(crate) fn pages(ground: &Ground, _: usize, until: Instant) -> Outcome {
    let mut turn = 0;
    while Instant::now() < until && !ground.is_sealed {
        let mut pages = (0..PAGES).map(|_| page(ground)).collect::<Outcome<Vec<Wire>>>()?;
        turn += 1;
        // What changed before anybody looked is not told, so it changes until it is.
        for attempt in 0.. {
            let text = format!("{turn}, {attempt}");
            std::fs::write(ground.canvas.join(CHANGING), text).map_err(|why| why.to_string())?;
            if hears(&mut pages[0])? {
                break;
            }
            if attempt > ATTEMPTS_MAX {
                return Err("a page is never told of a change".to_owned());
            }
        }
        drop(pages);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// The socket of a page.
pub(crate) fn page(ground: &Ground) -> Outcome<Wire> {
    Tally::add(&ground.tally.connections);
    let mut stream = reach(ground)?;
    let head = format!(
        "GET /__openclaw__/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ground.addr
    );
    stream.write_all(head.as_bytes()).map_err(|why| why.to_string())?;
    let (head, _) = read_head(&stream).map_err(|why| format!("no answer to a page: {why}"))?;
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(format!("a page is answered: {head}"));
    }
    stream.set_read_timeout(Some(Duration::from_secs(1))).map_err(|why| why.to_string())?;
    Ok(Wire::plain(stream))
}

/// Whether a page is told something within a second.
pub(crate) fn hears(page: &mut Wire) -> Outcome<bool> {
    let mut is_told = false;
    match page.read(&mut [0; 1024], |_, payload| is_told |= payload == b"reload") {
        Ok(()) => Ok(is_told),
        Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
        Err(why) => Err(format!("a page is cut: {why}")),
    }
}

const CANVAS: &str = "/__openclaw__/canvas";
const PAGES: usize = 5;
const ATTEMPTS_MAX: usize = 30;
