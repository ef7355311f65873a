//! Many connections held by one thread: what arrives on any of them is taken as it comes.

use clawgate_support::Wire;
use clawgate_support::wire::TEXT;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The connections.
pub(crate) struct Swarm {
    members: Vec<Wire>,
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Swarm {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { members: Vec::new(), epoll, ready: Vec::with_capacity(256), buffer: vec![0; 1024 * 1024] })
    }

    /// Takes a connection in.
    pub(crate) fn add(&mut self, wire: Wire) -> io::Result<()> {
        wire.stream().set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.members.len() as u64);
        epoll::add(&self.epoll, wire.stream(), data, epoll::EventFlags::IN)?;
        self.members.push(wire);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Writes on one of them.
    pub(crate) fn send(&self, member: usize, bytes: &[u8]) -> io::Result<()> {
        self.members[member].send(bytes)
    }

    /// Waits up to `wait`, then reads once from each connection that has something, and shows what is whole:
    /// member, opcode, payload. Says whether there was anything.
    pub(crate) fn poll(
        &mut self,
        wait: Duration,
        mut seen: impl FnMut(usize, u8, &[u8]),
    ) -> io::Result<bool> {
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        self.ready.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&timeout))?;
        for at in 0..self.ready.len() {
            let member = self.ready[at].data.u64() as usize;
            match self.members[member].read(&mut self.buffer, |opcode, payload| seen(member, opcode, payload))
            {
                Ok(()) => {}
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(why) => return Err(io::Error::new(why.kind(), format!("connection {member}: {why}"))),
            }
        }
        Ok(!self.ready.is_empty())
    }

    /// Takes what arrives until nothing did for `quiet`, or `bound` has passed.
    pub(crate) fn drain(&mut self, quiet: Duration, bound: Duration) -> io::Result<()> {
        let bound = Instant::now() + bound;
        while self.poll(quiet, |_, _, _| {})? && Instant::now() < bound {}
        Ok(())
    }

    /// Keeps the connections alive for a while.
    pub(crate) fn idle(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.poll(left.min(Duration::from_millis(200)), |_, _, _| {})?;
        }
        Ok(())
    }

    /// Waits until every connection got a message that begins with `prefix`, and gives the last one.
    pub(crate) fn await_each(&mut self, prefix: &[u8], bound: Duration) -> io::Result<Vec<u8>> {
        let bound = Instant::now() + bound;
        let mut due = vec![true; self.len()];
        let mut left = due.len();
        let (mut last, mut other) = (Vec::new(), Vec::new());
        while left > 0 {
            if Instant::now() >= bound {
                let other = String::from_utf8_lossy(&other);
                return Err(io::Error::other(format!(
                    "{left} connections got no such message; another that came: {other}"
                )));
            }
            self.poll(Duration::from_millis(100), |member, opcode, payload| {
                if due[member] && payload.starts_with(prefix) {
                    due[member] = false;
                    left -= 1;
                    if left == 0 {
                        last = payload.to_vec();
                    }
                } else if opcode == TEXT {
                    other = payload.to_vec();
                }
            })?;
        }
        Ok(last)
    }
}
