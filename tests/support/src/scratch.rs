//! Folders and ports for one test, given back afterwards.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A port nobody listens on, on 127.0.0.1 and on ::1, and not given before by this process. Somebody else may
/// still take it before the test does.
///
/// # Panics
/// When no such port is found.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..100 {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be bound");
        let port = v4.local_addr().expect("a listener has an address").port();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
        let taken = v6.is_err_and(|why| why.kind() == std::io::ErrorKind::AddrInUse);
        let is_new = GIVEN.lock().is_ok_and(|mut given| given.insert(port));
        if is_new && !taken {
            return port;
        }
    }
    panic!("no free port found");
}

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
