//! Peers that mean no good: sockets from many addresses that never finish a handshake, one that asks without pause,
//! one that asks and never reads. What they do is bounded, and ends when they are dropped.

use crate::client::config_as;
use crate::wire::{TEXT, Wire, read_head, text_frame, upgrade_request};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The `n`-th loopback address other than 127.0.0.1, below 127.0.255.255. Only Linux has them without being asked.
pub fn address(n: usize) -> Ipv4Addr {
    let n = n % (254 * 254);
    Ipv4Addr::new(127, 0, (1 + n / 254) as u8, (1 + n % 254) as u8)
}

/// Connects from a chosen loopback address.
///
/// # Errors
/// The address is not ours, or nobody listens.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How far a socket goes before it falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfOpen {
    /// Connected, not one byte.
    Silent,
    /// Half a request head.
    HalfHead,
    /// Upgraded; no answer to the challenge.
    Upgraded,
}

/// Sockets that never finish their handshake.
#[derive(Debug)]
pub struct Siege(Vec<(HalfOpen, TcpStream)>);

impl Siege {
    /// `count` sockets from other loopback addresses, `per_address` from each, of all three kinds. The upgrades
    /// are complete when this returns.
    ///
    /// # Errors
    /// A socket could not be connected, or an upgrade was refused.
    pub fn lay(to: SocketAddr, count: usize, per_address: usize) -> io::Result<Self> {
        let kinds = [HalfOpen::Silent, HalfOpen::HalfHead, HalfOpen::Upgraded];
        let open = |n: usize| -> io::Result<(HalfOpen, TcpStream)> {
            let kind = kinds[n % kinds.len()];
            let mut stream = connect_from(address(n / per_address.max(1)), to)?;
            match kind {
                HalfOpen::Silent => {}
                HalfOpen::HalfHead => {
                    let request = upgrade_request(&stream)?;
                    stream.write_all(&request.as_bytes()[..request.len() / 2])?;
                }
                HalfOpen::Upgraded => {
                    stream.write_all(upgrade_request(&stream)?.as_bytes())?;
                }
            }
            Ok((kind, stream))
        };
        let sockets = (0..count).map(open).collect::<io::Result<Vec<_>>>()?;
        for (_, stream) in sockets.iter().filter(|(kind, _)| *kind == HalfOpen::Upgraded) {
            let (head, _challenge) = read_head(stream)?;
            if !head.starts_with("HTTP/1.1 101 ") {
                return Err(io::Error::other(head));
            }
        }
        Ok(Self(sockets))
    }

    /// How many of them the gateway has not closed yet.
    pub fn standing(&self) -> usize {
        self.0.iter().filter(|(_, stream)| is_open(stream)).count()
    }
}

/// Whether a socket is still open, without waiting. What has arrived is thrown away.
pub fn is_open(mut stream: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let open = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(why) => break why.kind() == ErrorKind::WouldBlock,
        }
    };
    let _ = stream.set_nonblocking(false);
    open
}

/// An admitted client that asks without pause, on a thread of its own, until dropped.
#[derive(Debug)]
pub struct Flooder {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Flooder {
    /// Starts it.
    ///
    /// # Errors
    /// It was not admitted.
    pub fn start(to: SocketAddr, token: &str) -> io::Result<Self> {
        let mut wire = Wire::admitted(
            connect_from(address(60_000), to)?,
            config_as(to, "cli", "cli", Some(token), None),
        )?;
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let (asked, count) = (Arc::clone(&stop), Arc::clone(&answers));
        let flood = move || {
            let requests = request_frame().repeat(FLOOD_WINDOW);
            let mut buffer = vec![0; 256 * 1024];
            while !asked.load(Ordering::Relaxed) {
                wire.send(&requests)?;
                let mut due = FLOOD_WINDOW;
                while due > 0 && !asked.load(Ordering::Relaxed) {
                    wire.read(&mut buffer, |opcode, payload| {
                        if opcode == TEXT && !payload.starts_with(EVENT) {
                            due = due.saturating_sub(1);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    })?;
                }
            }
            Ok(())
        };
        Ok(Self { stop, answers, thread: Some(std::thread::spawn(flood)) })
    }

    /// Answers it got so far.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It may have been cut by the gateway: that is no failure of this.
            let _ = thread.join();
        }
    }
}

/// An admitted client that asked for much and never reads.
#[derive(Debug)]
pub struct Stalled {
    wire: Wire,
    /// Bytes of requests that were taken from it.
    pub asked_bytes: usize,
}

impl Stalled {
    /// Asks until nothing more is taken from it for a while, or for 64 MiB.
    ///
    /// # Errors
    /// It was not admitted.
    pub fn start(to: SocketAddr, token: &str) -> io::Result<Self> {
        let wire = Wire::admitted(
            connect_from(address(60_001), to)?,
            config_as(to, "cli", "cli", Some(token), None),
        )?;
        wire.stream().set_write_timeout(Some(STALLED_FOR))?;
        let requests = request_frame().repeat(1_000);
        let mut asked_bytes = 0;
        // Cut inside a frame when the timeout strikes: it will never say more.
        while asked_bytes < STALLED_BYTES_MAX && wire.send(&requests).is_ok() {
            asked_bytes += requests.len();
        }
        Ok(Self { wire, asked_bytes })
    }

    /// Whether the gateway has left it connected. Looks without reading.
    pub fn is_connected(&self) -> bool {
        self.wire.stream().take_error().is_ok_and(|error| error.is_none())
    }
}

/// A request that any admitted operator may make, and whose refusal is as good as its answer.
fn request_frame() -> Vec<u8> {
    text_frame(r#"{"type":"req","id":"flood","method":"status","params":{}}"#)
}

/// How the text of every event begins.
pub const EVENT: &[u8] = br#"{"type":"event","#;
/// Longest wait of one of these peers for one thing.
const BOUND: Duration = Duration::from_secs(20);
/// Requests of the flooder that are on their way at a time.
const FLOOD_WINDOW: usize = 200;
/// Nothing was taken for this long: the gateway reads no more.
const STALLED_FOR: Duration = Duration::from_millis(500);
const STALLED_BYTES_MAX: usize = 64 * 1024 * 1024;
