//! A gateway on plain non-blocking `std::net` sockets and one thread, with neither of the project's drivers:
//! `cargo run -p clawgate-proto --example sockets`. Its device store lives in memory, and ends with the process.
//!
//! The standard library cannot wait for many sockets, so this loop naps. Put your poller where the nap is.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a driver owns sockets and clocks")]

use clawgate_proto::config::{About, AuthConfig, AuthMode, Config};
use clawgate_proto::host::{self, Document, HostFault, StoreFault, Version, Write};
use clawgate_proto::{Connection, Gateway, Host, Input, Mono, Next, Now, Output, Peer, Wall};
use clawgate_proto::{id::ConnId, log::Record, secret::Secret, seed::Seed};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:18790")?;
    println!("ws://{}, token: an example is no secret", listener.local_addr()?);
    serve(&listener, "an example is no secret", || false)
}

/// Serves until `is_over`, then stops gently.
pub(crate) fn serve(listener: &TcpListener, token: &str, is_over: impl Fn() -> bool) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let start = Instant::now();
    let config = config(token, listener.local_addr()?.port());
    let gateway = Gateway::new(config, Seed::new(seed), now(start));
    let (host, sockets) = (Memory::default(), BTreeMap::new());
    let mut server = Server { gateway, host, sockets, accepts: true, is_done: false };
    let mut is_stopping = false;
    while !server.is_done {
        let now = now(start);
        let mut moved = server.accepts && server.accept(now, listener);
        // Harmless when nothing is due; a loop that sleeps for longer asks `next_deadline` for how long.
        server.handle(now, Input::Tick);
        if !is_stopping && is_over() {
            is_stopping = true;
            server.handle(now, Input::Stop);
        }
        for conn in server.sockets.keys().copied().collect::<Vec<_>>() {
            moved |= server.turn(now, conn);
        }
        if !moved {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

struct Server {
    gateway: Gateway,
    host: Memory,
    sockets: BTreeMap<ConnId, Socket>,
    accepts: bool,
    is_done: bool,
}

/// A socket, with bytes that were read and not taken, and bytes that were taken and not written.
struct Socket {
    stream: TcpStream,
    conn: Connection,
    received: Vec<u8>,
    wire: Vec<u8>,
}

impl Server {
    /// Accepts a socket, if there is one; an error concerns that socket only.
    fn accept(&mut self, now: Now, listener: &TcpListener) -> bool {
        let Ok((stream, remote)) = listener.accept() else { return false };
        let (Ok(()), Ok(local)) = (stream.set_nonblocking(true), stream.local_addr()) else { return true };
        let mut outputs = Vec::new();
        if let Ok(conn) = self.gateway.open(now, Peer { remote, local }, &mut outputs) {
            self.sockets.insert(conn.id(), Socket { stream, conn, received: Vec::new(), wire: Vec::new() });
        }
        self.carry_out(now, outputs);
        true
    }

    /// Hands a fact to the gateway and carries out what it orders.
    fn handle(&mut self, now: Now, input: Input) {
        let mut outputs = Vec::new();
        self.gateway.handle(now, input, &mut outputs);
        self.carry_out(now, outputs);
    }

    fn carry_out(&mut self, now: Now, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::To(conn, order) => {
                    if let Some(socket) = self.sockets.get_mut(&conn) {
                        socket.conn.apply(now, order);
                    }
                }
                // This host answers at once. One with a disk belongs on a thread of its own.
                Output::Host(ticket, request) => {
                    let answer = host::perform(&self.host, request);
                    self.handle(now, Input::Answered { ticket, answer });
                }
                Output::Log(record) => println!("{:?} {} {:?}", record.level, record.event, record.fields),
                Output::Accept(accepts) => self.accepts = accepts,
                Output::Beat => {}
                Output::Stopped => self.is_done = true,
            }
        }
    }

    /// One look at one socket; whether anything moved.
    fn turn(&mut self, now: Now, id: ConnId) -> bool {
        let Some(Socket { stream, conn, received, wire }) = self.sockets.get_mut(&id) else { return false };
        let (mut moved, mut is_gone, mut facts) = (false, false, Vec::new());
        conn.handle_timeout(now);
        if conn.wants_read() && received.is_empty() {
            let mut buffer = [0; 16 * 1024];
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => conn.receive_end(now),
            }
        }
        if conn.wants_read() && !received.is_empty() {
            received.drain(..conn.receive(now, received));
            moved = true;
        }
        while !is_gone && (!wire.is_empty() || conn.wants_write()) {
            if wire.is_empty() {
                conn.take_wire(now, wire);
            }
            match stream.write(wire) {
                Ok(count) => {
                    wire.drain(..count);
                    conn.wrote(now, count);
                    moved = true;
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(_) => is_gone = true,
            }
        }
        while let Next::Event(input) = conn.next_event(now) {
            facts.push(input);
        }
        if conn.wants_shutdown() {
            let _ = stream.shutdown(Shutdown::Write);
        }
        is_gone |= conn.is_finished();
        moved |= is_gone || !facts.is_empty();
        facts.into_iter().for_each(|input| self.handle(now, input));
        if is_gone {
            self.sockets.remove(&id);
            self.handle(now, Input::Closed { conn: id });
        }
        moved
    }
}

/// A store that forgets everything at the end. Nobody else writes to it, so no write can conflict.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Document, (Vec<u8>, Version)>>);

impl Host for Memory {
    fn version(&self, document: Document) -> Result<Version, HostFault> {
        Ok(self.read(document)?.map_or(Version::MISSING, |(_, version)| version))
    }
    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
        Ok(self.0.lock().expect("nobody panics while holding it").get(&document).cloned())
    }
    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
        let mut documents = self.0.lock().expect("nobody panics while holding it");
        let put = |write: &Write<'_>| {
            let entry = documents.entry(write.document).or_insert((Vec::new(), Version::MISSING));
            *entry = (write.content.to_vec(), Version([1, entry.1.0[1] + 1, 0, 0]));
            entry.1
        };
        Ok(writes.iter().map(put).collect())
    }
    fn system_info(&self) -> Result<bytes::Bytes, HostFault> {
        Err(HostFault("an example knows nothing about its machine".to_owned()))
    }
    fn log(&self, _: &Record) {}
}

fn now(start: Instant) -> Now {
    let (mono, wall) = (start.elapsed(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    Now { mono: Mono(mono.as_micros() as u64), wall: Wall(wall.as_millis() as u64) }
}

fn config(token: &str, port: u16) -> Config {
    let auth = AuthConfig { token: Secret::new(token), ..AuthConfig::new(AuthMode::Token) };
    let about = About { version: "example".to_owned(), ..About::default() };
    Config { about, ..Config::new(auth, port) }
}
