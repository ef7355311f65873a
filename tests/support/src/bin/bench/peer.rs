//! The bare peer: the same work without a gateway, in a process of its own, as the gateway is. It echoes WebSocket
//! messages, and writes the same bytes to many plain sockets when told so.
//!
//! What a connection is for shows in its first byte: `G` begins an upgrade to the echo, `M` makes it a member of the
//! crowd, `T` makes it the one that triggers writes to all members: a length (4 bytes) and the bytes to write.

use clawgate_support::echo;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The argument that makes this program the peer.
pub(crate) const ROLE: &str = "bare-peer";

/// The running peer; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    child: Child,
    /// Closed at our end, however that comes, it tells the peer to go.
    _input: Option<ChildStdin>,
}

impl Peer {
    /// Starts this very program in that role.
    pub(crate) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(addr) => Ok(Self { addr, child, _input: input }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(io::Error::other(format!("the bare peer said {line:?}")))
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A plain socket that is written to at every trigger.
    pub(crate) fn join(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.write_all(b"M")?;
        // Its place is sure once this came.
        stream.read_exact(&mut [0])?;
        Ok(stream)
    }

    /// The connection that triggers, with a crowd that has no members yet.
    pub(crate) fn trigger(&self) -> io::Result<Trigger> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        stream.write_all(b"T")?;
        stream.read_exact(&mut [0])?;
        Ok(Trigger(stream))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// See [`Peer::trigger`].
#[derive(Debug)]
pub(crate) struct Trigger(TcpStream);

impl Trigger {
    /// Has these bytes written to every member.
    pub(crate) fn pull(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.0.write_all(&[&len.to_be_bytes(), bytes].concat())
    }
}

/// What the peer does: serves until its standard input ends.
pub(crate) fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(move || {
        let members = Arc::default();
        let budget = echo::budget();
        for stream in listener.incoming().flatten() {
            let (members, budget) = (Arc::clone(&members), budget.clone());
            // A peer that fails shows at the other end.
            std::thread::spawn(move || serve(stream, &members, budget));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn serve(
    mut stream: TcpStream,
    members: &Mutex<Vec<TcpStream>>,
    budget: clawgate_proto::budget::Budget,
) -> io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first)?;
    match first {
        [b'M'] => {
            stream.set_nodelay(true)?;
            stream.read_exact(&mut first)?;
            let mut writer = stream.try_clone()?;
            lock(members).push(stream);
            writer.write_all(b"m")
        }
        [b'T'] => {
            stream.read_exact(&mut first)?;
            lock(members).clear();
            stream.write_all(b"t")?;
            let mut bytes = Vec::new();
            loop {
                let mut len = [0; 4];
                stream.read_exact(&mut len)?;
                bytes.resize(u32::from_be_bytes(len) as usize, 0);
                stream.read_exact(&mut bytes)?;
                for member in lock(members).iter_mut() {
                    member.write_all(&bytes)?;
                }
            }
        }
        _ => echo::serve(stream, budget),
    }
}

fn lock(members: &Mutex<Vec<TcpStream>>) -> MutexGuard<'_, Vec<TcpStream>> {
    members.lock().unwrap_or_else(PoisonError::into_inner)
}
