//! `config.*` (spec: methods section 4): who asked is known, the host does the work off the lock, and what a running
//! gateway can take over of a changed file comes into force here. When the file is looked at is decided here, too: every
//! so often, a moment after the host says that it was touched, and again until it has come to rest.
//!
//! An answer to a change leaves when the host says that the bytes are durable. Two changes at once are the host's to
//! tell apart: each names the text that it was made from.

use super::devices::Op;
use super::pair::Key;
use super::presence::cut;
use super::timers::Timer;
use super::{Call, Gateway, Purpose, events};
use crate::config::{AuthConfig, AuthMode, Config};
use crate::dialect::{self, Dialect};
use crate::error::RequestError;
use crate::frame::{CloseFrame, Payload};
use crate::host::config::{ConfigFault, ConfigNews, ConfigOp, LiveConfig};
use crate::host::{HostAnswer, HostRequest};
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::{Output, Reply};
use crate::time::Now;
use std::sync::Arc;

/// Looks at the file.
#[derive(Debug, Default)]
pub(super) struct Look {
    is_on_its_way: bool,
    /// It was touched after the last look began.
    is_touched: bool,
    /// It has not come to rest: the next look is near.
    is_unsettled: bool,
}

/// Any of the `config.*` methods, and `secrets.reload`: the params say which.
pub(crate) fn ask(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Call { now, conn, id, params } = call;
    let Params::Config(op) = params else { return };
    let Some(session) = gateway.peers.session(conn) else { return };
    let dialect = session.dialect;
    if gateway.config_ops() >= gateway.config.limits.config_queue_max {
        let message = "too many operations on the configuration wait; try again".to_owned();
        let error = RequestError::Unavailable { message, reason: "config-busy", retryable: true };
        return gateway.fail(conn, id, &error, out);
    }
    let request = HostRequest::Config { op: *op, dialect };
    gateway.ask_host(now, request, Purpose::Config { conn, id }, out);
}

impl Gateway {
    /// Operations that peers wait for.
    pub(super) fn config_ops(&self) -> usize {
        self.tickets
            .values()
            .filter(|purpose| matches!(purpose, Purpose::Config { .. } | Purpose::WizardWrite { .. }))
            .count()
    }

    /// Whether a change may be on its way to the disk.
    pub(super) fn is_config_busy(&self) -> bool {
        self.config_ops() > 0
    }

    /// Has somebody changed the file?
    pub(super) fn check_config(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.stopping {
            return;
        }
        self.config_look = Look { is_on_its_way: true, ..Look::default() };
        let request = HostRequest::Config { op: ConfigOp::Check, dialect: Dialect::V4 };
        self.ask_host(now, request, Purpose::ConfigCheck, out);
    }

    /// The look has ended; the next one is due after a while.
    pub(super) fn config_checked(&mut self, now: Now, answer: Option<HostAnswer>, out: &mut Vec<Output>) {
        let (is_unsettled, news) = match answer {
            Some(HostAnswer::Config(Ok(done))) => (done.unsettled, done.news),
            Some(_) | None => (false, None),
        };
        if let Some(news) = news {
            self.config_news(now, *news, out);
        }
        let wait_ms = match &self.config_look {
            _ if is_unsettled => self.config.limits.config_settle_ms,
            Look { is_touched: true, .. } => self.config.config_debounce_ms,
            Look { .. } => self.config.limits.config_check_ms,
        };
        self.config_look.is_on_its_way = false;
        self.config_look.is_unsettled = is_unsettled;
        self.timers.set(Timer::Config, now.mono.plus_millis(wait_ms));
    }

    /// The file may have been changed. Who writes one thing writes others: it is looked at a moment after the first word
    /// of it, however many follow.
    pub(super) fn config_touched(&mut self, now: Now) {
        let is_watched = self.config.limits.config_check_ms > 0;
        let look = &mut self.config_look;
        let is_near = look.is_on_its_way || look.is_touched || look.is_unsettled;
        look.is_touched = true;
        if is_watched && !is_near {
            self.timers.set(Timer::Config, now.mono.plus_millis(self.config.config_debounce_ms));
        }
    }

    /// A peer's operation has ended.
    pub(super) fn config_answered(
        &mut self,
        now: Now,
        (conn, id): (ConnId, Box<str>),
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        match answer {
            Some(HostAnswer::Config(Ok(done))) => {
                self.respond(conn, id, Reply::Ok(Payload::Json(done.payload)), out);
                if done.unsettled {
                    self.config_touched(now);
                }
                if let Some(news) = done.news {
                    self.config_news(now, *news, out);
                }
                if let Some(live) = done.live {
                    self.take_over(now, *live, out);
                }
            }
            Some(HostAnswer::Config(Err(ConfigFault::Invalid { message, issues }))) => {
                self.fail(conn, id, &RequestError::InvalidConfig { message, issues }, out);
            }
            Some(HostAnswer::Config(Err(ConfigFault::Failed(message)))) => {
                let error = RequestError::Unavailable { message, reason: "config-failed", retryable: true };
                self.fail(conn, id, &error, out);
            }
            Some(_) | None => {
                let message = "the host did not answer in time; config.get tells whether the change was made";
                let error = RequestError::Unavailable {
                    message: message.to_owned(),
                    reason: "host-unavailable",
                    retryable: true,
                };
                self.fail(conn, id, &error, out);
            }
        }
    }

    /// Tells of a changed file, and takes over what can be taken over.
    pub(super) fn config_news(&mut self, now: Now, news: ConfigNews, out: &mut Vec<Output>) {
        self.broadcast(&events::CONFIG_CHANGED, dialect::config::changed(&news), out);
        let limits = &self.config.limits;
        let shown = news.restart.iter().take(limits.restart_paths_max);
        self.restart_needed = shown.map(|path| cut(path, limits.restart_path_bytes_max).to_owned()).collect();
        self.config_fault = news.fault;
        self.forget_numbers();
        self.set_hot_reload(now, news.hot_reload);
        if let Some(live) = news.live {
            self.take_over(now, live, out);
        }
        if news.restart_now && !self.stopping && !self.suspension.restarting {
            self.suspension.restarting = true;
            out.push(Output::Log(
                Record::new(Level::Info, "config.restarts").field("paths", self.restart_needed.join(",")),
            ));
            self.ask_host(now, HostRequest::PrepareRestart, Purpose::ConfigRestart, out);
        }
    }

    /// The host is ready for a restart that a changed file asks for, or there can be none.
    pub(super) fn config_restart_prepared(
        &mut self,
        now: Now,
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let why = match answer {
            Some(HostAnswer::Restart(Ok(()))) => {
                let at = now.mono.plus_millis(self.config.limits.restart_delay_ms);
                return self.timers.set(Timer::Restart, at);
            }
            Some(HostAnswer::Restart(Err(fault))) => fault.0,
            Some(_) | None => "this host does not answer".to_owned(),
        };
        self.suspension.restarting = false;
        let hint = "what was in force still is; mend this, and change the file again or restart the gateway";
        let record = Record::new(Level::Error, "config.restart-refused").field("why", why);
        out.push(Output::Log(record.field("hint", hint)));
    }

    fn take_over(&mut self, now: Now, live: LiveConfig, out: &mut Vec<Output>) {
        let is_other_auth =
            !is_same_auth(&self.config.auth, &live.config.auth) || self.is_other_proxy(&live.config);
        self.log_level = live.log_level;
        self.config = Arc::from(live.config);
        self.limiters.follow(&self.config);
        self.presence.follow(&self.config);
        self.budget.set_max(self.config.limits.process_bytes_max);
        self.accept_again(out);
        out.push(Output::Log(
            Record::new(Level::Info, "config.in-force").field("auth", self.config.auth.mode.as_str()),
        ));
        if !is_other_auth {
            return;
        }
        // Nor is a `connect` that the store still looks up in by the old word.
        self.auth_generation += 1;
        self.submit(now, Op::ForgetSecretCodes, Key::SecretChanged, out);
        // Whoever came in with what is no longer valid must show what is. A device token stays what it was.
        let conns: Vec<ConnId> = self.peers.open().collect();
        for conn in conns {
            if self.peers.session(conn).is_some_and(|session| !session.by_device_token) {
                self.close(conn, CloseFrame::new(4001, "gateway auth changed"), out);
            }
        }
    }

    /// Whether somebody that came in by the word of a proxy might not any more.
    fn is_other_proxy(&self, live: &Config) -> bool {
        live.auth.mode == AuthMode::TrustedProxy && live.trusted_proxies != self.config.trusted_proxies
    }
}

/// Whether the same secret lets the same peers in.
fn is_same_auth(before: &AuthConfig, after: &AuthConfig) -> bool {
    let is_same =
        |before: &Option<crate::secret::Secret>, after: &Option<crate::secret::Secret>| match (before, after)
        {
            (Some(before), Some(after)) => before.matches(after.expose()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
    // Who came in by Tailscale's word stays only as long as that counts.
    before.mode == after.mode
        && (after.allow_tailscale || !before.allow_tailscale)
        && match after.mode {
            AuthMode::None => true,
            AuthMode::Token => is_same(&before.token, &after.token),
            AuthMode::Password => is_same(&before.password, &after.password),
            AuthMode::TrustedProxy => match (&before.trusted_proxy, &after.trusted_proxy) {
                (Some(before), Some(after)) => before.lets_in_the_same(after),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            },
        }
}
