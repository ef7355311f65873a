//! What a gateway takes: time to start, memory, and what it writes while nothing happens.

use crate::handshake;
use crate::swarm::Swarm;
use clawgate_proto::client::DeviceKey;
use clawgate_support::usage::{Usage, Written, settled, written};
use clawgate_support::{Program, Settings};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// From starting the process to its first answer on a connection, in milliseconds, several times over one state
/// folder.
pub(crate) fn start_times(settings: &Settings, runtime: &str, count: usize) -> io::Result<Vec<f64>> {
    // The first start makes the folder; later ones are what a supervisor does.
    (0..=count).map(|_| start_time(settings, runtime)).skip(1).collect()
}

fn start_time(settings: &Settings, runtime: &str) -> io::Result<f64> {
    let addr = settings.addr();
    let port = addr.port().to_string();
    let mut command = settings.command(["gateway", "run", "--port", &port, "--runtime", runtime]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = Ended(command.spawn()?);
    let mut stream = loop {
        match TcpStream::connect(addr) {
            Ok(stream) => break stream,
            Err(_) if start.elapsed() < BOUND => std::thread::sleep(Duration::from_micros(100)),
            Err(why) => return Err(why),
        }
        if let Some(status) = child.0.try_wait()? {
            return Err(io::Error::other(format!("the program ended: {status}")));
        }
    };
    // That the kernel took the connection says little: the gateway has accepted it when it answers.
    stream.set_read_timeout(Some(BOUND))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    let time = start.elapsed();
    if answer != *b"HTTP/1.1 200" {
        return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
    }
    Ok(time.as_secs_f64() * 1e3)
}

/// Kills its process when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Memory of a gateway with nobody connected, then with ever more clients. The last crowd is handed on.
pub(crate) struct Memory {
    pub(crate) idle: Usage,
    /// Number of clients, and usage with them.
    pub(crate) with: Vec<(usize, Usage)>,
    pub(crate) crowd: Swarm,
}

/// Fills a gateway with admitted clients of one device.
pub(crate) fn memory(program: &Program, key: &DeviceKey, steps: &[usize]) -> io::Result<Memory> {
    let idle = settled(program.pid(), BOUND)?;
    let mut crowd = Swarm::new()?;
    let mut with = Vec::new();
    for &step in steps {
        while crowd.len() < step {
            crowd.add(handshake::client(program, key)?)?;
            if crowd.len() % 32 == 0 {
                crowd.drain(Duration::ZERO, BOUND)?;
            }
        }
        crowd.drain(QUIET, BOUND)?;
        with.push((step, settled(program.pid(), BOUND)?));
    }
    Ok(Memory { idle, with, crowd })
}

/// What a gateway wrote, and which files of its state folder changed, since this was made.
#[derive(Debug)]
pub(crate) struct Idle {
    pid: u32,
    folder: PathBuf,
    before: Written,
    files: BTreeMap<PathBuf, (u64, Option<SystemTime>)>,
}

impl Idle {
    pub(crate) fn begin(program: &Program) -> io::Result<Self> {
        let (pid, folder) = (program.pid(), program.settings().state_dir());
        let mut files = BTreeMap::new();
        list(&folder, &mut files)?;
        Ok(Self { pid, folder, before: written(pid)?, files })
    }

    /// Bytes for a disk, bytes for anything, and files that are new, gone or changed.
    pub(crate) fn end(self) -> io::Result<(u64, u64, usize)> {
        let after = written(self.pid)?;
        let mut files = BTreeMap::new();
        list(&self.folder, &mut files)?;
        let changed = files.iter().filter(|(path, state)| self.files.get(*path) != Some(*state)).count()
            + self.files.keys().filter(|path| !files.contains_key(*path)).count();
        Ok((after.disk_bytes - self.before.disk_bytes, after.any_bytes - self.before.any_bytes, changed))
    }
}

/// Size and time of every file below a folder.
fn list(folder: &Path, files: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            list(&entry.path(), files)?;
        }
        files.insert(entry.path(), (meta.len(), meta.modified().ok()));
    }
    Ok(())
}

const BOUND: Duration = Duration::from_secs(15);
/// Broadcasts about newcomers have ended when nothing came for so long.
const QUIET: Duration = Duration::from_millis(300);
