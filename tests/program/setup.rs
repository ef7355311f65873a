//! `clawgate setup` on a terminal.

use crate::RUNTIMES;
use crate::pty::Pty;
use crate::shell::unconfigured;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let bound = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < bound, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn whoever_interrupts_the_question_for_a_secret_has_the_terminal_as_before() {
    let settings = unconfigured(RUNTIMES[0]);
    let mut pty = Pty::new();
    let here = pty.terminal();
    let has_echo = || tcgetattr(&here).unwrap().local_modes.contains(LocalModes::ECHO);
    let mut command = settings.command(["setup"]);
    command.stdin(pty.terminal()).stderr(pty.terminal()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let shown = Arc::new(Mutex::new(String::new()));
    let (mut screen, seen) = (pty.keys.try_clone().unwrap(), Arc::clone(&shown));
    std::thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    });
    for question in ["Port [", "Bind [", "Credentials ["] {
        until(question, || shown.lock().unwrap().contains(question));
        pty.keys.write_all(b"\n").unwrap();
    }
    until("a question without echo", || shown.lock().unwrap().contains("Token: ") && !has_echo());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut ended = None;
    until("an end", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(130), "{}", shown.lock().unwrap());
    assert!(has_echo());
    assert!(!settings.config_path().exists());
}
