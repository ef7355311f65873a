//! Questions on a terminal. A secret is typed without echo, and whoever interrupts that has the terminal as it was before.

use super::super::{Failure, render};
use super::no_secret;
use clawgate_proto::wizard::Wizard;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, BufRead as _, Write as _};

/// From now on a signal that ends the program gives the terminal back first, as it is now.
///
/// # Errors
/// Signals cannot be watched.
pub(super) fn give_back_when_interrupted() -> Result<(), Failure> {
    let Ok(before) = tcgetattr(io::stdin()) else { return Ok(()) };
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|why| Failure::Failed(format!("signals cannot be watched: {why}")))?;
    let watch = move || {
        if let Some(signal) = signals.forever().next() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
            let _ = writeln!(io::stderr());
            std::process::exit(128 + signal);
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    let spawned = thread.spawn(watch);
    spawned.map(drop).map_err(|why| Failure::Failed(format!("no thread for signals: {why}")))
}

/// Shows a question until it is answered well.
pub(super) fn ask(wizard: &mut Wizard, step: &Value) -> Result<(), Failure> {
    let text = |name: &str| step[name].as_str().unwrap_or_default();
    let mut err = io::stderr();
    let broken = |why: io::Error| Failure::Failed(format!("the terminal cannot be used: {why}"));
    if text("type") == "note" {
        writeln!(err, "\n{}:\n{}\n", text("title"), text("message")).map_err(broken)?;
        return wizard.answer(None).map_err(Failure::Failed);
    }
    writeln!(err, "\n{}", text("message")).map_err(broken)?;
    for option in step["options"].as_array().into_iter().flatten() {
        let part = |name: &str| option[name].as_str().unwrap_or_default();
        writeln!(err, "  {:<9} {}: {}", part("value"), part("label"), part("hint")).map_err(broken)?;
    }
    loop {
        let usual = text("initialValue");
        let hint = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
        write!(err, "{}{hint}: ", text("title")).and_then(|()| err.flush()).map_err(broken)?;
        let line = read_line(step["sensitive"] == true)?;
        if let Some(why) = no_secret(text("id"), &line) {
            writeln!(err, "this {why}").map_err(broken)?;
            continue;
        }
        match wizard.answer(Some(&json!(line))) {
            Ok(()) => return Ok(()),
            Err(why) => writeln!(err, "{}", render::clean(&why)).map_err(broken)?,
        }
    }
}

/// One line; without echo for a secret.
pub(super) fn read_line(is_secret: bool) -> Result<String, Failure> {
    let stdin = io::stdin();
    let before = if is_secret { tcgetattr(&stdin).ok() } else { None };
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &silent);
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = &before {
        let _ = tcsetattr(&stdin, OptionalActions::Flush, before);
        let _ = writeln!(io::stderr());
    }
    match read {
        Ok(0) => {
            Err(Failure::Failed("the set-up ended before all was answered; nothing was written".to_owned()))
        }
        Ok(_) => Ok(line.trim().to_owned()),
        Err(why) => Err(Failure::Failed(format!("the answer cannot be read: {why}"))),
    }
}
