//! What a gateway may be opened to: who may be its proxy, its tailnet and its pages, and the starts that are refused because
//! they would open it further than its owner can mean (spec: auth section 2, rows 14 to 20).

use super::own::{self, ProxyProof};
use super::secrets::Resolved;
use super::settings::{Settings, TailscaleMode};
use super::weak::Weakness;
use clawgate_proto::config::{AuthConfig, AuthMode, Pages, PairingRules, TrustedProxy};

/// What holds for the whole run of a gateway, whatever its file says later.
#[derive(Clone, Debug, Default)]
pub struct Exposure {
    /// Others than the programs of this machine can reach it.
    pub beyond_loopback: bool,
    /// The bind, by its name in configuration.
    pub bind: &'static str,
    /// How a proxy proves itself.
    pub proxy: ProxyProof,
    /// Origins of pages that this gateway itself would serve.
    pub own_origins: Vec<String>,
    /// Which devices are paired without a person.
    pub pairing: PairingRules,
}

impl Exposure {
    /// Whether a gateway may start, or go on, with these settings.
    ///
    /// # Errors
    /// It may not; a sentence for a person, the reference's where it has one.
    pub fn check(&self, auth: &Resolved, settings: &Settings) -> Result<(), String> {
        if auth.mode == AuthMode::TrustedProxy {
            self.check_user(settings)?;
        }
        let is_served = match settings.tailscale_mode {
            TailscaleMode::Off => false,
            TailscaleMode::Serve => true,
            TailscaleMode::Funnel if auth.mode != AuthMode::Password => {
                return Err(
                    "tailscale funnel requires gateway auth mode=password (set gateway.auth.password or \
                            OPENCLAW_GATEWAY_PASSWORD)"
                        .to_owned(),
                );
            }
            TailscaleMode::Funnel => true,
        };
        if is_served && self.beyond_loopback {
            return Err("tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)".to_owned());
        }
        if auth.mode == AuthMode::TrustedProxy {
            self.check_proxy(settings)?;
        }
        if (self.beyond_loopback || is_served)
            && let Some(sourced) = auth.in_force()
            && let Some(why) = Weakness::of(sourced.secret.expose())
        {
            let bind = self.bind;
            let reach = if is_served {
                "serve the gateway through Tailscale"
            } else {
                "bind the gateway beyond loopback"
            };
            return Err(format!(
                "Refusing to {reach} (bind {bind}) with a secret that anybody would try: {} {why}.\nSet a long random one \
                 (`openssl rand -hex 24` prints one), or remove it from the configuration file, and a token is made at the \
                 next start.",
                sourced.source
            ));
        }
        Ok(())
    }

    fn check_user(&self, settings: &Settings) -> Result<(), String> {
        let Some(proxy) = &settings.trusted_proxy else {
            return Err("gateway auth mode is trusted-proxy, but no trustedProxy config was provided (set \
                        gateway.auth.trustedProxy)"
                .to_owned());
        };
        if proxy.user_header.is_empty() {
            return Err("gateway auth mode is trusted-proxy, but trustedProxy.userHeader is empty (set \
                        gateway.auth.trustedProxy.userHeader)"
                .to_owned());
        }
        let names = [&proxy.user_header].into_iter().chain(&proxy.required_headers);
        if let Some(name) = names.map(|name| name.trim()).find(|name| !own::is_header_name(name)) {
            return Err(format!(
                "gateway.auth.trustedProxy: {name:?} is no name of a header (set userHeader and requiredHeaders)"
            ));
        }
        Ok(())
    }

    fn check_proxy(&self, settings: &Settings) -> Result<(), String> {
        if settings.trusted_proxies.is_empty() {
            return Err("gateway auth mode=trusted-proxy requires gateway.trustedProxies to be configured with at least one \
                        proxy IP"
                .to_owned());
        }
        if self.beyond_loopback {
            return Ok(());
        }
        if !settings.trusted_proxies.iter().any(clawgate_proto::net::Cidr::is_loopback) {
            return Err("gateway auth mode=trusted-proxy with bind=loopback requires gateway.trustedProxies to include \
                        127.0.0.1, ::1, or a loopback CIDR"
                .to_owned());
        }
        if self.proxy.proof.is_none() && !self.proxy.trusts_loopback {
            return Err("gateway auth mode=trusted-proxy with bind=loopback: every program of this machine could say that it \
                        is the proxy, and name any user.\nHave the proxy prove itself: in clawgate.json beside the \
                        configuration file, set trustedProxy.proofHeader to a header and trustedProxy.proof to a long random \
                        value, and have the proxy set that header. Where only you run programs, \
                        trustedProxy.dangerouslyTrustLoopback: true does without."
                .to_owned());
        }
        Ok(())
    }

    /// What the person should know about a start that is allowed.
    pub fn warnings(&self, auth: &Resolved, settings: &Settings) -> Vec<String> {
        let mut warnings = Vec::new();
        if auth.mode == AuthMode::TrustedProxy {
            if self.proxy.proof.is_none() && self.proxy.trusts_loopback {
                warnings.push(
                    "trustedProxy.dangerouslyTrustLoopback: every program of this machine may connect as any user".to_owned(),
                );
            }
            if settings.trusted_proxy.as_ref().is_some_and(|proxy| proxy.allow_users.is_empty()) {
                warnings.push(
                    "gateway.auth.trustedProxy.allowUsers is empty: every user of the proxy may do everything".to_owned(),
                );
            }
            if auth.token.is_some() || auth.password.is_some() {
                warnings.push(
                    "auth is trusted-proxy: the configured token or password lets nobody in".to_owned(),
                );
            }
        }
        if !self.pairing.node_ranges.is_empty() {
            warnings.push(
                "nodePairing.autoApproveCidrs: whoever comes from there with the shared secret is paired as a node without a \
                 person being asked"
                    .to_owned(),
            );
        }
        let usual = std::net::Ipv4Addr::LOCALHOST.into();
        if settings.trusted_proxies.iter().any(|range| range.contains(usual)) {
            warnings.push(
                "gateway.trustedProxies names 127.0.0.1: programs of this machine come from there too, and count as clients of \
                 the proxy, even the command line; have the proxy connect to [::1] and name ::1"
                    .to_owned(),
            );
        }
        if allows_tailscale(auth, settings) && auth.mode == AuthMode::None {
            warnings
                .push("gateway.auth.allowTailscale: with auth none nobody is asked who they are".to_owned());
        }
        warnings
    }

    /// What the core compares with.
    pub fn auth_config(&self, auth: &Resolved, settings: &Settings) -> AuthConfig {
        let secret = |sourced: &Option<super::secrets::Sourced>| {
            sourced.as_ref().map(|sourced| sourced.secret.clone())
        };
        AuthConfig {
            mode: auth.mode,
            token: secret(&auth.token),
            password: secret(&auth.password),
            rate_limit: settings.rate_limit,
            trusted_proxy: settings.trusted_proxy.as_ref().map(|proxy| TrustedProxy {
                user_header: proxy.user_header.to_ascii_lowercase(),
                required_headers: proxy.required_headers.clone(),
                allow_users: proxy.allow_users.clone(),
                proof: self.proxy.proof.clone(),
                trusts_loopback: self.proxy.trusts_loopback,
            }),
            allow_tailscale: allows_tailscale(auth, settings),
            pages: Pages { own_origins: self.own_origins.clone(), by_host: settings.origin_by_host },
            pairing: self.pairing.clone(),
        }
    }
}

/// Spec: auth section 1.3.
fn allows_tailscale(auth: &Resolved, settings: &Settings) -> bool {
    settings.allow_tailscale.unwrap_or(match auth.mode {
        AuthMode::None | AuthMode::Token => settings.tailscale_mode == TailscaleMode::Serve,
        AuthMode::Password | AuthMode::TrustedProxy => false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::secrets::Overrides;
    use super::super::value::Node;
    use super::*;
    use crate::environment::Environment;
    use clawgate_proto::secret::Secret;
    use std::path::Path;

    fn check_with(exposure: &Exposure, text: &str) -> Result<Vec<String>, String> {
        let environment = Environment::default();
        let settings = Settings::read(&Node::parse(text).unwrap(), &environment).unwrap();
        let auth = Resolved::new(&Overrides::default(), &settings, Path::new("/c"), &environment)?;
        exposure.check(&auth, &settings).map(|()| exposure.warnings(&auth, &settings))
    }

    fn loopback() -> Exposure {
        Exposure { bind: "loopback", ..Exposure::default() }
    }

    fn lan() -> Exposure {
        Exposure { beyond_loopback: true, bind: "lan", ..Exposure::default() }
    }

    fn proved(exposure: Exposure) -> Exposure {
        let proof = Some(("x-proof".to_owned(), Secret::new("0123456789abcdefghijklmnop").unwrap()));
        Exposure { proxy: ProxyProof { proof, trusts_loopback: false }, ..exposure }
    }

    #[test]
    fn a_proxy_that_names_users_must_be_named_and_on_loopback_prove_itself() {
        let with = |exposure: &Exposure, proxy: &str, proxies: &str| {
            check_with(
                exposure,
                &format!(
                    "{{gateway: {{auth: {{mode: 'trusted-proxy'{proxy}}}, trustedProxies: [{proxies}]}}}}"
                ),
            )
        };
        let usual = ", trustedProxy: {userHeader: 'X-User', allowUsers: ['a']}";
        for (exposure, proxy, proxies, want) in [
            (lan(), "", "'10.0.0.1'", "but no trustedProxy config was provided"),
            (
                lan(),
                ", trustedProxy: {userHeader: ' '}",
                "'10.0.0.1'",
                "but trustedProxy.userHeader is empty",
            ),
            (lan(), ", trustedProxy: {userHeader: 'X User'}", "'10.0.0.1'", "is no name of a header"),
            (lan(), usual, "", "requires gateway.trustedProxies to be configured with at least one proxy IP"),
            (lan(), usual, "'nonsense'", "requires gateway.trustedProxies to be configured"),
            (loopback(), usual, "'10.0.0.1'", "to include 127.0.0.1, ::1, or a loopback CIDR"),
            (proved(loopback()), usual, "'0.0.0.0/0'", "to include 127.0.0.1, ::1, or a loopback CIDR"),
            // CVE-2026-53832.
            (
                loopback(),
                usual,
                "'127.0.0.1'",
                "every program of this machine could say that it is the proxy",
            ),
        ] {
            let fault = with(&exposure, proxy, proxies).unwrap_err();
            assert!(fault.contains(want), "{proxy} {proxies}: {fault}");
        }
        assert_eq!(with(&lan(), usual, "'10.0.0.1'"), Ok(Vec::new()));
        assert_eq!(with(&proved(loopback()), usual, "'::1'"), Ok(Vec::new()));
        // What comes from there are programs of this machine as well.
        let warned = with(&proved(loopback()), usual, "'127.0.0.1'").unwrap();
        assert!(
            warned.len() == 1 && warned[0].starts_with("gateway.trustedProxies names 127.0.0.1"),
            "{warned:?}"
        );
        let proxy = ProxyProof { proof: None, trusts_loopback: true };
        let trusting = with(&Exposure { proxy, ..loopback() }, usual, "'127.0.0.0/8'").unwrap();
        assert!(trusting[0].starts_with("trustedProxy.dangerouslyTrustLoopback"), "{trusting:?}");
        let everybody = with(&lan(), ", trustedProxy: {userHeader: 'X-User'}", "'10.0.0.1'").unwrap();
        assert!(everybody[0].contains("every user of the proxy may do everything"), "{everybody:?}");
    }

    #[test]
    fn tailscale_serves_loopback_only_and_everybody_only_with_a_password() {
        let with = |exposure: &Exposure, mode: &str, auth: &str| {
            check_with(exposure, &format!("{{gateway: {{tailscale: {{mode: '{mode}'}}, auth: {{{auth}}}}}}}"))
        };
        let (token, password) = ("token: '3f9c2e71b04d5a6688aa10ce'", "password: 'correct horse battery'");
        assert!(with(&loopback(), "serve", token).is_ok());
        assert!(with(&loopback(), "funnel", password).is_ok());
        let fault = with(&loopback(), "funnel", token).unwrap_err();
        assert!(fault.starts_with("tailscale funnel requires gateway auth mode=password"), "{fault}");
        for (mode, auth) in [("serve", token), ("funnel", password)] {
            let fault = with(&lan(), mode, auth).unwrap_err();
            assert_eq!(fault, "tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)");
        }
        let fault = with(&loopback(), "serve", "token: 'changeme'").unwrap_err();
        assert!(fault.contains("through Tailscale") && !fault.contains("changeme"), "{fault}");
    }

    #[test]
    fn a_weak_secret_is_refused_beyond_loopback_without_being_quoted() {
        let with = |exposure: &Exposure, token: &str| {
            check_with(exposure, &format!("{{gateway: {{auth: {{token: '{token}'}}}}}}"))
        };
        for token in ["changeme", "your-token-here", "t", "elevenchars"] {
            assert!(with(&loopback(), token).is_ok(), "{token}");
            let fault = with(&lan(), token).unwrap_err();
            assert!(fault.starts_with("Refusing to bind the gateway beyond loopback (bind lan)"), "{fault}");
            assert!(
                fault.contains("gateway.auth.token in /c") && (token == "t" || !fault.contains(token)),
                "{fault}"
            );
        }
        assert!(with(&lan(), "3f9c2e71b04d5a6688aa10ce").is_ok());
    }

    #[test]
    fn tailscale_identities_count_by_themselves_only_where_it_serves() {
        let allows = |text: &str| {
            let environment = Environment::default();
            let settings = Settings::read(&Node::parse(text).unwrap(), &environment).unwrap();
            let auth =
                Resolved::new(&Overrides::default(), &settings, Path::new("/c"), &environment).unwrap();
            allows_tailscale(&auth, &settings)
        };
        for (text, want) in [
            ("{}", false),
            ("{gateway: {tailscale: {mode: 'serve'}}}", true),
            ("{gateway: {tailscale: {mode: 'funnel'}}}", false),
            ("{gateway: {tailscale: {mode: 'serve'}, auth: {password: 'p'}}}", false),
            ("{gateway: {tailscale: {mode: 'serve'}, auth: {allowTailscale: false}}}", false),
            ("{gateway: {auth: {allowTailscale: true, password: 'p'}}}", true),
        ] {
            assert_eq!(allows(text), want, "{text}");
        }
    }
}
