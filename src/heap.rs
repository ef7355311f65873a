//! How many heaps the C library keeps for this process.
//!
//! glibc gives threads heaps of their own, up to eight for each processor, and each keeps what its busiest moment left. With
//! a thread for each socket, which is here today and gone tomorrow, busy moments come to every one of them in the end: memory
//! goes on growing for hours, to twice of what is needed. One heap holds what all of them need together. Only the environment
//! that a process begins with can say so, other than unsafe code.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What glibc reads when a process begins (mallopt(3)).
const VARIABLE: &str = "MALLOC_ARENA_MAX";
/// The newer way to say the same, and more.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Begins anew with one heap, in this process, unless somebody has said how many there shall be. To be called before
/// anything is opened or started. It returns where that was said, where another C library is used, and when it cannot be
/// done: that costs memory, and is no reason not to serve.
pub(crate) fn share() {
    if !cfg!(target_env = "gnu") || is_said(std::env::var_os) {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else { return };
    let _ = Command::new(program).arg0(name).args(arguments).env(VARIABLE, "1").exec();
}

fn is_said(variable: impl Fn(&'static str) -> Option<OsString>) -> bool {
    let names = |tunables: &OsStr| tunables.to_string_lossy().contains("glibc.malloc.arena_max");
    variable(VARIABLE).is_some() || variable(TUNABLES).is_some_and(|tunables| names(&tunables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_said_is_left_as_it_is() {
        let with = |name: &'static str, value: &'static str| {
            is_said(move |asked| (asked == name).then(|| OsString::from(value)))
        };
        assert!(with(VARIABLE, "4") && with(VARIABLE, ""), "an empty one would come back for ever");
        assert!(with(TUNABLES, "glibc.malloc.check=1:glibc.malloc.arena_max=2"));
        assert!(!with(TUNABLES, "glibc.malloc.check=1") && !with("PATH", "/bin"));
    }
}
