//! `config.*` (spec: methods section 4): who asked is known, the host does the work off the lock, and what a running
//! gateway can take over of a changed file comes into force here.
//!
//! An answer to a change leaves when the host says that the bytes are durable. Two changes at once are the host's to
//! tell apart: each names the text that it was made from.

use super::devices::Op;
use super::pair::Key;
use super::presence::cut;
use super::timers::Timer;
use super::{Call, Gateway, Purpose, events};
use crate::config::{AuthConfig, AuthMode};
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
        let request = HostRequest::Config { op: ConfigOp::Check, dialect: Dialect::V4 };
        self.ask_host(now, request, Purpose::ConfigCheck, out);
    }

    /// The look has ended; the next one is due after a while.
    pub(super) fn config_checked(&mut self, now: Now, answer: Option<HostAnswer>, out: &mut Vec<Output>) {
        self.timers.set(Timer::Config, now.mono.plus_millis(self.config.limits.config_check_ms));
        if let Some(HostAnswer::Config(Ok(done))) = answer
            && let Some(news) = done.news
        {
            self.config_news(now, *news, out);
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
        self.forget_numbers();
        self.set_hot_reload(now, news.hot_reload);
        if let Some(live) = news.live {
            self.take_over(now, live, out);
        }
    }

    fn take_over(&mut self, now: Now, live: LiveConfig, out: &mut Vec<Output>) {
        let is_other_auth = !is_same_auth(&self.config.auth, &live.auth) || self.is_other_proxy(&live);
        self.log_level = live.log_level;
        self.config = live.over(&self.config);
        self.limiters.follow(&self.config);
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
    fn is_other_proxy(&self, live: &LiveConfig) -> bool {
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
