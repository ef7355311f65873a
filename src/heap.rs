//! What the C library keeps of memory that this process has used.
//!
//! glibc gives threads heaps of their own, up to eight for each processor, and each keeps what its busiest moment left. With
//! a thread for each socket, which is here today and gone tomorrow, busy moments come to every one of them in the end: memory
//! goes on growing for hours, to twice of what is needed. One heap holds what all of them need together. It keeps the
//! stacks of threads that have ended as well, up to 40 MB, with what the deepest call on each left. And once a large block was
//! given back, it takes blocks of that size, up to 32 MB, from the heap, where a small one above keeps the whole from being
//! returned to the system. Only the environment that a process begins with can say otherwise, other than unsafe code.

use signal_hook::consts::SIGPIPE;
use signal_hook::flag;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Command};
use std::sync::Arc;

/// What glibc reads when a process begins (mallopt(3)).
const VARIABLE: &str = "MALLOC_ARENA_MAX";
/// The newer way to say the same, and more.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// What is said in the latter: how many bytes of stacks are kept of threads that have ended, and from which size on a block is
/// the system's and goes back to it at once. That is the size that it begins with anyway, but one that is said stays; half of
/// it costs a quarter of the requests under load.
const TUNED: [(&str, &str); 2] =
    [("glibc.pthread.stack_cache_size", "0"), ("glibc.malloc.mmap_threshold", "131072")];
/// That this process has begun anew: its number. Of a program with more rights than its person, newer releases of glibc
/// take the other two away before it sees them.
const BEGUN: &str = "CLAWGATE_HEAP";

/// Begins anew with one heap and no spare stacks, in this process, unless somebody has said how many heaps there shall be. To
/// be called before anything is opened or started. It returns where that was said, where another C library is used, and when
/// it cannot be done: that costs memory, and is no reason not to serve.
pub(crate) fn share() {
    if !cfg!(target_env = "gnu") || is_settled(std::env::var_os, process::id()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else { return };
    if is_loader(&program) {
        return;
    }
    let mut again = Command::new(program);
    again.arg0(name).args(arguments).env(VARIABLE, "1").env(BEGUN, process::id().to_string());
    again.env(TUNABLES, tunables(&std::env::var_os(TUNABLES).unwrap_or_default()));
    let _ = again.exec();
    // It gave SIGPIPE the meaning that another program expects; here, who writes to nobody is told so.
    let _ = flag::register(SIGPIPE, Arc::default());
}

fn is_settled(variable: impl Fn(&'static str) -> Option<OsString>, process: u32) -> bool {
    let names = |tunables: &OsStr| tunables.to_string_lossy().contains("glibc.malloc.arena_max");
    variable(VARIABLE).is_some()
        || variable(TUNABLES).is_some_and(|tunables| names(&tunables))
        || variable(BEGUN).is_some_and(|number| *number == *process.to_string())
}

/// With each of [`TUNED`] of which nothing is said.
fn tunables(said: &OsStr) -> OsString {
    let mut all = said.to_owned();
    for (name, value) in TUNED {
        if said.to_string_lossy().contains(name) {
            continue;
        }
        if !all.is_empty() {
            all.push(":");
        }
        all.push(format!("{name}={value}"));
    }
    all
}

/// Whether this is the dynamic loader, which was told to run the program and must be told so again.
fn is_loader(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("ld-") || name.starts_with("ld.so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_said_is_left_as_it_is() {
        let with = |name: &'static str, value: &'static str| {
            is_settled(move |asked| (asked == name).then(|| OsString::from(value)), 7)
        };
        assert!(with(VARIABLE, "4") && with(VARIABLE, ""), "an empty one would come back for ever");
        assert!(with(TUNABLES, "glibc.malloc.check=1:glibc.malloc.arena_max=2"));
        assert!(!with(TUNABLES, "glibc.malloc.check=1") && !with("PATH", "/bin"));
        assert!(with(BEGUN, "7") && !with(BEGUN, "8"), "a gateway that another one started is not it");
    }

    #[test]
    fn what_was_said_of_other_things_stays() {
        let with = |said: &str| tunables(OsStr::new(said)).into_string().unwrap_or_default();
        let (stacks, blocks) = ("glibc.pthread.stack_cache_size=0", "glibc.malloc.mmap_threshold=131072");
        assert_eq!(with(""), format!("{stacks}:{blocks}"));
        assert_eq!(with("glibc.malloc.check=1"), format!("glibc.malloc.check=1:{stacks}:{blocks}"));
        let said = "glibc.pthread.stack_cache_size=9";
        assert_eq!(with(said), format!("{said}:{blocks}"));
    }

    #[test]
    fn the_loader_is_not_taken_for_the_program() {
        let paths = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld.so.1", "/usr/bin/clawgate", "/opt/ld/clawgate"];
        assert_eq!(paths.map(|path| is_loader(Path::new(path))), [true, true, false, false]);
    }
}
