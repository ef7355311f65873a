//! The loop: waits in one poll for keys, signals, the gateway and the time, and draws when something is another. Everything
//! that may take long, which is opening a connection, is done by a thread beside it.

use super::bells::Bells;
use super::facts::{Fact, Schedule};
use super::keys::Keys;
use super::model::{Link, Model, decided_by};
use super::rows::{Kind, Mood};
use super::screen::Screen;
use super::sheet::Ask;
use super::terminal::Terminal;
use super::ui::{Act, Now, Panel, Ui};
use super::view::view;
use crate::cli::Failure;
use crate::cli::args::ClientArgs;
use crate::cli::render;
use crate::cli::session::live::Heard;
use crate::cli::session::{Guise, Session};
use crate::environment::Environment;
use crate::log;
use clawgate_proto::client::ResponseError;
use clawgate_proto::client::policy::{Decision, Means, Reconnect};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpgrp, getsid, kill_process_group};
use rustix::termios::{QueueSelector, tcflush};
use serde_json::json;
use signal_hook::consts::{SIGCONT, SIGTSTP, SIGWINCH};
use signal_hook::low_level;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Shows the gateway until its person has seen enough.
///
/// # Errors
/// There is no gateway, it does not let us in (any more), or the terminal is gone.
pub(super) fn run(args: &ClientArgs, environment: &Environment, has_colour: bool) -> Result<(), Failure> {
    // While the terminal is still an ordinary one: what is wrong is said there.
    let session = Session::open_as(Guise::Watcher, args, environment)?;
    let mut bells = Bells::listen()?;
    let terminal = Terminal::take(&bells)?;
    let mut desk = Desk {
        args,
        environment,
        started: Instant::now(),
        model: Model::new(&session.target.url),
        ui: Ui::new(terminal.size()),
        screen: Screen::new(has_colour),
        schedule: Schedule::default(),
        keys: Keys::default(),
        reconnect: Reconnect::new(),
        asked: BTreeMap::new(),
        session: None,
        opening: None,
        is_changed: true,
        drawn_ms: None,
        opened_ms: 0,
        run_out_asked_ms: 0,
    };
    desk.opened(session);
    let ended = desk.live(&terminal, &mut bells);
    drop(terminal);
    ended
}

/// Everything that the loop works on.
struct Desk<'a> {
    args: &'a ClientArgs,
    environment: &'a Environment,
    started: Instant,
    model: Model,
    ui: Ui,
    screen: Screen,
    schedule: Schedule,
    keys: Keys,
    reconnect: Reconnect,
    asked: BTreeMap<String, Asked>,
    session: Option<Session>,
    opening: Option<Opening>,
    /// Something is to be drawn.
    is_changed: bool,
    drawn_ms: Option<u64>,
    /// When the connection was opened.
    opened_ms: u64,
    /// When the approvals were last asked for because one had run out.
    run_out_asked_ms: u64,
}

/// A question that was sent, and until when its answer is waited for.
struct Asked {
    what: What,
    until_ms: u64,
}

enum What {
    Fact(Fact),
    Decision(Box<Ask>),
}

/// A thread that opens a connection.
struct Opening {
    outcome: Receiver<Result<Session, Failure>>,
    wake: UnixStream,
}

impl Desk<'_> {
    fn live(&mut self, terminal: &Terminal, bells: &mut Bells) -> Result<(), Failure> {
        loop {
            self.ask_what_is_due();
            self.draw(terminal, bells)?;
            let ready = self.wait(bells)?;
            if ready.bells {
                if let Some(ended) = bells.ended() {
                    return Err(ended);
                }
                for signal in bells.take() {
                    match signal {
                        SIGWINCH => self.resized(terminal),
                        SIGTSTP => self.stop(terminal, bells)?,
                        SIGCONT => self.go_on(terminal, bells)?,
                        _ => {}
                    }
                }
            }
            // What a key is about may just have changed.
            self.hear();
            if ready.keys && self.read_keys(terminal)? {
                break;
            }
            if !ready.keys && ready.is_known && self.expire_key(terminal)? {
                break;
            }
            self.look_at_opening()?;
            self.forget_unanswered();
        }
        if let Some(session) = self.session.take() {
            session.close();
        }
        Ok(())
    }

    fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono_ms, wall_ms: log::wall_ms() }
    }

    // ---- waiting and drawing ----

    /// How long nothing has to be done, if nothing comes.
    fn patience(&self) -> Duration {
        let now = self.now().mono_ms;
        let drawn = self.drawn_ms.unwrap_or(0);
        // Times on the screen change by themselves.
        let draw = drawn + if self.is_changed { DRAW_EVERY_MS } else { LOOK_EVERY_MS };
        let again = match &self.model.link {
            Link::Gone { again_ms, .. } => *again_ms,
            Link::Open => None,
        };
        let unanswered = self.asked.values().map(|asked| asked.until_ms).min();
        let ask = self.session.as_ref().and_then(|_| self.schedule.next());
        let next = [Some(draw), again, unanswered, ask].into_iter().flatten().min().unwrap_or(draw);
        let mut patience = Duration::from_millis(next.saturating_sub(now));
        if let Some(at_most) = self.session.as_ref().and_then(Session::wait_at_most) {
            patience = patience.min(at_most.max(Duration::from_millis(1)));
        }
        self.keys.wait_ms(now).map_or(patience, |key| patience.min(Duration::from_millis(key)))
    }

    fn wait(&self, bells: &Bells) -> Result<Ready, Failure> {
        if bells.is_ringing() {
            return Ok(Ready { keys: false, bells: true, is_known: false });
        }
        let patience = self.patience();
        // None: too long for a clock.
        let time = Timespec::try_from(patience).ok();
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(&stdin, PollFlags::IN), PollFd::new(bells, PollFlags::IN)];
        if let Some(session) = &self.session {
            fds.push(PollFd::new(session, PollFlags::IN));
        }
        if let Some(opening) = &self.opening {
            fds.push(PollFd::from_borrowed_fd(opening.wake.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, time.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready { keys: false, bells: true, is_known: false }),
            Err(why) => return Err(Failure::Failed(format!("nothing can be waited for: {why}"))),
        }
        Ok(Ready { keys: !fds[0].revents().is_empty(), bells: !fds[1].revents().is_empty(), is_known: true })
    }

    fn draw(&mut self, terminal: &Terminal, bells: &Bells) -> Result<(), Failure> {
        let now = self.now();
        let every = if self.is_changed { DRAW_EVERY_MS } else { LOOK_EVERY_MS };
        if self.drawn_ms.is_some_and(|drawn| now.mono_ms < drawn + every) {
            return Ok(());
        }
        self.ui.settle(&self.model, now);
        if self.ui.has_new_question() {
            // Typed ahead: it cannot be about what is drawn only now.
            let _ = tcflush(io::stdin(), QueueSelector::IFlush);
            self.keys = Keys::default();
        }
        let painted = self.screen.paint(view(&self.ui, &self.model, now), self.ui.size.columns);
        self.drawn_ms = Some(now.mono_ms);
        self.is_changed = false;
        if !painted.is_empty() {
            terminal.write(&painted, bells)?;
        }
        self.ui.drawn(&self.model, self.now());
        Ok(())
    }

    fn resized(&mut self, terminal: &Terminal) {
        self.ui.resize(terminal.size());
        self.screen.forget();
        self.is_changed = true;
    }

    /// The terminal's own stop key, to everybody who is in the foreground with us. Where no shell could wake us again,
    /// nothing happens.
    fn suspend(&mut self) {
        let (group, now) = (getpgrp(), self.now());
        if getsid(None).is_ok_and(|session| session == group) {
            return self.ui.say(Mood::Plain, "there is no shell that could go on with it", now);
        }
        let _ = kill_process_group(group, Signal::TSTP);
    }

    fn stop(&mut self, terminal: &Terminal, bells: &Bells) -> Result<(), Failure> {
        terminal.leave();
        let _ = low_level::emulate_default_handler(SIGTSTP);
        self.go_on(terminal, bells)
    }

    fn go_on(&mut self, terminal: &Terminal, bells: &Bells) -> Result<(), Failure> {
        // In the background its modes are another's, and a screen would be drawn over what that one writes.
        while !terminal.is_ours() {
            if let Some(ended) = bells.ended() {
                return Err(ended);
            }
            if low_level::emulate_default_handler(SIGTSTP).is_err() {
                break;
            }
        }
        terminal.enter(bells)?;
        self.resized(terminal);
        Ok(())
    }

    // ---- keys ----

    /// Whether it was enough.
    fn read_keys(&mut self, terminal: &Terminal) -> Result<bool, Failure> {
        let mut bytes = [0; 1_024];
        // Not through the buffer of the standard library: what it holds cannot be polled.
        let keys = match rustix::io::read(io::stdin(), &mut bytes[..]) {
            // The terminal was closed.
            Ok(0) => return Err(Failure::Reported(128 + 1)),
            Ok(count) => self.keys.read(&bytes[..count], self.now().mono_ms),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Vec::new(),
            Err(why) => return Err(Failure::Failed(format!("the terminal is gone: {why}"))),
        };
        for key in keys {
            if self.press(key, terminal)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn expire_key(&mut self, terminal: &Terminal) -> Result<bool, Failure> {
        match self.keys.expire(self.now().mono_ms) {
            Some(key) => self.press(key, terminal),
            None => Ok(false),
        }
    }

    fn press(&mut self, key: super::keys::Key, terminal: &Terminal) -> Result<bool, Failure> {
        let now = self.now();
        self.is_changed = true;
        let act = self.ui.press(key, &mut self.model, now);
        self.schedule.want_log(self.ui.panel == Panel::Log, now.mono_ms);
        match act {
            None => {}
            Some(Act::Quit) => return Ok(true),
            Some(Act::Suspend) => self.suspend(),
            Some(Act::Redraw) => self.resized(terminal),
            Some(Act::Refresh) => {
                self.schedule.age(Fact::ALL, now.mono_ms);
                if let Link::Gone { again_ms: Some(again_ms), .. } = &mut self.model.link {
                    *again_ms = now.mono_ms;
                }
            }
            Some(Act::Decide(ask)) => self.decide(ask),
        }
        Ok(false)
    }

    // ---- the gateway ----

    fn opened(&mut self, mut session: Session) {
        let now = self.now();
        self.model.opened(&session.hello.0, &session.hello.scopes(), now.wall_ms);
        self.opened_ms = now.mono_ms;
        self.asked.clear();
        self.schedule.restart(now.mono_ms);
        for notice in session.notices.drain(..) {
            self.ui.say(Mood::Waits, render::clean(&notice), now);
        }
        self.session = Some(session);
        self.is_changed = true;
    }

    fn ask_what_is_due(&mut self) {
        if self.session.is_none() {
            return;
        }
        let now = self.now();
        // Which of them wait the gateway says, and not at once when its clock is behind.
        if self.model.has_run_out(now.wall_ms) && now.mono_ms >= self.run_out_asked_ms + RUN_OUT_EVERY_MS {
            self.run_out_asked_ms = now.mono_ms;
            self.schedule.age([Fact::ExecApprovals, Fact::PluginApprovals], now.mono_ms);
        }
        for fact in self.schedule.take(now.mono_ms) {
            let params = fact.params(self.model.log_cursor);
            self.send(fact.method(), params, What::Fact(fact));
        }
    }

    fn decide(&mut self, ask: Box<Ask>) {
        let (method, word) = decided_by(ask.question.kind, ask.answer);
        let params = match ask.question.kind {
            Kind::Device | Kind::Node => json!({ "requestId": ask.question.id }),
            Kind::Exec | Kind::Plugin => json!({ "id": ask.question.id, "decision": word }),
        };
        self.send(method, params, What::Decision(ask));
    }

    fn send(&mut self, method: &str, params: serde_json::Value, what: What) {
        let Some(session) = &mut self.session else { return self.never_answered(what) };
        match session.send(method, params, self.args.timeout) {
            Ok(id) => {
                let until_ms = self.now().mono_ms.saturating_add(self.args.timeout);
                self.asked.insert(id, Asked { what, until_ms });
            }
            Err(why) => {
                self.lost(&why);
                self.never_answered(what);
            }
        }
    }

    /// The connection ended first.
    fn never_answered(&mut self, what: What) {
        if let What::Decision(ask) = what {
            self.ui.say_unknown(&ask);
            self.is_changed = true;
        }
    }

    fn hear(&mut self) {
        let Some(session) = &mut self.session else { return };
        let mut heard = Vec::new();
        let ended = session.hear(&mut heard);
        for heard in heard {
            self.is_changed = true;
            let now = self.now();
            match heard {
                Heard::Event(event) => {
                    self.schedule.aged_by(&event.name, now.mono_ms);
                    let payload = event.payload.as_ref().map_or("", |raw| raw.get());
                    self.model.heard(&event.name, payload, || event.value(), now.wall_ms);
                }
                Heard::Gap => self.schedule.age(Fact::ALL, now.mono_ms),
                Heard::Answer(response) => {
                    let Some(asked) = self.asked.remove(&response.id) else { continue };
                    match (asked.what, response.into_result()) {
                        (What::Fact(fact), Err(error)) if lacks_scope(&error) => {
                            self.schedule.refused(fact);
                            self.model.refused(fact, &error.to_string());
                        }
                        (what, answer) => {
                            let answer = answer.map_err(|error| error.to_string());
                            self.answered(what, answer.as_ref().map_err(String::as_str));
                        }
                    }
                }
            }
        }
        if let Err(why) = ended {
            self.lost(&why);
        }
    }

    fn answered(&mut self, what: What, answer: Result<&serde_json::Value, &str>) {
        let now = self.now();
        match what {
            What::Fact(fact) => {
                self.schedule.answered(fact, now.mono_ms);
                match answer {
                    Ok(answer) => self.model.learn(fact, answer),
                    Err(why) => self.model.failed(fact, why),
                }
            }
            What::Decision(ask) => {
                match answer {
                    Ok(_) => self.ui.say(Mood::Good, ask.done(), now),
                    Err(why) => self.ui.say(Mood::Bad, render::clean(why), now),
                }
                self.schedule.age(Fact::ALL, now.mono_ms);
            }
        }
    }

    fn forget_unanswered(&mut self) {
        let now = self.now().mono_ms;
        let late: Vec<String> =
            self.asked.iter().filter(|(_, asked)| asked.until_ms <= now).map(|(id, _)| id.clone()).collect();
        for id in late {
            if let Some(asked) = self.asked.remove(&id) {
                self.is_changed = true;
                self.answered(asked.what, Err("the gateway did not answer in time (see --timeout)"));
            }
        }
    }

    fn lost(&mut self, why: &Failure) {
        self.session = None;
        for (_, asked) in std::mem::take(&mut self.asked) {
            self.never_answered(asked.what);
        }
        self.schedule.stop();
        // One that lets us in and closes at once is a failure like another, and the pauses grow.
        if self.now().mono_ms >= self.opened_ms.saturating_add(STEADY_MS) {
            self.reconnect.connected();
        }
        // A gateway that said when it will be back is not asked before.
        let expected = self.model.leaving.as_ref().and_then(|leaving| leaving.expected_ms);
        let after_ms = expected.unwrap_or_else(|| self.back_off());
        self.wait_for_it(why, after_ms);
    }

    fn wait_for_it(&mut self, why: &Failure, after_ms: u64) {
        self.model.lost(&why.message(), self.now().mono_ms.saturating_add(after_ms));
        self.is_changed = true;
    }

    fn back_off(&mut self) -> u64 {
        match self.reconnect.ended(None, Means::default()) {
            Decision::Retry { after_ms } => after_ms,
            // It stops for refusals only.
            Decision::Stop => AGAIN_MS,
        }
    }

    /// Begins to look for the gateway when it is time, and takes what was found.
    fn look_at_opening(&mut self) -> Result<(), Failure> {
        let outcome = match &self.opening {
            None => return self.open_when_due(),
            Some(opening) => match opening.outcome.try_recv() {
                Ok(outcome) => outcome,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::Failed(
                        "a thread of this program ended: a defect, please report it".to_owned(),
                    ));
                }
            },
        };
        self.opening = None;
        // It is not as it was announced any more.
        self.model.leaving = None;
        match outcome {
            Ok(session) => {
                self.opened(session);
                return Ok(());
            }
            // The gateway is not there yet, or its files are just being written.
            Err(why @ (Failure::Unreachable(_) | Failure::Failed(_))) => {
                let after_ms = self.back_off();
                self.wait_for_it(&why, after_ms);
            }
            Err(Failure::Refused { message, error }) => {
                match self.reconnect.ended(Some(&error), Means::default()) {
                    Decision::Retry { after_ms } => {
                        self.wait_for_it(&Failure::Refused { message, error }, after_ms);
                    }
                    Decision::Stop => return Err(Failure::Refused { message, error }),
                }
            }
            Err(why) => return Err(why),
        }
        Ok(())
    }

    fn open_when_due(&mut self) -> Result<(), Failure> {
        let Link::Gone { again_ms: Some(again_ms), .. } = &self.model.link else { return Ok(()) };
        if self.now().mono_ms < *again_ms {
            return Ok(());
        }
        self.model.trying();
        self.is_changed = true;
        let failed = |why: io::Error| Failure::Failed(format!("no thread can be started: {why}"));
        let (wake, mut ring) = UnixStream::pair().map_err(failed)?;
        let (sender, outcome) = channel();
        let (args, environment) = (self.args.clone(), self.environment.clone());
        let open = move || {
            let _ = sender.send(Session::open_as(Guise::Watcher, &args, &environment));
            let _ = ring.write_all(&[1]);
        };
        std::thread::Builder::new().name("open".to_owned()).spawn(open).map_err(failed)?;
        self.opening = Some(Opening { outcome, wake });
        Ok(())
    }
}

/// Whether it was refused because of what this connection may do, which does not change while it lasts.
fn lacks_scope(error: &ResponseError) -> bool {
    let code = error.details.as_ref().map(|details| &details["code"]);
    // Protocol 3 has the words only.
    code.is_some_and(|code| code == "MISSING_SCOPE") || error.message.starts_with("missing scope: ")
}

/// What can be read.
struct Ready {
    keys: bool,
    bells: bool,
    /// Whether that was found out; a signal may come before it is.
    is_known: bool,
}

/// Between two drawings, at least.
const DRAW_EVERY_MS: u64 = 100;
/// Between two looks at what changes with the time alone.
const LOOK_EVERY_MS: u64 = 1_000;
/// A connection that lasted so long was a good one.
const STEADY_MS: u64 = 10_000;
/// Between two questions about approvals whose time is over.
const RUN_OUT_EVERY_MS: u64 = 2_000;
const AGAIN_MS: u64 = 1_000;
