//! What a process uses, as its operating system tells it (`/proc`, so Linux only).

use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Memory and threads of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `VmRSS`: pages in memory, in bytes.
    pub resident_bytes: u64,
    /// Those of them that are pages of files, such as the program itself; others may share them.
    pub file_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// What a process wrote so far, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// `write_bytes`: what was, or will be, sent to a disk.
    pub disk_bytes: u64,
    /// `wchar`: what was given to `write` of any kind, pipes and terminals included.
    pub any_bytes: u64,
}

/// Usage of a process now.
///
/// # Errors
/// It is gone, or this is not Linux.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name| number(&status, name);
    Ok(Usage {
        resident_bytes: field("VmRSS")? * KIB,
        file_bytes: field("RssFile")? * KIB,
        threads: field("Threads")?,
    })
}

/// Usage of a process once its memory stays the same for a second, or `bound` has passed.
///
/// # Errors
/// As [`usage`].
pub fn settled(pid: u32, bound: Duration) -> io::Result<Usage> {
    let bound = Instant::now() + bound;
    let mut last = usage(pid)?;
    let mut same = 0;
    while same < SAME && Instant::now() < bound {
        std::thread::sleep(SAMPLE);
        let next = usage(pid)?;
        same = if next == last { same + 1 } else { 0 };
        last = next;
    }
    Ok(last)
}

/// Processor time that the threads of a process took so far, in seconds. Those that have ended do not count.
///
/// # Errors
/// As [`usage`].
pub fn processor_seconds(pid: u32) -> io::Result<f64> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos as f64 / 1e9)
}

/// Open descriptors of a process.
///
/// # Errors
/// As [`usage`].
pub fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// What a process wrote so far.
///
/// # Errors
/// As [`usage`].
pub fn written(pid: u32) -> io::Result<Written> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    Ok(Written { disk_bytes: number(&text, "write_bytes")?, any_bytes: number(&text, "wchar")? })
}

/// Raises this process's own limit on open descriptors, for it and the processes it starts. Gives the limit in
/// force; it is lower than `wanted` where the system allows no more.
pub fn raise_descriptor_limit(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        limit.current = Some(allowed);
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The number behind `NAME:` at the start of a line.
fn number(text: &str, name: &str) -> io::Result<u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .find_map(|value| value.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} in /proc")))
}

/// The first line of a file below `/proc` that starts with `name`, without it.
pub fn fact(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(path)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([':', ' ', '\t']).trim().to_owned())
}

const KIB: u64 = 1024;
const SAMPLE: Duration = Duration::from_millis(100);
const SAME: usize = 10;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_process_sees_itself() {
        let pid = std::process::id();
        let before = usage(pid).unwrap();
        assert!(before.threads >= 1 && before.resident_bytes > before.file_bytes);
        let ballast = vec![1_u8; 32 << 20];
        assert!(usage(pid).unwrap().resident_bytes > before.resident_bytes + (16 << 20), "{}", ballast.len());
        assert!(descriptors(pid).unwrap() >= 3);
        written(pid).unwrap();
        assert!(processor_seconds(pid).unwrap() > 0.0);
        assert!(usage(u32::MAX).is_err());
    }

    #[test]
    fn the_descriptor_limit_never_falls() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(raise_descriptor_limit(1) >= before.min(1));
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), before);
    }
}
