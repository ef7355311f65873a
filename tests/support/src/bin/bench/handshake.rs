//! Handshakes of a good client, with and without peers around it that mean no good.

use crate::stats::{percentile, timed};
use clawgate_proto::client::DeviceKey;
use clawgate_support::client::config_as;
use clawgate_support::siege::{Flooder, Siege, Stalled};
use clawgate_support::usage::usage;
use clawgate_support::{Program, Wire};
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Milliseconds from connecting the socket to hello-ok.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) count: usize,
}

/// The siege and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Besieged {
    pub(crate) times: Times,
    /// What the gateway's memory grew by with each half-open socket.
    pub(crate) half_open_bytes: f64,
    /// Half-open sockets that were still there at the end.
    pub(crate) standing: usize,
    /// Requests of the flooder that were answered meanwhile.
    pub(crate) flooded: u64,
}

/// A client with a device, admitted.
pub(crate) fn client(program: &Program, key: &DeviceKey) -> io::Result<Wire> {
    let addr = program.addr();
    let config = config_as(addr, "cli", "cli", Some(&program.token()), Some(key.clone()));
    Wire::admitted(TcpStream::connect(addr)?, config)
}

/// Handshakes one after the other.
pub(crate) fn measure(program: &Program, key: &DeviceKey, count: usize) -> io::Result<Times> {
    // Before the gateway loses patience with those that fell silent.
    let end = Instant::now() + BOUND;
    let mut times = Vec::with_capacity(count);
    while times.len() < count && Instant::now() < end {
        let (_wire, time) = timed(|| client(program, key))?;
        times.push(time.as_secs_f64() * 1e3);
    }
    Ok(Times { median: percentile(&times, 50.0), p99: percentile(&times, 99.0), count: times.len() })
}

/// The same while `half_open` sockets, a flooder and a stalled reader sit there.
pub(crate) fn besieged(
    program: &Program,
    key: &DeviceKey,
    half_open: usize,
    count: usize,
) -> io::Result<Besieged> {
    let token = program.token();
    let _stalled = Stalled::start(program.addr(), &token)?;
    let before = usage(program.pid())?.resident_bytes;
    let siege = Siege::lay(program.addr(), half_open, 4)?;
    std::thread::sleep(ARRIVED);
    let grown = usage(program.pid())?.resident_bytes.saturating_sub(before);
    let half_open_bytes = grown as f64 / half_open as f64;
    let flooder = Flooder::start(program.addr(), &token)?;
    let times = measure(program, key, count)?;
    Ok(Besieged { times, half_open_bytes, standing: siege.standing(), flooded: flooder.answers() })
}

const BOUND: Duration = Duration::from_secs(7);
/// The gateway has taken in what the kernel had accepted.
const ARRIVED: Duration = Duration::from_millis(500);
