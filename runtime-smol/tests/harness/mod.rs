//! A run on loopback with a host in memory, and a client made of plain blocking calls.
#![allow(dead_code, reason = "each test file uses a part")]

use bytes::Bytes;
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::host::{Document, HostFault, StoreFault, Version, Write};
use clawgate_proto::limits::Limits;
use clawgate_proto::log::Record;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Gateway, Host};
use clawgate_runtime_smol::{Clock, Setup, Stop, run};
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Documents and log lines, kept in memory.
#[derive(Default)]
pub(crate) struct MemoryHost {
    documents: Mutex<HashMap<&'static str, (Vec<u8>, u64)>>,
    log: Mutex<Vec<Record>>,
    /// The log panics, once, at the first record of this name.
    pub(crate) panic_at: Mutex<Option<&'static str>>,
}

impl MemoryHost {
    /// How many records of that name were written.
    pub(crate) fn logged(&self, event: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|record| record.event == event).count()
    }
}

impl Host for MemoryHost {
    fn version(&self, document: Document) -> Result<Version, HostFault> {
        let documents = self.documents.lock().unwrap();
        Ok(documents.get(document.path()).map_or(Version::MISSING, |(_, n)| Version([*n, 0, 0, 0])))
    }

    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
        let documents = self.documents.lock().unwrap();
        Ok(documents.get(document.path()).map(|(bytes, n)| (bytes.clone(), Version([*n, 0, 0, 0]))))
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
        let mut documents = self.documents.lock().unwrap();
        let versions = writes.iter().map(|write| {
            let (bytes, n) = documents.entry(write.document.path()).or_default();
            *bytes = write.content.to_vec();
            *n += 1;
            Version([*n, 0, 0, 0])
        });
        Ok(versions.collect())
    }

    fn system_info(&self) -> Result<Bytes, HostFault> {
        Ok(Bytes::from_static(b"{}"))
    }

    fn log(&self, record: &Record) {
        self.log.lock().unwrap().push(record.clone());
        let mut panic_at = self.panic_at.lock().unwrap();
        if *panic_at == Some(record.event) {
            *panic_at = None;
            drop(panic_at);
            panic!("on purpose, at {}", record.event);
        }
    }
}

/// A gateway that runs on a thread of its own.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) host: Arc<MemoryHost>,
    pub(crate) stop: Stop,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Without authentication, within those limits.
    pub(crate) fn start(limits: Limits) -> Self {
        Self::start_with(limits, Stop::new())
    }

    pub(crate) fn start_with(limits: Limits, stop: Stop) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let config = Config { limits, ..Config::new(AuthConfig::new(AuthMode::None), addr.port()) };
        let host = Arc::<MemoryHost>::default();
        let clock = Clock::start();
        let gateway = Gateway::new(config, Seed::new([1; 32]), clock.now());
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

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.addr).unwrap();
        // Far beyond what any answer takes: a hang fails the test instead of blocking it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Client { stream }
    }

    /// Asks for the end and waits for it.
    pub(crate) fn end(mut self) -> Arc<MemoryHost> {
        self.stop.stop();
        self.join()
    }

    /// Waits for the end.
    pub(crate) fn join(&mut self) -> Arc<MemoryHost> {
        self.thread.take().unwrap().join().unwrap().unwrap();
        Arc::clone(&self.host)
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

/// One TCP connection to a server.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// `GET path`, and the status of the answer.
    pub(crate) fn get(&mut self, path: &str) -> u16 {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.response().0
    }

    /// Status, head and body of one response.
    pub(crate) fn response(&mut self) -> (u16, String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(
                self.stream.read(&mut byte).unwrap(),
                1,
                "ended within {:?}",
                String::from_utf8_lossy(&head)
            );
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.map_or(0, |text| text.parse().unwrap())];
        self.stream.read_exact(&mut body).unwrap();
        (status, head, body)
    }

    /// Becomes a WebSocket and reads the challenge.
    pub(crate) fn upgrade(&mut self) -> String {
        self.send(UPGRADE);
        let (status, head, _) = self.response();
        assert_eq!(status, 101, "{head}");
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 1);
        String::from_utf8(payload).unwrap()
    }

    /// One frame of the server: opcode and payload.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let length = match head[1] {
            126 => {
                let mut more = [0; 2];
                self.stream.read_exact(&mut more).unwrap();
                usize::from(u16::from_be_bytes(more))
            }
            127 => {
                let mut more = [0; 8];
                self.stream.read_exact(&mut more).unwrap();
                usize::try_from(u64::from_be_bytes(more)).unwrap()
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        (head[0] & 0x0f, payload)
    }

    /// Sends a text frame, masked with zeros.
    pub(crate) fn text(&mut self, text: &str) {
        let mut frame = vec![0x81];
        match text.len() {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
            long => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.send(frame);
    }

    /// Reads until the server ends the connection, however it does that.
    pub(crate) fn drain(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    let kind = error.kind();
                    assert!(
                        kind != io::ErrorKind::WouldBlock && kind != io::ErrorKind::TimedOut,
                        "still open"
                    );
                    return;
                }
            }
        }
    }
}

/// Waits for something that another thread brings about; gives up after a minute.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

/// A WebSocket request, with the key of RFC 6455 section 1.3.
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
