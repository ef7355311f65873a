//! The built program as a child process: its own state folder, a free loopback port, its output captured, and
//! killed by its process id when the test is done with it.

use crate::scratch::{TempDir, free_port, temp_dir};
use crate::secrets::{self, Kind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How to start the program.
#[derive(Clone, Debug)]
pub struct Settings {
    exe: PathBuf,
    folder: Arc<TempDir>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    port: u16,
    token: String,
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    settings: Settings,
    child: Child,
    output: Output,
}

impl Settings {
    /// `gateway run` on the driver `runtime` (`std` or `smol`), on a free loopback port, with a fresh state
    /// folder whose configuration asks for a token of the test's choice. `exe` is
    /// `env!("CARGO_BIN_EXE_clawgate")`.
    pub fn new(exe: impl Into<PathBuf>, runtime: &str) -> Self {
        let token = secrets::chosen("gateway-token");
        let auth = json!({ "mode": "token", "token": token });
        let settings = Self { token, ..Self::unconfigured(exe, runtime) };
        settings.with_config(&json!({ "gateway": { "mode": "local", "auth": auth } }))
    }

    /// The same without a configuration file: the first start of a fresh installation.
    pub fn unconfigured(exe: impl Into<PathBuf>, runtime: &str) -> Self {
        let port = free_port();
        let args = ["gateway", "run", "--port", &port.to_string(), "--runtime", runtime];
        Self {
            exe: exe.into(),
            folder: Arc::new(temp_dir()),
            args: args.map(OsString::from).into(),
            env: Vec::new(),
            port,
            token: String::new(),
        }
    }

    /// With this configuration file instead.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn with_config(self, config: &Value) -> Self {
        std::fs::create_dir_all(self.state_dir()).expect("the state folder can be made");
        std::fs::write(self.config_path(), config.to_string()).expect("the state folder can be written");
        self
    }

    /// With one more argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With one more environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// On another driver and port, over the same state folder.
    pub fn on(mut self, runtime: &str) -> Self {
        self.port = free_port();
        self.args[3] = self.port.to_string().into();
        self.args[5] = runtime.into();
        self
    }

    /// The arguments that start it.
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// The state folder.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.state_dir().join("openclaw.json")
    }

    /// The folder that stands in for the one of temporary files; the log is below it.
    pub fn temporary_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A command of the same program over the same state folder and port, with none of this process's gateway
    /// settings: for `clawgate call` and the like.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.exe);
        let foreign = |name: &OsString| {
            let name = name.to_string_lossy();
            ["OPENCLAW_", "CLAWDBOT_", "CLAWGATE_"].iter().any(|prefix| name.starts_with(prefix))
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command
            .args(args)
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("OPENCLAW_STATE_DIR", self.state_dir())
            .env("OPENCLAW_CONFIG_PATH", self.config_path())
            .env("OPENCLAW_GATEWAY_PORT", self.port.to_string())
            .env("OPENCLAW_TMP_DIR", self.folder.path())
            .env("OPENCLAW_LOG_LEVEL", "trace")
            // The network that this machine is on hears nothing of tests. Those of discovery have networks of their own.
            .env("OPENCLAW_DISABLE_BONJOUR", "1")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts the program and waits until `/healthz` answers.
    ///
    /// # Errors
    /// It ended, or was not ready within the bound; with its output.
    pub fn start(&self) -> Result<Program, String> {
        let mut command = self.command(&self.args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| format!("cannot start {}: {why}", self.exe.display()))?;
        let output = Output::of(&mut child);
        let mut program = Program { settings: self.clone(), child, output };
        let bound = Instant::now() + READY_BOUND;
        while !is_ready(self.addr()) {
            // The output of a live process is complete only when it has ended, so end it first.
            if let Ok(Some(status)) = program.child.try_wait() {
                program.output.finish();
                return Err(format!("the program ended ({status}):\n{}", program.output()));
            }
            if Instant::now() >= bound {
                program.kill();
                return Err(format!(
                    "the program was not ready within {READY_BOUND:?}:\n{}",
                    program.output()
                ));
            }
            std::thread::sleep(POLL);
        }
        program.record_secrets();
        Ok(program)
    }
}

impl Program {
    /// Starts the program `exe` on a driver, with a token of the test's choice.
    ///
    /// # Panics
    /// When it does not become ready; with its output.
    pub fn start(exe: impl Into<PathBuf>, runtime: &str) -> Self {
        match Settings::new(exe, runtime).start() {
            Ok(program) => program,
            Err(why) => panic!("{why}"),
        }
    }

    /// How it was started.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.settings.addr()
    }

    /// The shared token: the chosen one, or the one the program made at its first start.
    ///
    /// # Panics
    /// When there is none.
    pub fn token(&self) -> String {
        if self.settings.token.is_empty() {
            self.stored_token().expect("a token is configured")
        } else {
            self.settings.token.clone()
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it wrote so far, standard output and error together.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends a signal to this very process.
    ///
    /// # Panics
    /// When it has been waited for already.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It was still there at the bound, and was killed; with its output.
    pub fn stop(&mut self) -> Result<ExitStatus, String> {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It was still there at the bound, and was killed; with its output.
    pub fn wait(&mut self) -> Result<ExitStatus, String> {
        let bound = Instant::now() + STOP_BOUND;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.output.finish();
                    return Ok(status);
                }
                Ok(None) if Instant::now() < bound => std::thread::sleep(POLL),
                Ok(None) | Err(_) => {
                    self.kill();
                    return Err(format!("the program did not end within {STOP_BOUND:?}:\n{}", self.output()));
                }
            }
        }
    }

    /// Kills it (SIGKILL): what power loss looks like to everything but the disk.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.output.finish();
    }

    /// Starts it again, as it was started before, after it has ended.
    ///
    /// # Errors
    /// As [`Settings::start`].
    pub fn start_again(&mut self) -> Result<(), String> {
        *self = self.settings.clone().start()?;
        Ok(())
    }

    /// `gateway.auth.token` of the configuration file.
    fn stored_token(&self) -> Option<String> {
        let config: Value = serde_json::from_slice(&std::fs::read(self.settings.config_path()).ok()?).ok()?;
        config["gateway"]["auth"]["token"].as_str().map(str::to_owned)
    }

    /// The secrets this process made by itself: its token, and its own device key.
    fn record_secrets(&self) {
        if let Some(token) = self.stored_token() {
            secrets::record_as(Kind::GatewayToken, &token);
        }
        let identity = self.settings.state_dir().join("identity/device.json");
        let identity: Option<Value> =
            std::fs::read(identity).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(pem) = identity.as_ref().and_then(|identity| identity["privateKeyPem"].as_str()) {
            secrets::record_pem(pem);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it made after it was ready is secret as well.
        self.record_secrets();
        self.kill();
    }
}

/// Both output streams of a child, collected by a thread each.
#[derive(Debug)]
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

/// Names a folder into which the output of every program a test starts is copied, one file a process, for a
/// search over it.
pub const OUTPUT_DIR: &str = "CLAWGATE_TEST_OUTPUT";

/// Adds a text to what is searched: the log of a gateway that runs inside a test, say.
///
/// # Panics
/// When the folder cannot be written.
pub fn keep_output(name: &str, text: &str) {
    let Some(folder) = std::env::var_os(OUTPUT_DIR) else { return };
    let path = Path::new(&folder).join(format!("{name}-{}.log", std::process::id()));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the output folder can be written");
}

impl Output {
    fn of(child: &mut Child) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let copy =
            std::env::var_os(OUTPUT_DIR).map(|folder| Path::new(&folder).join(format!("{}.log", child.id())));
        let out = child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
        let err = child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>);
        let streams = out.into_iter().chain(err);
        let readers = streams.map(|stream| collect(stream, bytes.clone(), copy.clone())).collect();
        Self { bytes, readers }
    }

    /// After the end of the process: waits for the rest of its output.
    fn finish(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().expect("nobody panics while holding it");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn collect(
    mut stream: Box<dyn Read + Send>,
    bytes: Arc<Mutex<Vec<u8>>>,
    copy: Option<PathBuf>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut copy = copy.map(|path| {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .expect("the output folder can be written")
        });
        let mut buffer = [0; 8 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            bytes.lock().expect("nobody panics while holding it").extend_from_slice(&buffer[..n]);
            if let Some(copy) = &mut copy {
                copy.write_all(&buffer[..n]).expect("the output folder can be written");
            }
        }
    })
}

/// Whether `/healthz` answers 200, or that it has to be asked by TLS.
fn is_ready(addr: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, PROBE_BOUND) else { return false };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let has_answered = stream.set_read_timeout(Some(PROBE_BOUND)).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_end(&mut answer).is_ok();
    // One that speaks TLS is ready when it says so.
    let asks_for_tls = || answer.windows(TLS_SPOKEN.len()).any(|part| part == TLS_SPOKEN.as_bytes());
    has_answered && (answer.starts_with(b"HTTP/1.1 200") || asks_for_tls())
}

const TLS_SPOKEN: &str = "This port speaks TLS";

/// Longest wait for a started program.
const READY_BOUND: Duration = Duration::from_secs(30);
/// Longest wait for a stopped program.
const STOP_BOUND: Duration = Duration::from_secs(20);
/// Longest wait for one probe.
const PROBE_BOUND: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_at_once_is_told_with_its_output() {
        let settings = Settings::new("/bin/echo", "std");
        let why = settings.start().expect_err("echo is no gateway");
        assert!(why.contains("exit status: 0"), "{why}");
        let port = settings.addr().port();
        assert!(why.contains(&format!("gateway run --port {port} --runtime std")), "{why}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(Settings::new("/nonexistent/clawgate", "std").start().is_err());
    }

    #[test]
    fn a_command_carries_the_folder_and_none_of_our_own_settings() {
        let settings = Settings::new("/usr/bin/env", "std").env("OPENCLAW_EXTRA", "1");
        let output = settings.command(["-u", "PATH"]).output().expect("env runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains(&format!("OPENCLAW_CONFIG_PATH={}", settings.config_path().display())),
            "{text}"
        );
        assert!(text.contains("OPENCLAW_EXTRA=1"), "{text}");
        let config = std::fs::read_to_string(settings.config_path()).expect("the file was written");
        assert!(config.contains(secrets::MARKER) && config.contains(r#""mode":"local""#));
    }

    #[test]
    fn other_settings_share_the_folder() {
        let one = Settings::unconfigured("/bin/echo", "std");
        let two = one.clone().on("smol");
        assert_eq!(one.state_dir(), two.state_dir());
        assert_ne!(one.addr(), two.addr());
        assert!(!one.config_path().exists());
        drop(one);
        let why = two.start().expect_err("echo is no gateway");
        assert!(why.contains("--runtime smol"), "{why}");
    }
}
