//! One event to everybody, beside as many bare writes of the same bytes.

use crate::peer::Peer;
use crate::stats::{median, micros, timed};
use crate::swarm::Swarm;
use clawgate_support::wire::text_frame;
use clawgate_support::{Wire, raw_frame};
use std::io;
use std::time::Duration;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fanout {
    /// Gateway's time by bare time, in the middle round.
    pub(crate) ratio: f64,
    pub(crate) gateway_micros: f64,
    pub(crate) bare_micros: f64,
    pub(crate) event_bytes: usize,
}

/// The first of `crowd` asks for something that everybody is told: from then to the last byte of the last one, and
/// in turn the same from a peer that does nothing but write.
pub(crate) fn measure(crowd: &mut Swarm, peer: &Peer, rounds: usize) -> io::Result<Fanout> {
    let mut bare = Swarm::new()?;
    let mut trigger = peer.trigger()?;
    for _ in 0..crowd.len() {
        bare.add(Wire::plain(peer.join()?))?;
    }
    let (mut gateway_micros, mut bare_micros, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut event_bytes = 0;
    for round in 0..=rounds {
        crowd.drain(PAUSE, BOUND)?;
        let text = format!(
            r#"{{"type":"req","id":"{round}","method":"system-event","params":{{"text":"Node: bench","deviceId":"bench","reason":"{round}"}}}}"#
        );
        let request = text_frame(&text);
        let (event, ours) = timed(|| {
            crowd.send(0, &request)?;
            crowd.await_each(PRESENCE, BOUND)
        })?;
        let frame = raw_frame(0x81, None, &event);
        bare.drain(PAUSE, BOUND)?;
        let (_, theirs) = timed(|| {
            trigger.pull(&frame)?;
            bare.await_each(PRESENCE, BOUND)
        })?;
        // The first round warms both up.
        if round > 0 {
            ratios.push(micros(ours) / micros(theirs));
            gateway_micros.push(micros(ours));
            bare_micros.push(micros(theirs));
        }
        event_bytes = frame.len();
    }
    Ok(Fanout {
        ratio: median(&ratios),
        gateway_micros: median(&gateway_micros),
        bare_micros: median(&bare_micros),
        event_bytes,
    })
}

const PRESENCE: &[u8] = br#"{"type":"event","event":"presence""#;
/// Longer than the gateway waits before it tells about presence again.
const PAUSE: Duration = Duration::from_millis(80);
const BOUND: Duration = Duration::from_secs(20);
