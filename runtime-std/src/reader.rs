//! The thread of one socket: blocks in `recv`, hands bytes to the connection, and reports the end.
//!
//! A sleeping reader must cost little. A page of its stack that was touched once stays resident, and so does what
//! the allocator keeps for its thread, so:
//! - its buffer is small and never filled before bytes arrive; whoever sends more at a time gets a large buffer on
//!   the heap for as long as that lasts;
//! - bytes are left to a thread for guests, as long as the peer says little: the handshake, with the check of a
//!   signature in it, and a request now and then. That costs two switches of threads for each read and saves more
//!   than half of the peer's memory. A peer that says much is served on its reader's own stack, without a switch.

use crate::driver::{Cause, Driver, Reading};
use crate::pool::{Guest, Pool};
use crate::slot::Slot;
use clawgate_proto::{Mono, Now};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Virtual; only what is used becomes resident. JSON nested as deep as the parser allows takes about 70 KiB when
/// optimised, and several times that when not; to run out of it would end the process, at the wish of any admitted
/// peer, so there is plenty.
pub(crate) const STACK_BYTES: usize = if cfg!(debug_assertions) { 1024 * 1024 } else { 256 * 1024 };
/// Most requests fit.
const SMALL_BYTES: usize = 2 * 1024;
/// What a guest may say at once: upgrade, `connect` and a first request or two.
const GUEST_BYTES_MAX: u64 = 4 * 1024;
/// What a guest may say for long.
const GUEST_BYTES_PER_SECOND: u64 = 1024;
/// For a peer that sends much.
const LARGE_BYTES: usize = 64 * 1024;
/// Bytes thrown away at the end of a socket.
const DISCARD_BYTES_MAX: usize = 256 * 1024;

/// Serves one socket until it ends, and reports that.
pub(crate) fn read(driver: &Arc<Driver>, slot: &Arc<Slot>, first: Reading) {
    read_small(driver, slot, first);
    discard(slot);
    let mut scratch = driver.shelf.take(driver.clock.now());
    driver.close(&mut scratch, slot);
    driver.shelf.give(scratch);
}

#[inline(never)]
fn read_small(driver: &Arc<Driver>, slot: &Arc<Slot>, mut reading: Reading) {
    let mut small = [MaybeUninit::<u8>::uninit(); SMALL_BYTES];
    let mut guest = Guesthood { bytes: GUEST_BYTES_MAX, since: driver.clock.now().mono };
    while is_open(slot, reading) {
        reading = match recv(&slot.stream, &mut small, RecvFlags::empty()) {
            Ok(((bytes, rest), _)) if !bytes.is_empty() => {
                let is_full = rest.is_empty();
                let now = driver.clock.now();
                if guest.covers(now.mono, bytes.len()) {
                    deposit(driver, slot, bytes)
                } else if is_full {
                    read_large(driver, slot, bytes)
                } else {
                    feed(driver, slot, now, bytes)
                }
            }
            Err(Errno::INTR) => Reading::Open,
            Ok(_) | Err(_) => end(driver, slot),
        };
    }
}

/// Reads on into a large buffer, behind `first`, for as long as it gets full. What came in one piece is worked on in
/// one piece: one lock and one answer on the wire.
#[inline(never)]
fn read_large(driver: &Arc<Driver>, slot: &Arc<Slot>, first: &[u8]) -> Reading {
    let mut large = Vec::with_capacity(LARGE_BYTES);
    large.extend_from_slice(first);
    loop {
        let is_over = match recv(&slot.stream, spare_capacity(&mut large), RecvFlags::DONTWAIT) {
            Ok((count, _)) => count == 0,
            Err(error) => !matches!(error, Errno::AGAIN | Errno::INTR),
        };
        let is_full = large.len() == large.capacity();
        let reading = feed(driver, slot, driver.clock.now(), &large);
        if is_over {
            return end(driver, slot);
        }
        if !is_full || !is_open(slot, reading) {
            return reading;
        }
        large.clear();
    }
}

/// Waits until the connection wants bytes; false when it is over.
fn is_open(slot: &Slot, reading: Reading) -> bool {
    match reading {
        Reading::Open => true,
        Reading::Over => false,
        Reading::Paused => {
            let session = slot.wait_while(slot.lock(), |session| {
                !session.finished && (!session.readable || !session.deposit.is_empty())
            });
            !session.finished
        }
    }
}

/// Hands all of `bytes` to the connection, waiting as long as it takes: meanwhile TCP pushes back.
#[inline(never)]
fn feed(driver: &Arc<Driver>, slot: &Arc<Slot>, mut now: Now, mut bytes: &[u8]) -> Reading {
    loop {
        let mut scratch = driver.shelf.take(now);
        let reading = driver.work(&mut scratch, slot, Cause::Bytes(&mut bytes));
        driver.shelf.give(scratch);
        if bytes.is_empty() || !is_open(slot, reading) {
            return reading;
        }
        now = driver.clock.now();
    }
}

/// How much more a peer may say as a guest.
struct Guesthood {
    bytes: u64,
    since: Mono,
}

impl Guesthood {
    fn covers(&mut self, now: Mono, bytes: usize) -> bool {
        let micros = now.0.saturating_sub(self.since.0);
        let more = micros.saturating_mul(GUEST_BYTES_PER_SECOND) / 1_000_000;
        let have = self.bytes.saturating_add(more).min(GUEST_BYTES_MAX);
        self.bytes = have.saturating_sub(bytes as u64);
        self.since = now;
        // All of them, or a peer that sends a full buffer every millisecond would be a guest each time: that long
        // earns it a byte.
        have >= bytes as u64
    }
}

/// Leaves `bytes` to a thread for guests.
#[inline(never)]
fn deposit(driver: &Arc<Driver>, slot: &Arc<Slot>, bytes: &[u8]) -> Reading {
    slot.lock().deposit = bytes.to_vec();
    driver.guests.push(Guest(Arc::clone(slot)));
    if !Pool::<Guest>::staff(driver) {
        // Then this stack it is.
        let mut scratch = driver.shelf.take(driver.clock.now());
        driver.work(&mut scratch, slot, Cause::Mail);
        driver.shelf.give(scratch);
    }
    Reading::Paused
}

/// The peer will send no more: tells the connection, and waits until it has said what it has to say.
#[inline(never)]
fn end(driver: &Arc<Driver>, slot: &Arc<Slot>) -> Reading {
    let mut scratch = driver.shelf.take(driver.clock.now());
    driver.work(&mut scratch, slot, Cause::Ended);
    driver.shelf.give(scratch);
    drop(slot.wait_while(slot.lock(), |session| !session.finished));
    Reading::Over
}

/// Takes out what has arrived and will not be read: closing a socket on unread bytes resets it, and a reset can
/// overtake our last words.
#[inline(never)]
fn discard(slot: &Slot) {
    let mut buffer = [MaybeUninit::<u8>::uninit(); SMALL_BYTES];
    for _ in 0..DISCARD_BYTES_MAX / SMALL_BYTES {
        match recv(&slot.stream, &mut buffer, RecvFlags::DONTWAIT) {
            Ok(((bytes, _), _)) if !bytes.is_empty() => {}
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_much_is_no_guest_until_it_was_silent() {
        let mut guest = Guesthood { bytes: GUEST_BYTES_MAX, since: Mono(0) };
        assert!(guest.covers(Mono(10), 4_000));
        assert!(!guest.covers(Mono(20), 4_000), "96 bytes were left");
        assert!(!guest.covers(Mono(30), 1));
        for milli in 1..500 {
            assert!(!guest.covers(Mono(milli * 1_000), 2_000), "a stream is no trickle");
        }
        assert!(!guest.covers(Mono(499_900), 1), "too short for a byte");
        assert!(guest.covers(Mono(1_000_000), 100));
        for second in 2..100 {
            assert!(guest.covers(Mono(second * 1_000_000), 1_000), "a steady trickle");
        }
        assert!(guest.covers(Mono(u64::MAX), 4_000));
    }
}
