//! A gateway on a real driver, in this process, on a free loopback port: a [`Net`] of sockets and real time.

use crate::host::MemoryHost;
use crate::net::{Line, Net};
use clawgate_proto::Gateway;
use clawgate_proto::config::Config;
use clawgate_proto::seed::Seed;
use clawgate_proto::time::{Mono, Now};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
#[cfg(target_os = "linux")]
use rustix::net::sockopt::set_tcp_cork;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Which driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// `runtime-std`.
    Std,
    /// `runtime-smol`.
    Smol,
}

/// A running gateway and the sockets of its clients. Dropping it stops the gateway and waits for its end.
pub struct Loopback {
    addr: SocketAddrV4,
    config: Config,
    host: Arc<MemoryHost>,
    clock: Ask<Now>,
    stop: Ask<()>,
    touch: Ask<()>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    sockets: BTreeMap<Line, Socket>,
    lines: u64,
}

/// A handle of a driver, whichever it is.
type Ask<T> = Box<dyn Fn() -> T>;

struct Socket {
    stream: TcpStream,
    /// What the kernel has not taken yet.
    unsent: Vec<u8>,
    ended: bool,
    /// Nothing follows what is unsent.
    last: bool,
}

impl Loopback {
    /// Starts a gateway with this configuration; its port is chosen here.
    ///
    /// # Panics
    /// When loopback cannot be bound.
    pub fn start(driver: Driver, config: Config, host: Arc<MemoryHost>, seed: [u8; 32]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be bound");
        let port = listener.local_addr().expect("a listener has an address").port();
        let config = Config { port, ..config };
        let (gateway_config, below, seed) = (config.clone(), Arc::clone(&host), Seed::new(seed));
        let (clock, stop, touch, thread): (Ask<Now>, Ask<()>, Ask<()>, _) = match driver {
            Driver::Std => {
                use clawgate_runtime_std::{Clock, Setup, Stop, run};
                let (clock, stop) = (Clock::start(), Stop::new());
                let gateway = Gateway::new(gateway_config, seed, clock.now());
                let (handle, toucher) = (stop.clone(), stop.clone());
                let setup =
                    Setup { listeners: vec![listener], gateway, host: below, clock, stop, announcer: None };
                let thread = std::thread::spawn(move || run(setup));
                (
                    Box::new(move || clock.now()),
                    Box::new(move || handle.stop()),
                    Box::new(move || toucher.config_touched()),
                    thread,
                )
            }
            Driver::Smol => {
                use clawgate_runtime_smol::{Clock, Setup, Stop, run};
                let (clock, stop) = (Clock::start(), Stop::new());
                let gateway = Gateway::new(gateway_config, seed, clock.now());
                let (handle, toucher) = (stop.clone(), stop.clone());
                let setup =
                    Setup { listeners: vec![listener], gateway, host: below, clock, stop, announcer: None };
                let thread = std::thread::spawn(move || run(setup));
                (
                    Box::new(move || clock.now()),
                    Box::new(move || handle.stop()),
                    Box::new(move || toucher.config_touched()),
                    thread,
                )
            }
        };
        let addr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Self {
            addr,
            config,
            host,
            clock,
            stop,
            touch,
            thread: Some(thread),
            sockets: BTreeMap::new(),
            lines: 0,
        }
    }
}

impl Net for Loopback {
    fn now(&self) -> Now {
        (self.clock)()
    }

    fn connect(&mut self, from: Ipv4Addr) -> Option<Line> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = socket.expect("there are descriptors left");
        bind(&socket, &SocketAddrV4::new(from, 0)).expect("every address of 127.0.0.0/8 is ours");
        connect(&socket, &self.addr).ok()?;
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true).expect("a socket takes options");
        stream.set_nodelay(true).expect("a socket takes options");
        self.lines += 1;
        let line = Line(self.lines);
        self.sockets.insert(line, Socket { stream, unsent: Vec::new(), ended: false, last: false });
        Some(line)
    }

    fn send(&mut self, line: Line, bytes: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(&line) {
            socket.unsent.extend_from_slice(bytes);
            socket.flush();
        }
    }

    fn receive(&mut self, line: Line, bytes: &mut Vec<u8>) -> bool {
        let Some(socket) = self.sockets.get_mut(&line) else { return false };
        let mut buffer = [0; 16 * 1024];
        while !socket.ended {
            match socket.stream.read(&mut buffer) {
                Ok(0) => socket.ended = true,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => socket.ended = true,
            }
        }
        false
    }

    fn send_last(&mut self, line: Line, bytes: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(&line) {
            // What fits into a segment waits for the end and travels with it.
            #[cfg(target_os = "linux")]
            set_tcp_cork(&socket.stream, true).expect("a socket takes options");
            socket.unsent.extend_from_slice(bytes);
            socket.last = true;
            socket.flush();
        }
    }

    fn shut(&mut self, line: Line) {
        self.sockets.remove(&line);
    }

    fn wait(&mut self, until: Mono) {
        let left = until.0.saturating_sub(self.now().mono.0).clamp(1, POLL_MICROS_MAX);
        let timeout = Timespec { tv_sec: 0, tv_nsec: (left * 1_000) as i64 };
        let live = self.sockets.values_mut().filter(|socket| !socket.ended);
        let mut live: Vec<&mut Socket> = live.collect();
        let mut fds: Vec<PollFd<'_>> = live
            .iter()
            .map(|socket| {
                let writes = if socket.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
                PollFd::new(&socket.stream, PollFlags::IN | writes)
            })
            .collect();
        // Interrupted or not: the caller looks again.
        let _ = poll(&mut fds, Some(&timeout));
        drop(fds);
        live.iter_mut().for_each(|socket| socket.flush());
    }

    fn host(&self) -> &Arc<MemoryHost> {
        &self.host
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn hold_host(&mut self, is_held: bool) {
        self.host.hold(is_held);
    }

    fn touch_config(&mut self) {
        (self.touch)();
    }

    fn stop(&mut self) {
        (self.stop)();
    }

    fn is_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Socket {
    /// A gateway that is gone shows when it is read from.
    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.unsent.clear(),
            }
        }
        if std::mem::take(&mut self.last) {
            // Fails when the gateway was faster.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.host.hold(false);
        self.sockets.clear();
        (self.stop)();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            // A failed scenario has said so already, and a panic within a panic says nothing.
            if !std::thread::panicking() {
                ended.expect("the driver does not panic").expect("the driver could start");
            }
        }
    }
}

/// Longest sleep between two looks at everything.
const POLL_MICROS_MAX: u64 = 100_000;
