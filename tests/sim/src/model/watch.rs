//! What the model sees: each fact and each order as it passes, written into the transcript and handed to the books.

use super::admission;
use super::{Conn, Model, Phase, Upgrade};
use clawgate_proto::host::{DevicesCheck, HostAnswer, HostRequest, StoreFault};
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::input::End;
use clawgate_proto::log::Level;
use clawgate_proto::{Gateway, Input, Now, Output, Peer};
use clawgate_support::world::Watch;
use std::collections::{BTreeMap, VecDeque};

impl Watch for Model {
    fn opened(&mut self, now: Now, conn: ConnId, peer: Peer) {
        self.input = "an accept";
        let book = Conn {
            peer,
            phase: Phase::Headless,
            ban: None,
            upgrade: Upgrade::default(),
            asked: None,
            queued: 0,
            paused: false,
            seq: 0,
            gaps_max: 0,
            slow_at: None,
            open: BTreeMap::new(),
            said: VecDeque::new(),
        };
        if self.conns.insert(conn, book).is_some() {
            self.accuse(now, format!("{conn} is used twice"));
        }
    }

    fn input(&mut self, now: Now, input: &Input) {
        match input {
            Input::Upgrade { conn, request } => {
                self.input = "an upgrade";
                if let Some(book) = self.conns.get_mut(conn) {
                    book.upgrade = admission::upgrade(book.peer, request);
                }
            }
            Input::Http { .. } => self.input = "an HTTP request",
            Input::Connect { conn, request } => {
                self.input = "a connect";
                self.connect(now, *conn, request);
            }
            Input::Request { conn, request } => {
                self.input = "a request";
                self.request(now, *conn, request);
            }
            Input::Drained { conn, bytes } => {
                self.input = "a drain";
                let Some(book) = self.conns.get_mut(conn) else { return };
                match book.queued.checked_sub(*bytes) {
                    Some(left) => book.queued = left,
                    None => {
                        let what = format!("{conn}: {bytes} bytes left, {} were queued", book.queued);
                        self.accuse(now, what);
                    }
                }
            }
            Input::Ending { conn, why } => {
                self.input = "an ending";
                let code = match why {
                    End::HttpFault(code) | End::WebSocketFault(code) => format!(" {code}"),
                    End::TlsFault(fault) => format!(" {}", fault.as_str()),
                    End::PeerClosed
                    | End::PeerGone
                    | End::SocketError
                    | End::HeadTimeout
                    | End::BodyTimeout
                    | End::HttpIdle
                    | End::SendTimeout
                    | End::HandshakeTimeout
                    | End::HandshakeFault
                    | End::KeepaliveTimeout
                    | End::MemoryBudget
                    | End::CloseTimeout
                    | End::Ordered => String::new(),
                };
                self.reach(format!("end {}{code}", why.as_str()));
                self.ends(now, *conn);
            }
            Input::Closed { conn } => {
                self.input = "a closed socket";
                self.ends(now, *conn);
                if self.conns.remove(conn).is_none() {
                    self.accuse(now, format!("{conn} closes twice"));
                }
            }
            Input::Answered { ticket, answer } => {
                self.input = "an answer";
                self.answered(now, *ticket, answer);
            }
            Input::ConfigTouched => {}
            Input::Stop | Input::Restart => {
                self.input = "a stop";
                if !self.stopping {
                    self.dues.expect("shutdown");
                }
                self.stopping = true;
            }
            Input::Tick => {
                self.input = "a tick";
                self.dues.ticked(now.mono, &self.config.limits);
            }
        }
    }

    fn output(&mut self, now: Now, output: &Output) {
        match output {
            Output::To(conn, order) => self.order(now, *conn, order),
            Output::Host(ticket, request) => {
                self.wave_ends(now);
                self.store.asked(*ticket, request, now.mono);
                if let HostRequest::StoreDevices { devices, paired: true, .. } = request
                    && let Err(why) = self.store.check_approvals(devices)
                {
                    self.accuse(now, why);
                }
                if let HostRequest::StoreDevices { devices, .. } = request
                    && self.store.is_known()
                    && let Err(why) = self.store.check_views(devices)
                {
                    self.accuse(now, why);
                }
                self.transcript.line(now, "gw", '!', &format!("{ticket:?} {}", show_request(request)));
            }
            Output::Log(record) => {
                let fields: Vec<String> =
                    record.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                let fields = fields.concat();
                if self.tokens.iter().any(|token| fields.contains(token)) || fields.contains(&self.secret) {
                    self.accuse(now, format!("the log line {} shows a secret", record.event));
                }
                self.reach(format!("log {}", record.event));
                if record.event == "host.silent" {
                    self.gave_up(now);
                }
                if record.level <= Level::Info {
                    let conn = record.conn.map_or("gw".to_owned(), |conn| conn.to_string());
                    self.transcript.line(now, conn, '.', &format!("{}{fields}", record.event));
                }
            }
            Output::Accept(open) => {
                self.transcript.line(now, "gw", '!', if *open { "accept" } else { "do not accept" });
            }
            Output::Beat => self.transcript.line(now, "gw", '!', "beat"),
            Output::Stopped => {
                self.wave_ends(now);
                if !self.stopped {
                    self.transcript.line(now, "gw", '!', "stopped");
                }
                self.stopped = true;
                if !self.stopping {
                    self.accuse(now, "it stops by itself");
                }
            }
        }
    }

    fn done(&mut self, now: Now, gateway: &Gateway) {
        self.done_with_input(now, gateway);
    }
}

impl Model {
    fn gave_up(&mut self, now: Now) {
        let timeout_ms = self.config.limits.host_timeout_ms;
        match self.store.given_up() {
            Some((_, (asked, is_load))) if asked.plus_millis(timeout_ms) <= now.mono => {
                if is_load {
                    self.dues.cause("health", [true, true], now.mono);
                }
            }
            Some((ticket, _)) => self.accuse(now, format!("it gives up on {ticket:?} too soon")),
            None => self.accuse(now, "it gives up on a host that it asked nothing"),
        }
    }

    fn answered(&mut self, now: Now, ticket: Ticket, answer: &HostAnswer) {
        let is_awaited = self.store.answered(ticket, answer);
        let shown = match answer {
            HostAnswer::Devices(Ok(DevicesCheck::Unchanged)) => "unchanged".to_owned(),
            HostAnswer::Devices(Ok(DevicesCheck::Changed { devices, .. })) => {
                format!("changed: {} paired, {} pending", devices.paired.len(), devices.pending.len())
            }
            HostAnswer::Devices(Err(_)) => "cannot be read".to_owned(),
            HostAnswer::Stored(Ok(_)) => "stored".to_owned(),
            HostAnswer::Stored(Err(StoreFault::Conflict)) => "conflict".to_owned(),
            HostAnswer::Stored(Err(StoreFault::Failed(why))) => format!("failed: {why}"),
            HostAnswer::SystemInfo(answer) => {
                if answer.is_ok() { "system info" } else { "no system info" }.to_owned()
            }
            HostAnswer::Channels(answer) => {
                if answer.is_ok() { "channels" } else { "no channels" }.to_owned()
            }
            HostAnswer::WhoIs(answer) => if answer.is_ok() { "a user" } else { "no user" }.to_owned(),
            HostAnswer::LogsTail(answer) => if answer.is_ok() { "log" } else { "no log" }.to_owned(),
            HostAnswer::VoiceWake(answer) => if answer.is_ok() { "words" } else { "no words" }.to_owned(),
            HostAnswer::WizardStart(answer) => {
                if answer.is_ok() { "suggestions" } else { "no suggestions" }.to_owned()
            }
            HostAnswer::Restart(answer) => if answer.is_ok() { "ready" } else { "not ready" }.to_owned(),
            HostAnswer::ExecApprovals(answer) => {
                if answer.is_ok() { "exec approvals" } else { "no exec approvals" }.to_owned()
            }
            HostAnswer::ExecApprovalsStored(answer) => {
                if answer.is_ok() { "exec approvals stored" } else { "exec approvals not stored" }.to_owned()
            }
            HostAnswer::Load(answer) => if answer.is_ok() { "load" } else { "no load" }.to_owned(),
            HostAnswer::File(answer) => if answer.is_ok() { "a file" } else { "no file" }.to_owned(),
            HostAnswer::FilePiece(answer) => {
                if answer.is_ok() { "more of a file" } else { "no more of a file" }.to_owned()
            }
            HostAnswer::FilesChanged(answer) => {
                if answer.is_ok() { "a look at files" } else { "no look at files" }.to_owned()
            }
            HostAnswer::Config(answer) => if answer.is_ok() { "config" } else { "no config" }.to_owned(),
        };
        if is_awaited && matches!(answer, HostAnswer::Load(_)) {
            self.dues.cause("health", [true, true], now.mono);
        }
        let late = if is_awaited { "" } else { " (nobody waits for it)" };
        if !is_awaited {
            self.reach("stale answer");
        }
        self.transcript.line(now, "gw", '?', &format!("{ticket:?} {shown}{late}"));
    }
}

fn show_request(request: &HostRequest) -> String {
    match request {
        HostRequest::CheckDevices { .. } => "check devices".to_owned(),
        HostRequest::StoreDevices { devices, paired, pending, setup, nodes, node_requests, .. } => {
            let paired = if *paired { format!(", {} paired", devices.paired.len()) } else { String::new() };
            let pending =
                if *pending { format!(", {} pending", devices.pending.len()) } else { String::new() };
            let also = |touched: &bool, count: usize, what: &str| {
                if *touched { format!(", {count} {what}") } else { String::new() }
            };
            let setup = also(setup, devices.setup.0.len(), "codes");
            let nodes = also(nodes, devices.nodes.len(), "nodes");
            let requests = also(node_requests, devices.node_requests.len(), "node requests");
            format!("store devices{paired}{pending}{setup}{nodes}{requests}")
        }
        HostRequest::SystemInfo => "system info".to_owned(),
        HostRequest::ExecApprovals => "exec approvals".to_owned(),
        HostRequest::StoreExecApprovals { .. } => "store exec approvals".to_owned(),
        HostRequest::Load => "load".to_owned(),
        HostRequest::Channels => "channels".to_owned(),
        HostRequest::WhoIs { ip } => format!("who is {ip}"),
        HostRequest::LogsTail(_) => "read the log".to_owned(),
        HostRequest::ReadVoiceWake => "read the wake words".to_owned(),
        HostRequest::StoreVoiceWake { triggers, .. } => format!("store {} wake words", triggers.len()),
        HostRequest::PrepareRestart => "be ready to restart".to_owned(),
        HostRequest::Config { .. } => "config".to_owned(),
        HostRequest::File(_) => "a file".to_owned(),
        HostRequest::FilePiece { .. } => "more of a file".to_owned(),
        HostRequest::LookAtFiles(_) => "whether files have changed".to_owned(),
        HostRequest::LeaveFiles(_) => "to look at files no longer".to_owned(),
        HostRequest::WizardStart => "what a set-up suggests".to_owned(),
    }
}
