//! Telling a service manager how this process is (the protocol of sd_notify(3)): one datagram for each message, to the
//! socket that `NOTIFY_SOCKET` names. A manager that does not listen keeps nobody waiting.

use crate::environment::Environment;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Whom to tell; nobody, when nobody asked.
#[derive(Debug, Default)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    beat_every_ms: Option<u64>,
}

impl Notifier {
    /// What `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` ask of the process `pid`.
    ///
    /// # Errors
    /// Nothing can be told there: whoever waits for it would wait in vain. A sentence for a person.
    pub fn of(environment: &Environment, pid: u32) -> Result<Self, String> {
        let Some(name) = environment.get(SOCKET) else { return Ok(Self::default()) };
        let failed = |why: &dyn core::fmt::Display| {
            format!(
                "cannot tell the service manager anything at {SOCKET}={name}: {why}\n\
                 A service manager sets it for services of Type=notify; unset it where there is none."
            )
        };
        let address = address(name).map_err(|why| failed(&why))?;
        let socket = UnixDatagram::unbound().map_err(|why| failed(&why))?;
        socket.set_nonblocking(true).map_err(|why| failed(&why))?;
        let is_ours =
            environment.get("WATCHDOG_PID").is_none_or(|text| text.parse().is_ok_and(|of: u32| of == pid));
        let micros = environment.get("WATCHDOG_USEC").filter(|_| is_ours);
        let micros = micros.and_then(|text| text.parse::<u64>().ok()).filter(|micros| *micros > 0);
        // Half the time, as sd_watchdog_enabled(3) recommends: one beat may be late.
        let beat_every_ms = micros.map(|micros| (micros / 2_000).max(BEAT_MS_MIN));
        Ok(Self { to: Some((socket, address)), beat_every_ms })
    }

    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// Between two signs of life, when some are wanted.
    pub fn beat_every_ms(&self) -> Option<u64> {
        self.beat_every_ms
    }

    /// It serves.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
        self.beat();
    }

    /// It lives.
    pub fn beat(&self) {
        if self.beat_every_ms.is_some() {
            self.tell("WATCHDOG=1");
        }
    }

    /// It cannot serve yet, is well, and will say so again within this time.
    pub fn waits(&self, status: &str, again_within: Duration) {
        let micros = again_within.as_micros();
        self.tell(&format!("EXTEND_TIMEOUT_USEC={micros}\nSTATUS={}", one_line(status)));
        self.beat();
    }

    /// It begins to end.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
    }

    /// The same process begins anew, and will be ready again.
    pub fn reloading(&self, status: &str) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000
            + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS={}", one_line(status)));
    }

    /// What does not arrive is missed by the manager, who acts on that.
    fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.to {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// An absolute path, or a name in the abstract namespace of Linux, which begins with `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    if name.starts_with('/') {
        return SocketAddr::from_pathname(name);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "only a path, or a name that begins with @, is understood",
    ))
}

/// A line break would begin the next assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Where to tell.
const SOCKET: &str = "NOTIFY_SOCKET";
/// Closer beats would be all the gateway does.
const BEAT_MS_MIN: u64 = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        socket.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        while let Ok(count) = socket.recv(&mut bytes) {
            all.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
        all.join("|")
    }

    #[test]
    fn each_message_is_one_datagram_of_assignments() {
        let folder = Folder::new();
        let path = folder.path().join("n");
        let manager = UnixDatagram::bind(&path).unwrap();
        let variables = [(SOCKET, path.to_str().unwrap()), ("WATCHDOG_USEC", "3000000")];
        let notifier = Notifier::of(&Environment::new(variables), 7).unwrap();
        assert_eq!(notifier.beat_every_ms(), Some(1_500));
        notifier.ready("listening\non 5");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=listening on 5|WATCHDOG=1");
        notifier.waits("for an address", Duration::from_secs(2));
        assert_eq!(heard(&manager), "EXTEND_TIMEOUT_USEC=2000000\nSTATUS=for an address|WATCHDOG=1");
        notifier.stopping("bye");
        assert_eq!(heard(&manager), "STOPPING=1\nSTATUS=bye");
        notifier.reloading("anew");
        let told = heard(&manager);
        assert!(
            told.starts_with("RELOADING=1\nMONOTONIC_USEC=") && told.ends_with("\nSTATUS=anew"),
            "{told}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_no_file_is_understood() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("clawgate-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::of(&Environment::new([(SOCKET, format!("@{name}").as_str())]), 7).unwrap();
        notifier.ready("x");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=x", "and no beat that nobody asked for");
    }

    #[test]
    fn a_watchdog_is_for_the_process_it_names() {
        let every = |variables: &[(&str, &str)]| {
            let all = [(SOCKET, "/nobody")].into_iter().chain(variables.iter().copied());
            Notifier::of(&Environment::new(all), 7).unwrap().beat_every_ms()
        };
        assert_eq!(every(&[]), None);
        assert_eq!(every(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "7")]), Some(30_000));
        assert_eq!(every(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "8")]), None);
        assert_eq!(every(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(every(&[("WATCHDOG_USEC", "soon")]), None);
        assert_eq!(every(&[("WATCHDOG_USEC", "1")]), Some(BEAT_MS_MIN));
    }

    #[test]
    fn nobody_to_tell_is_no_fault_and_an_address_of_another_kind_is() {
        let nobody = Notifier::of(&Environment::new([("WATCHDOG_USEC", "1000000")]), 7).unwrap();
        assert!(!nobody.is_heard() && nobody.beat_every_ms().is_none());
        nobody.ready("x");
        Notifier::of(&Environment::new([(SOCKET, "/nonexistent/socket")]), 7).unwrap().ready("x");
        for name in ["vsock:2:1234", "relative"] {
            let why = Notifier::of(&Environment::new([(SOCKET, name)]), 7).unwrap_err();
            assert!(why.contains(&format!("NOTIFY_SOCKET={name}")), "{why}");
        }
    }
}
