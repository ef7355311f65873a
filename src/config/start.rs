//! What a start makes of a configuration: whether this is a gateway's file at all, where to listen, and how peers prove
//! themselves, with the refusals in the reference's order (spec: auth 2). Whoever writes the file asks here first, so that
//! no change leaves one that no gateway starts with.

use super::exposure::Exposure;
use super::own::ProxyProof;
use super::secrets::{Overrides, Resolved};
use super::settings::{Bind, Setting, Settings, TailscaleMode};
use crate::environment::Environment;
use crate::listen::Place;
use clawgate_proto::config::PairingRules;
use std::path::Path;

/// What the command line of a start says, as far as it is stronger than the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// How peers prove that they may come in.
    pub auth: Overrides,
    /// `--bind`.
    pub bind: Option<Bind>,
    /// The addresses that this bind stands for, where they are known already: a gateway goes on where it was.
    pub place: Option<Place>,
    /// `--tailscale`.
    pub tailscale: Option<TailscaleMode>,
    /// `--tailscale-reset-on-exit`.
    pub tailscale_resets: bool,
    /// `--allow-unconfigured`: the file need not say that it is a gateway's.
    pub allow_unconfigured: bool,
    /// Not of the command line, but as strong: what this program's own settings say of proxies.
    pub proxy: ProxyProof,
    /// Likewise: which devices are paired without a person.
    pub pairing: PairingRules,
}

impl Flags {
    /// Has the settings of the file say what is stronger here, where nothing else than the settings is asked later.
    pub fn put_over(&self, settings: &mut Settings) {
        settings.tailscale_mode = self.tailscale.unwrap_or(settings.tailscale_mode);
        settings.tailscale_resets |= self.tailscale_resets;
    }

    /// Whether what the file says at this path does not count, whatever it is.
    pub fn are_over(&self, path: &str) -> bool {
        match path {
            "gateway.tailscale.mode" => self.tailscale.is_some(),
            "gateway.tailscale.resetOnExit" => self.tailscale_resets,
            _ => false,
        }
    }
}

/// What a start decided.
#[derive(Clone, Debug)]
pub struct Decided {
    /// As configuration names it.
    pub bind: Bind,
    /// The addresses that this means.
    pub place: Place,
    /// Mode and secrets.
    pub auth: Resolved,
    /// What it may be opened to.
    pub exposure: Exposure,
}

/// Decides, for the settings of the file at `config`, with the flags [put over](Flags::put_over) them.
///
/// # Errors
/// A gateway would not start; what is wrong, and what to do.
pub fn decide(
    flags: &Flags,
    settings: &Settings,
    config: &Path,
    environment: &Environment,
) -> Result<Decided, String> {
    if settings.mode.as_deref() != Some("local") && !flags.allow_unconfigured {
        return Err(format!(
            "Gateway start blocked: set gateway.mode=local (current: {}) or pass --allow-unconfigured.",
            settings.mode.as_deref().unwrap_or("unset")
        ));
    }
    let bind = bind(flags, settings, environment)?;
    let auth = Resolved::new(&flags.auth, settings, config, environment)?;
    auth.check(&flags.auth, settings, bind)?;
    if let Some(hooks) = &settings.hooks {
        hooks.check_token(&auth)?;
    }
    let place = flags.place.map_or_else(|| place(bind, settings), Ok)?;
    if let Some(hooks) = &settings.hooks {
        hooks.check()?;
    }
    let exposure = Exposure {
        beyond_loopback: place.is_beyond_loopback(),
        bind: bind.as_str(),
        proxy: flags.proxy.clone(),
        own_origins: Vec::new(),
        pairing: flags.pairing.clone(),
    };
    exposure.check(&auth, settings)?;
    Ok(Decided { bind, place, auth, exposure })
}

fn bind(flags: &Flags, settings: &Settings, environment: &Environment) -> Result<Bind, String> {
    if let Some(flag) = flags.bind {
        return Ok(flag);
    }
    if let Some(name) = environment.get(BIND_VARIABLE) {
        return Bind::named(name).ok_or_else(|| {
            format!(
                "Invalid bind: {BIND_VARIABLE} is {name:?} (use \"loopback\", \"lan\", \"tailnet\", \"auto\", or \"custom\")"
            )
        });
    }
    match &settings.bind {
        None => Ok(Bind::Loopback),
        Some(Setting::Known(bind)) => Ok(*bind),
        Some(Setting::Unusable(why)) => Err(why.clone()),
    }
}

fn place(bind: Bind, settings: &Settings) -> Result<Place, String> {
    let custom = settings.custom_bind_host.as_deref().map(str::trim).filter(|host| !host.is_empty());
    match (bind, custom) {
        (Bind::Loopback, _) => Ok(Place::Loopback),
        (Bind::Lan, _) => Ok(Place::Lan),
        (Bind::Tailnet, _) => Ok(Place::Tailnet),
        (Bind::Custom, None) => Err("gateway.bind=custom requires gateway.customBindHost\n\
                                     Set it to the IPv4 address of this machine to listen on."
            .to_owned()),
        (Bind::Custom, Some(host)) => host.parse().map(Place::Custom).map_err(|_| {
            format!("gateway.bind=custom requires a valid IPv4 customBindHost (got {})", host.escape_debug())
        }),
    }
}

/// Where to listen, between the flag and the file.
pub const BIND_VARIABLE: &str = "OPENCLAW_GATEWAY_BIND";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::value::Node;
    use super::*;
    use clawgate_proto::config::AuthMode;

    fn decided(flags: &Flags, text: &str) -> Result<Decided, String> {
        let environment = Environment::default();
        let mut settings = Settings::read(&Node::parse(text).unwrap(), &environment).unwrap();
        flags.put_over(&mut settings);
        decide(flags, &settings, Path::new("/c"), &environment)
    }

    #[test]
    fn what_no_gateway_starts_with_is_refused_by_the_first_reason() {
        for (text, want) in [
            ("{gateway: {bind: 'custom'}}", "Gateway start blocked: set gateway.mode=local (current: unset)"),
            (
                "{gateway: {mode: 'local', bind: 'custom', auth: {mode: 'password'}}}",
                "Gateway auth is set to password",
            ),
            (
                "{gateway: {mode: 'local', bind: 'custom', auth: {token: 'a'}}, hooks: {enabled: true, token: ' a '}}",
                "Invalid config: hooks.token must not match gateway auth token.",
            ),
            (
                "{gateway: {mode: 'local', bind: 'custom'}, hooks: {enabled: true}}",
                "gateway.bind=custom requires gateway.customBindHost",
            ),
            (
                "{gateway: {mode: 'local', tailscale: {mode: 'funnel'}}, hooks: {enabled: true, token: ' ', path: '/'}}",
                "hooks.enabled requires hooks.token",
            ),
            (
                "{gateway: {mode: 'local', auth: {mode: 'trusted-proxy'}}, hooks: {enabled: true, token: 'h', path: ' / '}}",
                "hooks.path may not be '/'",
            ),
            (
                "{gateway: {mode: 'local'}, hooks: {enabled: true, token: 'h', allowedSessionKeyPrefixes: ['a:']}}",
                "hooks.allowedSessionKeyPrefixes must include 'hook:' when",
            ),
            (
                "{gateway: {mode: 'local'}, hooks: {enabled: true, token: 'h', allowedSessionKeyPrefixes: ['hook:x']}}",
                "hooks.allowedSessionKeyPrefixes must include 'hook:' when",
            ),
            (
                "{gateway: {mode: 'local'}, hooks: {enabled: true, token: 'h', allowedSessionKeyPrefixes: ['a:'], \
                 defaultSessionKey: 'b'}}",
                "hooks.defaultSessionKey must match hooks.allowedSessionKeyPrefixes",
            ),
            (
                "{gateway: {mode: 'local', auth: {mode: 'trusted-proxy', trustedProxy: {userHeader: 'x'}}, tailscale: {mode: \
                 'funnel'}}}",
                "tailscale funnel requires gateway auth mode=password",
            ),
            (
                "{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'password', password: '0123456789abc'}, tailscale: {mode: \
                 'funnel'}}}",
                "tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)",
            ),
            ("{gateway: {mode: 'local', auth: {mode: 'password'}}}", "Gateway auth is set to password"),
            (
                "{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}",
                "Refusing to bind gateway to lan",
            ),
            (
                "{gateway: {mode: 'local', auth: {token: 'a', password: 'b'}}}",
                "Invalid config: gateway.auth.token and",
            ),
            (
                "{gateway: {mode: 'local', bind: 'lan', auth: {token: 'changeme'}}}",
                "Refusing to bind the gateway beyond loopback",
            ),
            (
                "{gateway: {mode: 'local', auth: {mode: 'trusted-proxy'}}}",
                "gateway auth mode is trusted-proxy, but no trustedProxy",
            ),
        ] {
            let fault = decided(&Flags::default(), text).unwrap_err();
            assert!(fault.starts_with(want), "{text}: {fault}");
        }
    }

    #[test]
    fn hooks_that_the_reference_would_serve_are_no_reason() {
        for (auth, hooks) in [
            ("token: 'a'", "enabled: false, token: 'a', path: '/'"),
            ("token: 'a'", "enabled: true, token: 'b'"),
            ("mode: 'none', token: 'a'", "enabled: true, token: 'a'"),
            ("mode: 'password', password: 'p', token: 'a'", "enabled: true, token: 'a', path: ''"),
            ("mode: 'password', password: 'p'", "enabled: true, token: 'p'"),
            ("token: 'a'", "enabled: true, token: 'b', allowedSessionKeyPrefixes: ['a:', ' Hook: ']"),
            (
                "token: 'a'",
                "enabled: true, token: 'b', allowedSessionKeyPrefixes: ['a:'], defaultSessionKey: 'a:b'",
            ),
            ("token: 'a'", "enabled: true, token: 'b', allowedSessionKeyPrefixes: [' ']"),
        ] {
            let text = format!("{{gateway: {{mode: 'local', auth: {{{auth}}}}}, hooks: {{{hooks}}}}}");
            assert_eq!(decided(&Flags::default(), &text).map(|_| ()), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_tailscale_serves_is_the_command_line_s_to_say() {
        let text = "{gateway: {mode: 'local', tailscale: {mode: 'funnel'}, auth: {token: '3f9c2e71b04d5a6688aa10ce'}}}";
        let tailscale = |mode| Flags { tailscale: Some(mode), ..Flags::default() };
        for mode in [TailscaleMode::Off, TailscaleMode::Serve] {
            assert_eq!(decided(&tailscale(mode), text).map(|_| ()), Ok(()));
        }
        let open = "{gateway: {mode: 'local', bind: 'lan', auth: {token: '3f9c2e71b04d5a6688aa10ce'}}}";
        for (mode, want) in [
            (TailscaleMode::Serve, "tailscale serve/funnel requires gateway bind=loopback"),
            (TailscaleMode::Funnel, "tailscale funnel requires gateway auth mode=password"),
        ] {
            let fault = decided(&tailscale(mode), open).unwrap_err();
            assert!(fault.starts_with(want), "{fault}");
        }
        let mut settings = Settings::default();
        Flags { tailscale_resets: true, ..Flags::default() }.put_over(&mut settings);
        assert_eq!((settings.tailscale_mode, settings.tailscale_resets), (TailscaleMode::Off, true));
        settings.tailscale_mode = TailscaleMode::Serve;
        Flags::default().put_over(&mut settings);
        assert_eq!((settings.tailscale_mode, settings.tailscale_resets), (TailscaleMode::Serve, true));
    }

    #[test]
    fn flags_are_stronger() {
        let flags = Flags {
            auth: Overrides { mode: Some(AuthMode::None), ..Overrides::default() },
            bind: Some(Bind::Loopback),
            allow_unconfigured: true,
            ..Flags::default()
        };
        let decided = decided(&flags, "{gateway: {bind: 'custom', auth: {mode: 'password'}}}").unwrap();
        assert_eq!(
            (decided.bind, decided.place, decided.auth.mode),
            (Bind::Loopback, Place::Loopback, AuthMode::None)
        );
    }
}
