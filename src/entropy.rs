//! Random bytes from the operating system: seeds, keys, the generated gateway token.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// `N` random bytes. Waits while the system has none yet (a board that has just started), rather than use weak
/// ones.
///
/// # Panics
/// The system has no random generator at all; nothing safe can be done then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut out[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(why) => panic!("the system gives no random bytes: {why}"),
        }
    }
    out
}
