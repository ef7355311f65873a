//! Folders and ports for one test, given back afterwards.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder that is removed, with all it holds, when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A fresh, empty folder below the system's temporary folder.
///
/// # Panics
/// When it cannot be made.
pub fn temp_dir() -> TempDir {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("clawgate-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    // A crashed process of the same number may have left one.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the temporary folder can be written");
    TempDir(path)
}

/// A port that nobody has, on any address of IPv4 and on ::1, and not given before by this process. Somebody else may
/// still take it before the test does.
///
/// # Panics
/// When no such port is found.
pub fn free_port() -> u16 {
    // Neighbours in time and in process begin far from each other.
    static NEXT: Mutex<Option<u32>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut at = next.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_micros());
        std::process::id().wrapping_mul(7_919).wrapping_add(now)
    });
    for _ in 0..GIVEN {
        at = at.wrapping_add(1);
        let port = u16::try_from(FIRST + at % GIVEN).expect("a port");
        let is_free = |ip: IpAddr| {
            TcpListener::bind((ip, port)).map_or_else(|why| why.kind() != ErrorKind::AddrInUse, |_| true)
        };
        if is_free(Ipv4Addr::UNSPECIFIED.into()) && is_free(Ipv6Addr::LOCALHOST.into()) {
            *next = Some(at);
            return port;
        }
    }
    panic!("no free port found");
}

/// Ports that systems do not hand out by themselves: one of those may belong to somebody's connection a moment later.
const FIRST: u32 = 20_000;
/// As many.
const GIVEN: u32 = 12_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_fresh_and_goes_away() {
        let (one, two) = (temp_dir(), temp_dir());
        assert_ne!(one.path(), two.path());
        std::fs::write(one.path().join("x"), "x").expect("the folder can be written");
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(two.path().is_dir());
    }

    #[test]
    fn ports_differ_and_can_be_bound() {
        let (one, two) = (free_port(), free_port());
        assert_ne!(one, two);
        TcpListener::bind((Ipv4Addr::LOCALHOST, one)).expect("the port is free");
    }
}
