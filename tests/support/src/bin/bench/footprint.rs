//! What a gateway takes: time to start, and memory.

use crate::handshake;
use crate::swarm::Swarm;
use clawgate_proto::client::DeviceKey;
use clawgate_support::usage::{Usage, settled};
use clawgate_support::{Program, Settings};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

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

const BOUND: Duration = Duration::from_secs(15);
/// Broadcasts about newcomers have ended when nothing came for so long.
const QUIET: Duration = Duration::from_millis(300);
