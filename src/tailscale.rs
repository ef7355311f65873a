//! Asking tailscaled of this machine, over its Unix socket: who an address of the tailnet is, and what this machine is
//! called there. The daemon's answer is believed because only it (or root) can listen on that socket; everything about it is
//! bounded all the same, and whatever is not exactly an answer is no answer.

pub mod serve;

use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The daemon, wherever it is, if it is.
#[derive(Clone, Debug)]
pub struct Tailscaled {
    socket: PathBuf,
    patience: Duration,
}

impl Default for Tailscaled {
    fn default() -> Self {
        Self::at(PathBuf::from(USUAL_SOCKET))
    }
}

impl Tailscaled {
    /// Listening on this socket.
    pub fn at(socket: PathBuf) -> Self {
        Self { socket, patience: PATIENCE }
    }

    /// The same, with this much time for each answer.
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where it is asked.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The login name of the user whose machine has this address.
    ///
    /// # Errors
    /// It does not answer, or does not know; for a person.
    pub fn whois(&self, ip: IpAddr) -> Result<String, String> {
        let addr = match ip {
            IpAddr::V4(ip) => format!("{ip}:0"),
            IpAddr::V6(ip) => format!("%5B{ip}%5D:0").replace(':', "%3A"),
        };
        let answer = self.get(&format!("/localapi/v0/whois?addr={addr}"))?;
        let login = answer["UserProfile"]["LoginName"].as_str().map(str::trim);
        // A machine that belongs to no person has a tag for a name, and speaks for nobody.
        match login.filter(|login| !login.is_empty() && *login != TAGGED && login.len() <= LOGIN_BYTES_MAX) {
            Some(login) => Ok(login.to_owned()),
            None => Err("its answer names no user".to_owned()),
        }
    }

    /// This machine's name in the tailnet, without the last dot.
    ///
    /// # Errors
    /// It does not answer, or has none; for a person.
    pub fn dns_name(&self) -> Result<String, String> {
        let answer = self.get("/localapi/v0/status?peers=false")?;
        let name =
            answer["Self"]["DNSName"].as_str().unwrap_or_default().trim_end_matches('.').to_lowercase();
        let is_name = |name: &str| {
            name.contains('.')
                && name.len() <= 253
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        if is_name(&name) { Ok(name) } else { Err("its answer has no name of this machine".to_owned()) }
    }

    fn get(&self, target: &str) -> Result<Value, String> {
        let until = Instant::now() + self.patience;
        let answer = self.exchange(target, until).map_err(|why| {
            let (kind, socket) = (why.kind(), self.socket.display());
            if kind == io::ErrorKind::NotFound {
                format!("there is no {socket}")
            } else if matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                format!("{socket} does not answer within {} ms", self.patience.as_millis())
            } else {
                format!("{socket} cannot be asked: {why}")
            }
        })?;
        body_of(&answer)
    }

    fn exchange(&self, target: &str, until: Instant) -> io::Result<Vec<u8>> {
        // Connecting to a Unix socket waits only when its queue is full; then it is as good as absent.
        let mut stream = connect(&self.socket)?;
        let left = || -> io::Result<Duration> {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
        };
        stream.set_write_timeout(Some(left()?))?;
        // HTTP/1.0: the answer ends where the connection does, and is not sent in chunks.
        let request = format!("GET {target} HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            stream.set_read_timeout(Some(left()?))?;
            match stream.read(&mut buffer)? {
                0 => return Ok(answer),
                read if answer.len() + read > ANSWER_BYTES_MAX => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                read => answer.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let descriptor = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&descriptor, &address)?;
    let stream = UnixStream::from(descriptor);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The JSON of a whole answer that says 200.
fn body_of(answer: &[u8]) -> Result<Value, String> {
    let not_http = || "what it answers is no HTTP".to_owned();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(not_http)?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).map_err(|_| not_http())?, &answer[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).unwrap_or_default();
    let code: u16 = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(not_http)?;
    match code {
        200 => {}
        403 => return Err("it does not tell this user (403)".to_owned()),
        404 => return Err("it does not know that address (404)".to_owned()),
        code => return Err(format!("it answers {code}")),
    }
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("it answers in chunks, which it was not asked for".to_owned());
        }
        if name.eq_ignore_ascii_case("content-length") && value.trim().parse() != Ok(body.len()) {
            return Err("its answer is not whole".to_owned());
        }
    }
    serde_json::from_slice(body).map_err(|_| "its answer is no JSON".to_owned())
}

const USUAL_SOCKET: &str = "/var/run/tailscale/tailscaled.sock";
const PATIENCE: Duration = Duration::from_secs(5);
/// A user and a machine, with what the policy says about them.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const LOGIN_BYTES_MAX: usize = 320;
/// The login name of machines that have a tag instead of a user.
const TAGGED: &str = "tagged-devices";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A daemon that answers every question with this, and says what it was asked.
    fn asked(answer: &'static [u8], ask: impl FnOnce(Tailscaled)) -> String {
        let folder = Folder::new();
        let path = folder.path().join("tailscaled.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let _ = stream.write_all(answer);
            String::from_utf8(request).unwrap()
        });
        ask(Tailscaled::at(path).within(Duration::from_secs(2)));
        daemon.join().unwrap()
    }

    #[test]
    fn a_daemon_that_answers_is_believed() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"UserProfile\":{\"LoginName\":\"a@b.example\"}}";
        let request = asked(answer, |daemon| {
            assert_eq!(daemon.whois([100, 64, 0, 7].into()), Ok("a@b.example".to_owned()));
        });
        assert!(request.starts_with("GET /localapi/v0/whois?addr=100.64.0.7:0 HTTP/1.0\r\n"), "{request}");
        assert!(request.contains("Host: local-tailscaled.sock\r\n"));
        let request = asked(answer, |daemon| assert!(daemon.whois("fd7a::1".parse().unwrap()).is_ok()));
        assert!(request.starts_with("GET /localapi/v0/whois?addr=%5Bfd7a%3A%3A1%5D%3A0 "), "{request}");
        let status = b"HTTP/1.0 200 OK\r\n\r\n{\"Self\":{\"DNSName\":\"Pi.tail1.ts.net.\"}}";
        asked(status, |daemon| assert_eq!(daemon.dns_name(), Ok("pi.tail1.ts.net".to_owned())));
    }

    #[test]
    fn whatever_is_no_answer_is_no() {
        for answer in [
            &b"HTTP/1.0 404 Not Found\r\n\r\nno match"[..],
            b"HTTP/1.0 403 Forbidden\r\n\r\n{\"UserProfile\":{\"LoginName\":\"a@b\"}}",
            b"HTTP/1.0 200 OK\r\n\r\n{\"UserProfile\":{\"LoginName\":\"\"}}",
            b"HTTP/1.0 200 OK\r\n\r\n{\"UserProfile\":{\"LoginName\":\"tagged-devices\"}}",
            b"HTTP/1.0 200 OK\r\n\r\n{\"LoginName\":7}",
            b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n{\"UserProfile\":{\"LoginName\":\"a@b\"}}",
            b"HTTP/1.0 200 OK\r\n\r\n[",
            b"{\"UserProfile\":{\"LoginName\":\"a@b\"}}",
            b"",
        ] {
            asked(answer, |daemon| assert!(daemon.whois([100, 64, 0, 7].into()).is_err(), "{answer:?}"));
        }
    }

    #[test]
    fn one_that_is_slow_endless_or_absent_costs_no_more_than_the_bound() {
        let folder = Folder::new();
        let path = folder.path().join("tailscaled.sock");
        let absent = Tailscaled::at(path.clone()).whois([100, 64, 0, 7].into()).unwrap_err();
        assert!(absent.starts_with("there is no "), "{absent}");
        let listener = UnixListener::bind(&path).unwrap();
        let slow = Tailscaled::at(path).within(Duration::from_millis(100));
        let fault = slow.whois([100, 64, 0, 7].into()).unwrap_err();
        assert!(fault.contains("does not answer within 100 ms"), "{fault}");
        let feeder = thread::spawn(move || {
            let _unread = listener.accept();
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        assert!(slow.within(Duration::from_secs(5)).whois([100, 64, 0, 7].into()).is_err());
        feeder.join().unwrap();
    }
}
