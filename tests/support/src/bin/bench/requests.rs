//! Requests beside a bare WebSocket echo of as many bytes: one at a time, and many on their way.

use crate::peer::Peer;
use crate::stats::{median, micros, timed};
use crate::swarm::Swarm;
use clawgate_support::Wire;
use clawgate_support::siege::EVENT;
use clawgate_support::usage::processor_seconds;
use clawgate_support::wire::{TEXT, text_frame};
use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// A ratio and what it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    /// Of the middle round.
    pub(crate) ratio: f64,
    pub(crate) gateway: f64,
    pub(crate) echo: f64,
    /// Processor time of the gateway by that of the echo, all rounds together.
    pub(crate) processor: f64,
}

/// A request with its answer's size, and an echo that moves as many bytes.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    request: Vec<u8>,
    echo: Vec<u8>,
    pub(crate) request_bytes: usize,
    pub(crate) response_bytes: usize,
}

impl Exchange {
    /// Asks once, to learn the size of the answer.
    pub(crate) fn of(method: &str, wire: &mut Wire) -> io::Result<Self> {
        let text = format!(r#"{{"type":"req","id":"1000001","method":"{method}","params":{{}}}}"#);
        let request = text_frame(&text);
        wire.send(&request)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut answer = None;
        while answer.is_none() {
            wire.read(&mut buffer, |opcode, payload| {
                if is_answer(opcode, payload) {
                    answer = Some(String::from_utf8_lossy(payload).into_owned());
                }
            })?;
        }
        let answer = answer.unwrap_or_default();
        if !answer.contains(r#""ok":true"#) {
            return Err(io::Error::other(format!("{method} was answered: {answer}")));
        }
        let echo = text_frame(&"x".repeat((text.len() + answer.len()) / 2));
        Ok(Self { request, echo, request_bytes: text.len(), response_bytes: answer.len() })
    }
}

/// Round trips over one connection each, in turns. In microseconds.
pub(crate) fn round_trips(
    exchange: &Exchange,
    gateway: &mut Wire,
    peer: &Peer,
    pid: u32,
    (rounds, per_round): (usize, usize),
) -> io::Result<Compared> {
    let mut echo = Wire::upgraded(TcpStream::connect(peer.addr)?)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut trip = |wire: &mut Wire, frame: &[u8]| -> io::Result<f64> {
        let mut times = Vec::with_capacity(per_round);
        for _ in 0..per_round {
            let (_, time) = timed(|| {
                wire.send(frame)?;
                let mut answered = false;
                while !answered {
                    wire.read(&mut buffer, |opcode, payload| answered |= is_answer(opcode, payload))?;
                }
                io::Result::Ok(())
            })?;
            times.push(micros(time));
        }
        Ok(median(&times))
    };
    compare(rounds, [pid, peer.pid()], |turn| match turn {
        Turn::Gateway => trip(gateway, &exchange.request),
        Turn::Echo => trip(&mut echo, &exchange.echo),
    })
}

/// Many requests on their way on each of several connections, in turns. In requests a second of processor time, the
/// client's included: on one processor that nobody else uses this is the rate, and on a busy one it still is the
/// ratio.
pub(crate) fn pipelined(
    exchange: &Exchange,
    gateway: &mut Swarm,
    peer: &Peer,
    pid: u32,
    (rounds, per_round): (usize, usize),
) -> io::Result<Compared> {
    let mut bare = Swarm::new()?;
    for _ in 0..gateway.len() {
        bare.add(Wire::upgraded(TcpStream::connect(peer.addr)?)?)?;
    }
    compare(rounds, [pid, peer.pid()], |turn| match turn {
        Turn::Gateway => rate(gateway, &exchange.request, per_round, pid),
        Turn::Echo => rate(&mut bare, &exchange.echo, per_round, peer.pid()),
    })
}

/// Requests a second of processor time of ours and `pid`'s, when each connection has [`WINDOW`] of them on their way.
fn rate(swarm: &mut Swarm, frame: &[u8], count: usize, pid: u32) -> io::Result<f64> {
    let spent = || Ok::<_, io::Error>(processor_seconds(std::process::id())? + processor_seconds(pid)?);
    let before = spent()?;
    let batch = frame.repeat(WINDOW);
    let members = swarm.len();
    let (mut sent, mut answered) = (0, 0);
    for member in 0..members {
        swarm.send(member, &batch)?;
        sent += WINDOW;
    }
    let mut more = vec![0; members];
    while answered < sent {
        if !swarm.poll(BOUND, |member, opcode, payload| {
            more[member] += usize::from(is_answer(opcode, payload));
        })? {
            return Err(io::Error::other(format!("{} requests were not answered", sent - answered)));
        }
        for (member, more) in more.iter_mut().enumerate().filter(|(_, more)| **more > 0) {
            answered += *more;
            // As many again; a connection's window is never exceeded.
            if sent < count {
                swarm.send(member, &batch[..*more * frame.len()])?;
                sent += *more;
            }
            *more = 0;
        }
    }
    Ok(sent as f64 / (spent()? - before))
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Gateway,
    Echo,
}

/// Both in turns; the first round warms up.
pub(crate) fn compare(
    rounds: usize,
    pids: [u32; 2],
    mut measure: impl FnMut(Turn) -> io::Result<f64>,
) -> io::Result<Compared> {
    let mut before = [0.0, 0.0];
    let (mut ratios, mut gateways, mut echoes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (gateway, echo) = (measure(Turn::Gateway)?, measure(Turn::Echo)?);
        if round == 0 {
            before = both(pids)?;
        } else {
            ratios.push(gateway / echo);
            gateways.push(gateway);
            echoes.push(echo);
        }
    }
    let after = both(pids)?;
    Ok(Compared {
        ratio: median(&ratios),
        gateway: median(&gateways),
        echo: median(&echoes),
        processor: (after[0] - before[0]) / (after[1] - before[1]).max(0.01),
    })
}

fn both(pids: [u32; 2]) -> io::Result<[f64; 2]> {
    Ok([processor_seconds(pids[0])?, processor_seconds(pids[1])?])
}

pub(crate) fn is_answer(opcode: u8, payload: &[u8]) -> bool {
    opcode == TEXT && !payload.starts_with(EVENT)
}

/// Requests on their way on one connection.
pub(crate) const WINDOW: usize = 32;
const BUFFER_BYTES: usize = 256 * 1024;
const BOUND: Duration = Duration::from_secs(20);
