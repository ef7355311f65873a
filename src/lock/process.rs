//! Whether the process that a lock file names is still the one that wrote it. A number alone does not say: numbers
//! are given again, so the moment at which the process started counts too.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// There is none of that number, or it has ended and only waits for its parent.
    Gone,
    /// There is one; the moment at which it started, in the kernel's ticks since boot, where that can be seen.
    There(Option<u64>),
}

/// Looks.
pub fn look(pid: u32) -> Process {
    if let Some(stat) = std::fs::read(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse) {
        return stat;
    }
    // No /proc, or one that hides what is others'.
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Process::Gone };
    match test_kill_process(pid) {
        Err(Errno::SRCH) => Process::Gone,
        Ok(()) | Err(_) => Process::There(None),
    }
}

/// The moment at which this process started.
pub fn own_start_time() -> Option<u64> {
    match look(std::process::id()) {
        Process::There(start_time) => start_time,
        Process::Gone => None,
    }
}

/// Fields 3 (the state) and 22 (the start) of `/proc/PID/stat`. The second field is the name in parentheses, which
/// may hold anything.
fn parse(stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = String::from_utf8_lossy(&stat[end + 1..]);
    let mut fields = rest.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" | "x" => Some(Process::Gone),
        _ => Some(Process::There(Some(fields.nth(18)?.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn this_process_is_there_with_its_start() {
        assert_eq!(look(std::process::id()), Process::There(own_start_time()));
        assert!(!cfg!(target_os = "linux") || own_start_time().is_some());
    }

    #[test]
    fn one_that_ended_is_gone_even_before_its_parent_looks() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let bound = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while look(child.id()) != Process::Gone {
            assert!(std::time::Instant::now() < bound, "a zombie counts as alive");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        child.wait().unwrap();
        assert_eq!(look(child.id()), Process::Gone);
        assert_eq!((look(0), look(u32::MAX)), (Process::Gone, Process::Gone));
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_confuses_nobody() {
        let numbers = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(parse(format!("7 (a) Z 1 (b)) S {numbers}\n").as_bytes()), Some(Process::There(Some(22))));
        assert_eq!(parse(format!("7 (a) Z {numbers}\n").as_bytes()), Some(Process::Gone));
        assert_eq!(parse(b"7 (a) S 1 2"), None);
        assert_eq!(parse(b""), None);
    }
}
