//! What a changed document does to a running gateway (spec: config section 6): which settings it takes over, which wait
//! for a restart, and whether it restarts by itself. Pure: paths in, a decision out.

use crate::value::Node;

/// What a change of a key takes to come into force here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// A running gateway takes it over.
    Hot,
    /// The gateway must be started again.
    Restart,
    /// A gateway does not read it.
    None,
}

impl Reload {
    /// As in `config.schema.lookup`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Restart => "restart",
            Self::None => "none",
        }
    }

    /// What a change at this dotted path takes.
    pub fn of(path: &str) -> Self {
        match RELOADS.iter().find(|(prefix, _)| is_below(path, prefix)) {
            Some((_, reload)) => *reload,
            None => Self::Restart,
        }
    }
}

/// `gateway.reload.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing happens before somebody restarts the gateway.
    Off,
    /// What can be taken over is; the rest waits.
    Hot,
    /// Every change that counts restarts the gateway.
    Restart,
    /// What can be taken over is; for the rest the gateway restarts. This holds when nothing is said.
    Hybrid,
}

impl Mode {
    /// What a document says.
    pub fn of(document: &Node) -> Self {
        match document.at(&["gateway", "reload", "mode"]).and_then(Node::as_text) {
            Some("off") => Self::Off,
            Some("hot") => Self::Hot,
            Some("restart") => Self::Restart,
            Some(_) | None => Self::Hybrid,
        }
    }
}

/// A changed document, by its differences.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// From what was known before: dotted paths.
    pub latest: &'a [String],
    /// From what the gateway was started with.
    pub since_start: &'a [String],
    /// Whether a start would listen elsewhere. Where a flag or a variable is stronger than the document, it would not,
    /// whatever the document says.
    pub moves: bool,
    /// Whether a start would take other messenger accounts.
    pub other_accounts: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is taken over at once.
    pub hot: Vec<String>,
    /// What comes into force with a restart.
    pub waits: Vec<String>,
    /// Whether the gateway restarts for it. Then nothing is taken over before: a document counts as a whole.
    pub restarts: bool,
}

impl Decision {
    /// Decides.
    pub fn new(mode: Mode, changes: Changes<'_>) -> Self {
        let of = |paths: &[String], wanted: &[Reload]| -> Vec<String> {
            let counts = |path: &&String| {
                let is_idle = !changes.moves && SOCKETS.iter().any(|prefix| is_below(path, prefix))
                    || !changes.other_accounts && is_below(path, ACCOUNTS);
                !is_idle && wanted.contains(&Reload::of(path))
            };
            paths.iter().filter(counts).cloned().collect()
        };
        let mut waits = of(changes.since_start, &[Reload::Restart]);
        if changes.moves && !says_where(&waits) {
            // A variable of the document's own; or it listens elsewhere since a restart that did not work.
            let is_env = changes.since_start.iter().any(|path| is_below(path, "env"));
            waits.push(if is_env { "env" } else { "gateway.bind" }.to_owned());
        }
        let every = || {
            let mut every = of(changes.since_start, &[Reload::Hot]);
            every.extend(waits.iter().cloned());
            every.sort_unstable();
            every.dedup();
            every
        };
        let hot = of(changes.latest, &[Reload::Hot]);
        match mode {
            Mode::Off => Self { hot: Vec::new(), waits: every(), restarts: false },
            Mode::Hot => Self { hot, waits, restarts: false },
            Mode::Restart => {
                let waits = every();
                Self { hot: Vec::new(), restarts: !waits.is_empty(), waits }
            }
            Mode::Hybrid if waits.is_empty() => Self { hot, waits, restarts: false },
            Mode::Hybrid => Self { hot: Vec::new(), waits, restarts: true },
        }
    }
}

/// Whether one of these paths says where to listen.
pub fn says_where(paths: &[String]) -> bool {
    paths.iter().any(|path| SOCKETS.iter().any(|prefix| is_below(path, prefix)))
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The name under which changes of this program's own settings are told.
pub const OWN: &str = "clawgate.json";

/// What says where to listen.
const SOCKETS: [&str; 3] = ["gateway.port", "gateway.bind", "gateway.customBindHost"];

/// What says which messenger accounts there are, among much else.
const ACCOUNTS: &str = "channels.whatsapp";

/// Earlier rows first. What has no row needs a restart.
const RELOADS: &[(&str, Reload)] = &[
    ("gateway.auth", Reload::Hot),
    ("gateway.trustedProxies", Reload::Hot),
    ("gateway.allowRealIpFallback", Reload::Hot),
    ("gateway.controlUi", Reload::Hot),
    ("gateway.nodes.browser", Reload::None),
    ("gateway.nodes", Reload::Hot),
    ("gateway.http.securityHeaders", Reload::Hot),
    ("gateway.http", Reload::None),
    ("gateway.remote.url", Reload::Hot),
    ("gateway.remote", Reload::None),
    ("gateway.reload.debounceMs", Reload::Hot),
    ("gateway.reload", Reload::None),
    ("gateway.tools", Reload::None),
    ("gateway.channelHealthCheckMinutes", Reload::None),
    ("gateway.push", Reload::None),
    ("gateway.tailscale", Reload::Restart),
    ("canvasHost.port", Reload::None),
    ("canvasHost", Reload::Hot),
    ("env", Reload::Hot),
    ("secrets", Reload::Hot),
    ("hooks", Reload::Hot),
    ("logging.level", Reload::Hot),
    ("logging.consoleLevel", Reload::Hot),
    ("logging.file", Reload::Hot),
    ("logging.maxFileBytes", Reload::Hot),
    ("logging", Reload::None),
    ("commands.restart", Reload::Hot),
    ("commands", Reload::None),
    ("plugins.entries.device-pair.config.publicUrl", Reload::Hot),
    ("plugins", Reload::None),
    ("clawgate.json.tailscale", Reload::Restart),
    ("clawgate.json.tls", Reload::Restart),
    ("clawgate.json", Reload::Hot),
    ("meta", Reload::None),
    ("wizard", Reload::None),
    ("agents", Reload::None),
    ("tools", Reload::None),
    ("bindings", Reload::None),
    ("channels.whatsapp", Reload::Restart),
    ("channels", Reload::None),
    ("broadcast", Reload::None),
    ("audio", Reload::None),
    ("media", Reload::None),
    ("messages", Reload::None),
    ("session", Reload::None),
    ("talk", Reload::None),
    ("skills", Reload::None),
    ("memory", Reload::None),
    ("ui", Reload::None),
    ("models", Reload::None),
    ("cron", Reload::None),
    ("browser", Reload::None),
    ("web", Reload::None),
    ("acp", Reload::None),
    ("auth", Reload::None),
    ("update", Reload::None),
    ("nodeHost", Reload::None),
    ("cli", Reload::None),
    ("approvals", Reload::None),
    ("diagnostics", Reload::None),
    ("discovery", Reload::Restart),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::schema::Schema;

    fn paths(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_row_says_what_a_change_takes() {
        for (path, want) in [
            ("gateway.auth.rateLimit.windowMs", Reload::Hot),
            ("gateway.controlUi.root", Reload::Hot),
            ("gateway.http.securityHeaders.strictTransportSecurity", Reload::Hot),
            ("gateway.http.endpoints.responses.enabled", Reload::None),
            ("gateway.port", Reload::Restart),
            ("gateway.portal", Reload::Restart),
            ("gateway.tls.enabled", Reload::Restart),
            ("gateway.remote.url", Reload::Hot),
            ("gateway.remote.token", Reload::None),
            ("gatewayx", Reload::Restart),
            ("channels.whatsapp", Reload::Restart),
            ("agents.list[0].id", Reload::None),
            ("clawgate.json.limits.socketsMax", Reload::Hot),
            ("clawgate.json.tailscale.socket", Reload::Restart),
            ("clawgate.json.tls.minVersion", Reload::Restart),
        ] {
            assert_eq!(Reload::of(path), want, "{path}");
        }
    }

    /// Whoever adds a setting says here what a change of it takes, or clients are dropped for it.
    #[test]
    fn only_these_restart_a_gateway() {
        let schema = Schema::load();
        let mut found = Vec::new();
        for key in &schema.root().children {
            let names: Vec<String> = match key.name {
                "gateway" => key.children.iter().map(|child| format!("gateway.{}", child.name)).collect(),
                name => vec![name.to_owned()],
            };
            found.extend(names.into_iter().filter(|name| Reload::of(name) == Reload::Restart));
        }
        let want = [
            "discovery",
            "gateway.port",
            "gateway.mode",
            "gateway.bind",
            "gateway.customBindHost",
            "gateway.tailscale",
            "gateway.tls",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn what_is_done_follows_from_the_mode_and_from_what_has_changed() {
        const PORT: &str = "gateway.port";
        const TOKEN: &str = "gateway.auth.token";
        let all = [Mode::Off, Mode::Hot, Mode::Restart, Mode::Hybrid];
        for (modes, latest, since_start, moves, hot, waits, restarts) in [
            // Nothing that counts.
            (&all[..], "", "", false, "", "", false),
            (&all[..], "agents.list meta.lastTouchedAt", "agents.list", false, "", "", false),
            // What can be taken over.
            (&[Mode::Off], TOKEN, TOKEN, false, "", TOKEN, false),
            (&[Mode::Hot, Mode::Hybrid], TOKEN, TOKEN, false, TOKEN, "", false),
            (&[Mode::Restart], TOKEN, TOKEN, false, "", TOKEN, true),
            // What cannot.
            (&[Mode::Off, Mode::Hot], PORT, PORT, true, "", PORT, false),
            (&[Mode::Restart, Mode::Hybrid], PORT, PORT, true, "", PORT, true),
            // A flag is stronger than what the document says of the port.
            (&all[..], PORT, PORT, false, "", "", false),
            // Both at once come at once.
            (
                &[Mode::Hot],
                "gateway.auth.token gateway.port",
                "gateway.auth.token gateway.port",
                true,
                TOKEN,
                PORT,
                false,
            ),
            (
                &[Mode::Hybrid],
                "gateway.auth.token gateway.port",
                "gateway.auth.token gateway.port",
                true,
                "",
                PORT,
                true,
            ),
            (
                &[Mode::Off],
                "gateway.auth.token gateway.port",
                "gateway.auth.token gateway.port",
                true,
                "",
                "gateway.auth.token gateway.port",
                false,
            ),
            // What waited is taken back.
            (&all[..], PORT, "", false, "", "", false),
            (&[Mode::Restart], TOKEN, "", false, "", "", false),
            // What waits is tried again with the next change of anything.
            (&[Mode::Hybrid], "agents.list", "agents.list gateway.port", true, "", PORT, true),
            // A variable of the document's own names the port.
            (&[Mode::Hybrid], "env.vars.X", "env.vars.X", true, "", "env", true),
            // The gateway stayed where it was before a restart that did not work.
            (&[Mode::Hybrid], "agents.list", "agents.list", true, "", "gateway.bind", true),
        ] {
            for mode in modes {
                let (latest, since_start) = (paths(latest), paths(since_start));
                let changes =
                    Changes { latest: &latest, since_start: &since_start, moves, other_accounts: false };
                let want = Decision { hot: paths(hot), waits: paths(waits), restarts };
                assert_eq!(Decision::new(*mode, changes), want, "{mode:?}: {latest:?}");
            }
        }
    }

    #[test]
    fn of_messengers_only_other_accounts_count() {
        let paths =
            paths("channels.telegram.botToken channels.whatsapp.allowFrom channels.whatsapp.accounts.b");
        for (other_accounts, waits) in [(false, &paths[3..]), (true, &paths[1..])] {
            let changes = Changes { latest: &paths, since_start: &paths, moves: false, other_accounts };
            let want = Decision { hot: Vec::new(), waits: waits.to_vec(), restarts: other_accounts };
            assert_eq!(Decision::new(Mode::Hybrid, changes), want);
        }
    }

    #[test]
    fn the_mode_is_hybrid_when_nothing_is_said() {
        let mode = |text: &str| Mode::of(&Node::parse(text).unwrap());
        assert_eq!(mode("{}"), Mode::Hybrid);
        assert_eq!(mode("{gateway: {reload: {debounceMs: 5}}}"), Mode::Hybrid);
        for (name, want) in
            [("off", Mode::Off), ("hot", Mode::Hot), ("restart", Mode::Restart), ("hybrid", Mode::Hybrid)]
        {
            assert_eq!(mode(&format!("{{gateway: {{reload: {{mode: '{name}'}}}}}}")), want);
        }
    }
}
