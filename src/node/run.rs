//! One process with a process group of its own: what it writes is kept up to a bound, and when its time is up or
//! somebody takes the command back, the whole group is killed. What leaves the group on purpose (a daemon) lives on,
//! and is not waited for.

use super::OUTPUT_BYTES_MAX;
use super::invoke::Ended;
use super::wake::{self, Waker};
use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is to be run.
#[derive(Clone)]
pub struct Job {
    /// The program's path.
    pub program: PathBuf,
    /// What it was called, for itself.
    pub name: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// All its variables.
    pub env: BTreeMap<String, String>,
    /// Where it runs; the node host's own folder when there is none.
    pub cwd: Option<PathBuf>,
    /// How long it may run.
    pub limit: Duration,
}

/// Takes a command back, before it starts or while it runs.
#[derive(Debug, Default)]
pub struct Cancel(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    waker: Option<Waker>,
}

impl Cancel {
    /// Takes it back.
    pub fn cancel(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_cancelled = true;
        if let Some(waker) = &state.waker {
            waker.wake();
        }
    }

    /// Whether it was taken back.
    pub fn is_cancelled(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_cancelled
    }

    fn arm(&self, waker: Waker) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waker = Some(waker);
    }
}

/// Runs it to its end.
pub fn run(job: &Job, cancel: &Cancel) -> Ended {
    if cancel.is_cancelled() {
        return Ended { error: Some(CANCELLED.to_owned()), ..Ended::default() };
    }
    match start(job, cancel) {
        Ok(running) => running.finish(job.limit, cancel),
        Err(why) => {
            let why = format!("{} cannot be started: {why}", job.program.display());
            Ended { error: Some(why), ..Ended::default() }
        }
    }
}

/// A process and what is known of it.
struct Running {
    child: Child,
    pid: Pid,
    has_exited: Arc<AtomicBool>,
    woken: wake::Woken,
}

fn start(job: &Job, cancel: &Cancel) -> io::Result<Running> {
    let (waker, woken) = wake::pair()?;
    cancel.arm(waker.another()?);
    let mut command = Command::new(&job.program);
    command.arg0(&job.name).args(&job.args).env_clear().envs(&job.env).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(cwd) = &job.cwd {
        command.current_dir(cwd);
    }
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let has_exited = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&has_exited);
    // It is not reaped here: as long as it is not, its number, and so its group's, is nobody else's.
    let watch = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
        seen.store(true, Ordering::Release);
        waker.wake();
    };
    let thread = std::thread::Builder::new().name("exit".to_owned()).stack_size(STACK_BYTES);
    let mut running = Running { child, pid, has_exited, woken };
    if let Err(why) = thread.spawn(watch) {
        running.kill();
        let _ = running.child.wait();
        return Err(why);
    }
    Ok(running)
}

impl Running {
    fn kill(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    fn finish(mut self, limit: Duration, cancel: &Cancel) -> Ended {
        let mut out = Stream::of(self.child.stdout.take().map(OwnedFd::from));
        let mut err = Stream::of(self.child.stderr.take().map(OwnedFd::from));
        let deadline = Instant::now().checked_add(limit);
        let mut ended = Ended::default();
        let mut killed: Option<Instant> = None;
        let mut drained_by: Option<Instant> = None;
        let has_exited = loop {
            self.woken.clear();
            let now = Instant::now();
            let has_exited = self.has_exited.load(Ordering::Acquire);
            if has_exited {
                // What it started in the background may hold its pipes open for ever.
                let by = *drained_by.get_or_insert(now + DRAIN);
                if (out.is_closed() && err.is_closed()) || now >= by {
                    break true;
                }
            } else if killed.is_none() {
                let is_cancelled = cancel.is_cancelled();
                if is_cancelled || deadline.is_some_and(|deadline| now >= deadline) {
                    ended.timed_out = !is_cancelled;
                    ended.error = is_cancelled.then(|| CANCELLED.to_owned());
                    killed = Some(now);
                    self.kill();
                }
            } else if killed.is_some_and(|killed| now >= killed + UNKILLABLE) {
                ended.error = Some("it was killed and has not ended: the system holds it".to_owned());
                break false;
            }
            let wake_by = match (drained_by, killed) {
                (Some(by), _) => Some(by),
                (None, Some(killed)) => Some(killed + UNKILLABLE),
                (None, None) => deadline,
            };
            let time = wake_by.map(|by| by.saturating_duration_since(now));
            let open = [&out, &err].into_iter().filter_map(|stream| stream.pipe.as_ref());
            let fds: Vec<_> = std::iter::once(self.woken.as_fd())
                .chain(open.map(File::as_fd))
                .map(|fd| (fd, PollFlags::IN))
                .collect();
            let ready = wake::wait(&fds, time).unwrap_or_default();
            let mut ready = ready.into_iter().skip(1);
            if out.pipe.is_some() && ready.next() == Some(true) {
                out.read(&mut err);
            }
            if err.pipe.is_some() && ready.next() == Some(true) {
                err.read(&mut out);
            }
        };
        // A process that cannot be killed is left to the system; waiting for it would never end.
        if has_exited && let Ok(status) = self.child.wait() {
            ended.code = status.code();
            // What is killed here says why by itself.
            if let Some(number) = status.signal().filter(|_| killed.is_none()) {
                let name = Signal::from_named_raw(number).map(|signal| format!("{signal:?}"));
                let name = name
                    .map(|name| format!(" (SIG{})", name.trim_matches('"').trim_start_matches("Signal::")));
                ended.error = Some(format!("ended by signal {number}{}", name.unwrap_or_default()));
            }
        }
        (ended.stdout, ended.stderr) = (out.text(), err.text());
        ended
    }
}

/// One output of a process, as far as it is kept.
struct Stream {
    pipe: Option<File>,
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Stream {
    fn of(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(File::from), bytes: Vec::new(), is_cut: false }
    }

    fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads what is there, and keeps it as far as both streams together allow.
    fn read(&mut self, other: &mut Self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 8 * 1024];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.keep(&buffer[..count], other),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.pipe = None,
        }
    }

    /// A stream may have what the other does not use, and gives it back: half of the bound is each one's own, or what is
    /// wrong could not be said behind much output.
    fn keep(&mut self, bytes: &[u8], other: &mut Self) {
        if self.is_cut {
            return;
        }
        let room = OUTPUT_BYTES_MAX - self.bytes.len() - other.bytes.len();
        let own = (OUTPUT_BYTES_MAX / 2).saturating_sub(self.bytes.len());
        let more = bytes.len().min(own).saturating_sub(room);
        if more > 0 {
            other.bytes.truncate(other.bytes.len() - more);
            other.is_cut = true;
        }
        let kept = bytes.len().min(room + more);
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.is_cut = kept < bytes.len();
    }

    fn text(&self) -> String {
        let whole = if self.is_cut { whole(&self.bytes) } else { &self.bytes };
        let mut text = String::from_utf8_lossy(whole).into_owned();
        if self.is_cut {
            text.push_str("\n... (truncated)");
        }
        text
    }
}

/// Without the beginning of a character (RFC 3629 section 3) whose rest was cut off.
fn whole(bytes: &[u8]) -> &[u8] {
    let from = bytes.len().saturating_sub(3);
    let begun = bytes[from..].iter().rposition(|byte| *byte >= 0xc0).map(|at| from + at);
    match begun {
        Some(at) if std::str::from_utf8(&bytes[at..]).is_err_and(|why| why.error_len().is_none()) => {
            &bytes[..at]
        }
        Some(_) | None => bytes,
    }
}

const CANCELLED: &str = "cancelled";
/// How long the output of a process that has ended is read while somebody else still holds its pipes.
const DRAIN: Duration = Duration::from_millis(250);
/// How long a killed process may take to go.
const UNKILLABLE: Duration = Duration::from_secs(5);
/// The thread that waits for the exit does nothing else.
const STACK_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit_ms: u64) -> Job {
        Job {
            program: "/bin/sh".into(),
            name: "sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::from([
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("A".to_owned(), "b".to_owned()),
            ]),
            cwd: Some("/".into()),
            limit: Duration::from_millis(limit_ms),
        }
    }

    fn done(script: &str) -> Ended {
        run(&sh(script, 60_000), &Cancel::default())
    }

    /// Compatibility row node-ends.
    #[test]
    fn a_command_ends_with_its_code_and_what_it_wrote() {
        let ended = done("echo out; echo err >&2; pwd; echo $A; exit 3");
        let want =
            Ended { code: Some(3), stdout: "out\n/\nb\n".into(), stderr: "err\n".into(), ..Ended::default() };
        assert_eq!(ended, want);
        assert!(done("exit 0").is_success());
        for (signal, said) in [("9", "ended by signal 9 (SIGKILL)"), ("15", "ended by signal 15 (SIGTERM)")] {
            let ended = done(&format!("echo out; kill -{signal} $$"));
            assert_eq!((ended.code, ended.stdout.as_str(), ended.timed_out), (None, "out\n", false));
            assert!(ended.error.as_ref().is_some_and(|why| why.contains(said)), "{ended:?}");
        }
        assert_eq!(done("cat; echo $?").stdout, "0\n", "its input is empty");
        let nowhere = Job { program: "/dev/null/x".into(), ..sh("", 1) };
        let ended = run(&nowhere, &Cancel::default());
        assert!(ended.error.is_some_and(|why| why.contains("/dev/null/x cannot be started")));
    }

    #[test]
    fn output_is_kept_up_to_a_bound_and_the_rest_does_not_block() {
        let ended =
            done("head -c 150000 /dev/zero | tr '\\0' a; head -c 150000 /dev/zero | tr '\\0' b >&2; exit 4");
        assert_eq!(ended.code, Some(4));
        let of = |text: &str, letter: char| text.chars().filter(|c| *c == letter).count();
        let kept = of(&ended.stdout, 'a') + of(&ended.stderr, 'b') - of("... (truncated)", 'a');
        assert!((OUTPUT_BYTES_MAX - 2..=OUTPUT_BYTES_MAX).contains(&kept), "{kept}");
        assert!(ended.stderr.ends_with("\n... (truncated)"));
    }

    #[test]
    fn neither_stream_takes_the_half_of_the_other() {
        // Much, and at its end what is wrong; and the other way round.
        for (much, little) in [("", ">&2"), (">&2", "")] {
            let ended = done(&format!(
                "head -c 300000 /dev/zero | tr '\\0' a {much}; head -c 30000 /dev/zero | tr '\\0' b {little}"
            ));
            let (many, few) =
                if much.is_empty() { (&ended.stdout, &ended.stderr) } else { (&ended.stderr, &ended.stdout) };
            assert_eq!(few.len(), 30_000);
            assert_eq!(many.len(), OUTPUT_BYTES_MAX - 30_000 + "\n... (truncated)".len());
        }
        let ended = done(
            "head -c 300000 /dev/zero | tr '\\0' a; head -c 300000 /dev/zero | tr '\\0' b >&2; echo Z; echo Z >&2",
        );
        let cut = OUTPUT_BYTES_MAX / 2 + "\n... (truncated)".len();
        assert_eq!((ended.stdout.len(), ended.stderr.len()), (cut, cut));
        assert!(!(ended.stdout.contains('Z') || ended.stderr.contains('Z')), "nothing stands behind a gap");
    }

    #[test]
    fn a_character_is_kept_whole_or_not_at_all() {
        for (bytes, want) in [
            (&b"ab"[..], "ab"),
            ("a\u{e4}".as_bytes(), "a\u{e4}"),
            (&"a\u{e4}".as_bytes()[..2], "a"),
            (&"a\u{20ac}".as_bytes()[..3], "a"),
            (&"a\u{1f980}".as_bytes()[..4], "a"),
            ("\u{1f980}".as_bytes(), "\u{1f980}"),
            // What is no UTF-8 at all is shown as such.
            (b"a\xff", "a\u{fffd}"),
            (b"a\x80\x80", "a\u{fffd}\u{fffd}"),
            (b"", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(whole(bytes)), want, "{bytes:?}");
        }
        // Three bytes each, and the bound is no multiple of three.
        let ended = done("yes '\u{20ac}' | tr -d '\\n' | head -c 300000");
        assert!(!ended.stdout.contains('\u{fffd}') && ended.stdout.ends_with("\u{20ac}\n... (truncated)"));
    }

    #[test]
    fn when_its_time_is_up_the_whole_group_goes() {
        let ended = run(&sh("echo started; sleep 1000 & sleep 1000; echo never", 200), &Cancel::default());
        assert!(ended.timed_out && ended.code.is_none() && !ended.is_success(), "{ended:?}");
        assert_eq!(ended.error, None, "the time limit says it all");
        assert_eq!(ended.stdout, "started\n");
    }

    #[test]
    fn a_command_is_taken_back_before_and_while_it_runs() {
        let cancel = Arc::new(Cancel::default());
        let other = Arc::clone(&cancel);
        let taken = std::thread::spawn(move || run(&sh("sleep 1000", 600_000), &other));
        std::thread::sleep(Duration::from_millis(50));
        cancel.cancel();
        let ended = taken.join().expect("it does not panic");
        assert_eq!((ended.error.as_deref(), ended.timed_out), (Some(CANCELLED), false));
        let ended = run(&sh("echo never", 1_000), &cancel);
        assert_eq!((ended.error.as_deref(), ended.stdout.as_str()), (Some(CANCELLED), ""));
    }

    #[test]
    fn what_is_left_in_the_background_is_not_waited_for() {
        // It ends by itself, so that a test leaves nothing behind.
        let ended = run(&sh("sleep 3 & echo here", 600_000), &Cancel::default());
        assert_eq!((ended.code, ended.stdout.as_str(), ended.timed_out), (Some(0), "here\n", false));
    }
}
