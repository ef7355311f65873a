//! A gateway on this driver and loopback, and a peer made of a plain blocking socket.
#![allow(dead_code, reason = "each test file uses a part")]

use bytes::Bytes;
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::host::{Document, HostFault, StoreFault, Version, Write};
use clawgate_proto::limits::Limits;
use clawgate_proto::log::Record;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Gateway, Host};
use clawgate_runtime_std::{Clock, Setup, Stop, run};
use clawgate_support::MemoryHost;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A host in memory whose code can be made to panic.
#[derive(Default)]
pub(crate) struct ShakyHost {
    memory: MemoryHost,
    pub(crate) is_broken: AtomicBool,
}

impl ShakyHost {
    pub(crate) fn logged(&self, event: &str) -> usize {
        self.memory.records().iter().filter(|record| record.event == event).count()
    }

    fn shake(&self) {
        assert!(!self.is_broken.load(Ordering::SeqCst), "on purpose");
    }
}

impl Host for ShakyHost {
    fn version(&self, document: Document) -> Result<Version, HostFault> {
        self.shake();
        self.memory.version(document)
    }

    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
        self.memory.read(document)
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
        self.shake();
        self.memory.write(writes)
    }

    fn system_info(&self) -> Result<Bytes, HostFault> {
        self.shake();
        self.memory.system_info()
    }

    fn log(&self, record: &Record) {
        self.memory.log(record);
        // Not only host requests run the host's code.
        self.shake();
    }
}

/// A running gateway without authentication.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) host: Arc<ShakyHost>,
    pub(crate) stop: Stop,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    pub(crate) fn start(limits: Limits) -> Self {
        Self::start_on(listener(), limits, ShakyHost::default(), Stop::new())
    }

    pub(crate) fn start_on(listener: TcpListener, limits: Limits, host: ShakyHost, stop: Stop) -> Self {
        let addr = listener.local_addr().unwrap();
        let host = Arc::new(host);
        let clock = Clock::start();
        let gateway = Gateway::new(config(limits, addr.port()), Seed::new([7; 32]), clock.now());
        let setup = Setup {
            listeners: vec![listener],
            gateway,
            host: host.clone(),
            clock,
            stop: stop.clone(),
            announcer: None,
        };
        let thread = thread::spawn(move || run(setup));
        Self { addr, host, stop, thread: Some(thread) }
    }

    pub(crate) fn connect(&self) -> Peer {
        let stream = TcpStream::connect(self.addr).unwrap();
        // Far longer than anything takes: what hangs fails the test.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer(stream)
    }

    /// Stops it and waits for the end, after which nothing holds its host any more.
    pub(crate) fn end(mut self) {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
        assert_eq!(Arc::strong_count(&self.host), 1, "a thread is left");
    }

    /// Waits for an end that was asked for already.
    pub(crate) fn wait(mut self) {
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn config(limits: Limits, port: u16) -> Config {
    Config { limits, ..Config::new(AuthConfig::new(AuthMode::None), port) }
}

/// The defaults, with room for many silent peers of one address.
pub(crate) fn roomy() -> Limits {
    Limits {
        preauth_sockets_per_address_max: 10_000,
        preauth_sockets_max: 10_000,
        headless_sockets_per_address_max: 10_000,
        headless_sockets_max: 10_000,
        ..Limits::default()
    }
}

/// One connection.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) -> u16 {
        self.send(get(path));
        self.response()
    }

    /// Reads one response and gives its status.
    pub(crate) fn response(&mut self) -> u16 {
        let head = self.head();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length = length.map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut ahead = [0; 1024];
            let seen = self.0.peek(&mut ahead).unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head));
            });
            assert_ne!(seen, 0, "ended after {:?}", String::from_utf8_lossy(&head));
            let before = head.len();
            head.extend_from_slice(&ahead[..seen]);
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                head.truncate(at + 4);
            }
            self.0.read_exact(&mut ahead[..head.len() - before]).unwrap();
        }
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    }

    /// Becomes a WebSocket and gives the first message.
    pub(crate) fn upgrade(&mut self) -> String {
        self.send(UPGRADE);
        assert_eq!(self.response(), 101);
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 1);
        String::from_utf8(payload).unwrap()
    }

    /// Opcode and payload of the next frame.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.0.read_exact(&mut length).unwrap();
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        (head[0] & 15, payload)
    }

    /// Sends a text message; it is masked, with a mask of zeros.
    pub(crate) fn say(&mut self, text: &str) {
        self.send(clawgate_support::raw_frame(0x81, Some([0; 4]), text.as_bytes()));
    }

    /// Reads until the server ends the connection.
    pub(crate) fn read_to_end(&mut self) {
        let mut buffer = [0; 8192];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server keeps it open");
                    return;
                }
            }
        }
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Waits for what another thread brings about, a minute at most.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

/// The key is the one of RFC 6455 section 1.3.
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
