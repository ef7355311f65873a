//! Settings that decide who may come in: where it listens, what it asks for, which pages and proxies it believes.

use super::facts::is_in_the_clear;
use super::{Facts, Finding, Severity};
use crate::config::Node;
use clawgate_proto::net::{Cidr, Origin};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What could not be read was not judged, which must not pass for safe.
pub fn unread(facts: &Facts, found: &mut Vec<Finding>) {
    let config = facts.config.fault.as_ref().map(|_| facts.places.config.display().to_string());
    let store =
        facts.store_faults.first().map(|_| facts.places.state_dir.join("devices").display().to_string());
    for place in config.into_iter().chain(store) {
        found.push(Finding::security(
            "config.unread",
            Severity::Warn,
            place,
            "it cannot be read or makes no sense, so nothing was said about what is in it",
            "`clawgate doctor` says what is wrong with it",
        ));
    }
}

/// No shared secret, and reachable from elsewhere. A gateway refuses to start like this.
pub fn open_bind(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.exposed && facts.mode == "none" {
        found.push(Finding::security(
            "bind.open",
            Severity::Critical,
            "gateway.auth.mode",
            format!(
                "the mode is none, and the bind is {}: anybody who reaches the port may come in",
                facts.bind.as_str()
            ),
            "set gateway.auth.mode to token, or gateway.bind to loopback",
        ));
    }
}

/// No shared secret on loopback.
pub fn no_auth(facts: &Facts, found: &mut Vec<Finding>) {
    if !facts.exposed && facts.mode == "none" {
        found.push(Finding::security(
            "auth.none",
            Severity::Warn,
            "gateway.auth.mode",
            "every program on this machine, of whatever user, may connect and be paired without anybody being asked",
            "set gateway.auth.mode to token; the next start makes one",
        ));
    }
}

/// Secrets cross a network that others can read.
pub fn clear_text(facts: &Facts, found: &mut Vec<Finding>) {
    if is_in_the_clear(facts) {
        found.push(Finding::security(
            "bind.clear-text",
            Severity::Warn,
            "gateway.bind",
            format!(
                "it is {}, and nothing is encrypted: whoever can read the network reads the token",
                facts.bind.as_str()
            ),
            "set gateway.tls.enabled to true, which makes a certificate that clients trust by its fingerprint; or use loopback \
             with an SSH tunnel or a TLS proxy, or a tailnet; on a network that you alone use, this may be what you want",
        ));
    }
}

/// A limit for wrong secrets that limits nothing.
pub fn rate_limit(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(limit) = facts.config.settings.rate_limit else { return };
    let a_day = 86_400_000_u64;
    let each_ms = limit.window_ms.max(limit.lockout_ms).max(1);
    let guesses = u64::from(limit.attempts_max).saturating_mul(a_day) / each_ms;
    if guesses > GUESSES_A_DAY_MAX {
        found.push(Finding::security(
            "auth.rate-limit",
            if facts.exposed { Severity::Warn } else { Severity::Info },
            "gateway.auth.rateLimit",
            format!("one address may guess {guesses} secrets a day"),
            "fewer maxAttempts or a longer lockoutMs; without the section the usual numbers are 10 and five minutes",
        ));
    }
}

/// Pages that may come in.
pub fn origins(facts: &Facts, found: &mut Vec<Finding>) {
    for entry in &facts.config.settings.allowed_origins {
        let (id, severity, means, fix) = match entry.trim().to_ascii_lowercase().as_str() {
            "*" => (
                "origins.any",
                if facts.exposed { Severity::Critical } else { Severity::Warn },
                "every page in every browser that reaches the gateway may try to come in".to_owned(),
                "name the pages: their origins, exactly as the browser shows them".to_owned(),
            ),
            "null" => (
                "origins.null",
                Severity::Warn,
                "files and sandboxed frames of any page have this origin".to_owned(),
                "remove it, and serve the page from an address".to_owned(),
            ),
            text => match Origin::parse(text) {
                Some(origin) if origin.text == text && !text.contains('*') => continue,
                Some(origin) => unmatched(text, &without_secrets(&origin.text)),
                None => unmatched(text, &mended(text).unwrap_or_default()),
            },
        };
        let place = format!(
            "gateway.controlUi.allowedOrigins: {}",
            crate::cli::render::clean(&without_secrets(entry))
        );
        let finding = Finding::security(id, severity, place, means, fix);
        // An entry that matches nothing lets nobody in; it keeps somebody out.
        let area = if id == "origins.unmatched" { super::Area::Operation } else { finding.area };
        found.push(Finding { area, ..finding });
    }
}

fn unmatched(text: &str, better: &str) -> (&'static str, Severity, String, String) {
    let fix = if better.is_empty() || better == text {
        "write scheme, host and, unless it is the usual one, port, such as https://gateway.example:8443"
            .to_owned()
    } else {
        format!("write {better}")
    };
    ("origins.unmatched", Severity::Warn, "no page has an origin that is written like this".to_owned(), fix)
}

/// An address without what a password or a token may stand in: before the host, and behind the path.
fn without_secrets(text: &str) -> String {
    let text = text.find(['?', '#']).map_or(text, |at| &text[..at]);
    let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + 3));
    // A password may have a slash in it, so everything up to the last `@` counts.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}{host}")
}

/// The origin of an address that somebody copied as a whole.
fn mended(text: &str) -> Option<String> {
    let text = &without_secrets(text);
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let host = text.find("://")? + 3;
    let end = text[host..].find(['/', '?', '#']).map_or(text.len(), |at| host + at);
    Origin::parse(&text[..end]).map(|origin| origin.text)
}

/// Whether a range is all of the addresses of a kind, or half of them: whoever writes 0.0.0.0/1 and 128.0.0.0/1 means the
/// same.
fn is_everybody(range: Cidr) -> bool {
    let four = |a, d| IpAddr::from(Ipv4Addr::new(a, d, d, d));
    let six = |a| IpAddr::from(Ipv6Addr::new(a, 0, 0, 0, 0, 0, 0, 1));
    let halves = [
        [four(1, 1), four(126, 1)],
        [four(129, 1), four(223, 1)],
        [six(0x2000), six(0x7fff)],
        [six(0x8000), six(0xfd00)],
    ];
    halves.iter().any(|half| half.iter().all(|address| range.contains(*address)))
}

/// From where nodes are paired without a person being asked.
pub fn paired_ranges(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(Node::List(ranges)) = facts.config.own.at(&["nodePairing", "autoApproveCidrs"]) else { return };
    for text in ranges.iter().filter_map(Node::as_text) {
        if Cidr::parse(text).is_some_and(is_everybody) {
            found.push(Finding::security(
                "pairing.any",
                Severity::Critical,
                format!("nodePairing.autoApproveCidrs: {}", crate::cli::render::clean(text)),
                "whoever has the shared secret pairs nodes from anywhere, and no person is asked",
                "name the narrowest range that your nodes come from",
            ));
        }
    }
}

/// Who may say who a client is.
pub fn proxies(facts: &Facts, found: &mut Vec<Finding>) {
    let place = |text: &str| format!("gateway.trustedProxies: {}", crate::cli::render::clean(text));
    for text in facts.config.texts("gateway.trustedProxies") {
        let Some(range) = Cidr::parse(text) else {
            found.push(Finding::operation(
                "proxies.unmatched",
                Severity::Warn,
                place(text),
                "it is no address and no range, and trusts nobody",
                "write an address such as 10.0.0.5, or a range such as 10.0.0.0/24",
            ));
            continue;
        };
        if is_everybody(range) {
            found.push(Finding::security(
                "proxies.any",
                Severity::Critical,
                place(text),
                "everybody counts as a proxy, and may say in a header which address they come from",
                "name the proxy: its address, or the narrowest range that it is in",
            ));
        } else if range.contains(Ipv4Addr::LOCALHOST.into()) || range.contains(Ipv6Addr::LOCALHOST.into()) {
            found.push(Finding::security(
                "proxies.loopback",
                Severity::Info,
                place(text),
                "a proxy on this machine is believed, and so is every other program on it",
                "nothing, when a proxy runs here; else remove it",
            ));
        }
    }
    if facts.config.settings.allow_real_ip_fallback {
        found.push(Finding::security(
            "proxies.real-ip",
            Severity::Info,
            "gateway.allowRealIpFallback",
            "X-Real-IP of a trusted proxy is believed: a proxy that does not set it itself passes on what a client wrote",
            "nothing, when the proxy sets it; else remove it",
        ));
    }
}

/// A proxy that names its users.
pub fn trusted_proxy(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.mode != "trusted-proxy" && facts.config.text("gateway.auth.mode") != Some("trusted-proxy") {
        return;
    }
    if facts.config.texts("gateway.auth.trustedProxy.allowUsers").is_empty() {
        found.push(Finding::security(
            "proxies.everybody",
            Severity::Warn,
            "gateway.auth.trustedProxy.allowUsers",
            "everybody whom the proxy lets through is an operator",
            "name the users that may come in",
        ));
    }
    let trusts_loopback = facts.config.texts("gateway.trustedProxies").into_iter().any(|text| {
        Cidr::parse(text).is_some_and(|range| {
            range.contains(Ipv4Addr::LOCALHOST.into()) || range.contains(Ipv6Addr::LOCALHOST.into())
        })
    });
    if trusts_loopback && facts.config.own.at(&["trustedProxy", "proof"]).is_none() {
        found.push(Finding::security(
            "proxies.forgeable",
            Severity::Warn,
            "gateway.trustedProxies",
            "a loopback address is a trusted proxy, and any program on this machine can name a user as the proxy does",
            "have the proxy prove itself: trustedProxy.proofHeader and trustedProxy.proof in clawgate.json; or have it run \
             on another machine",
        ));
    }
}

/// Every switch with `dangerously` in its name, and its older siblings.
pub fn dangerous_switches(facts: &Facts, found: &mut Vec<Finding>) {
    let mut on = Vec::new();
    switches(&facts.config.document, "", 0, &mut on);
    let in_file = on.len();
    switches(&facts.config.own, "", 0, &mut on);
    for (at, path) in on.into_iter().enumerate() {
        let (severity, means) = match SWITCHES.iter().find(|(known, _, _)| *known == path) {
            Some((_, severity, means)) => (*severity, *means),
            None => (Severity::Warn, "it says of itself that it is dangerous"),
        };
        let (place, fix) = match at < in_file {
            true => (path.clone(), format!("clawgate config unset {path}")),
            false => (format!("{path} in clawgate.json"), "remove it".to_owned()),
        };
        found.push(Finding::security("switches.dangerous", severity, place, means, fix));
    }
}

fn switches(node: &Node, path: &str, depth: usize, on: &mut Vec<String>) {
    let Some(members) = node.members().filter(|_| depth < SWITCH_DEPTH_MAX) else { return };
    for (name, value) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let is_switch =
            name.starts_with("dangerously") || SWITCHES.iter().any(|(known, _, _)| *known == path);
        if is_switch && *value == Node::Bool(true) {
            on.push(path);
        } else {
            switches(value, &path, depth + 1, on);
        }
    }
}

/// The internet.
pub fn funnel(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.config.text("gateway.tailscale.mode") == Some("funnel") {
        found.push(Finding::security(
            "tailscale.funnel",
            Severity::Warn,
            "gateway.tailscale.mode",
            "everybody on the internet can reach the gateway",
            "serve, which only the tailnet can reach; or keep a long password",
        ));
    }
}

/// Commands that look, listen or write on a device.
pub fn node_commands(facts: &Facts, found: &mut Vec<Finding>) {
    let commands = &facts.config.settings.node_commands;
    let is_open = |command: &&str| commands.allow.contains(*command) && !commands.deny.contains(*command);
    let open: Vec<&str> = DANGEROUS_COMMANDS.iter().copied().filter(is_open).collect();
    if !open.is_empty() {
        found.push(Finding::security(
            "nodes.dangerous-commands",
            Severity::Warn,
            "gateway.nodes.allowCommands",
            format!("whoever may use nodes can use these on your devices: {}", open.join(", ")),
            "remove those that you do not need",
        ));
    }
}

/// More guesses than this a day from one address are no limit: ten each minute are 14,400.
const GUESSES_A_DAY_MAX: u64 = 20_000;
const SWITCH_DEPTH_MAX: usize = 12;
/// What they open.
pub(super) const SWITCHES: [(&str, Severity, &str); 4] = [
    (
        "gateway.controlUi.dangerouslyDisableDeviceAuth",
        Severity::Warn,
        "it is ignored here; under the reference a page comes in with the shared secret alone, and nobody has to approve \
         its device",
    ),
    (
        "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback",
        Severity::Critical,
        "any page may come in whose name leads to this machine, which whoever owns the name decides (DNS rebinding)",
    ),
    (
        "gateway.controlUi.allowInsecureAuth",
        Severity::Info,
        "it is ignored here; under the reference a page on this machine comes in with the shared secret alone",
    ),
    (
        "trustedProxy.dangerouslyTrustLoopback",
        Severity::Warn,
        "every program on this machine may come in as any user of the proxy",
    ),
];
/// Allowed by nothing but a setting (spec: nodes section 3).
const DANGEROUS_COMMANDS: [&str; 7] = [
    "camera.snap",
    "camera.clip",
    "screen.record",
    "contacts.add",
    "calendar.add",
    "reminders.add",
    "sms.send",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::testing::{all, found};
    use super::*;
    use crate::config::settings::Bind;
    use Severity::{Critical, Info, Warn};

    fn listening(bind: Bind, exposed: bool, mode: &str) -> Facts {
        Facts { bind, exposed, mode: mode.to_owned(), ..Facts::clean() }
    }

    fn with_origins(exposed: bool, entries: &[&str]) -> Facts {
        let mut facts = Facts { exposed, ..Facts::clean() };
        facts.config.settings.allowed_origins = entries.iter().map(|entry| (*entry).to_owned()).collect();
        facts
    }

    fn with_proxies(list: &str) -> Facts {
        Facts::with_config(&format!("{{gateway: {{trustedProxies: {list}}}}}"))
    }

    #[test]
    fn what_could_not_be_read_does_not_pass_for_safe() {
        let mut facts = Facts::clean();
        assert_eq!(found(unread, &facts), []);
        facts.config.fault = Some("line 1".to_owned());
        assert_eq!(found(unread, &facts), [("config.unread", Warn)]);
        facts.store_faults = vec!["line 2".to_owned()];
        assert_eq!(found(unread, &facts), [("config.unread", Warn), ("config.unread", Warn)]);
    }

    #[test]
    fn no_auth_is_found_and_worse_where_others_can_reach_it() {
        let on_loopback = listening(Bind::Loopback, false, "none");
        assert_eq!(
            (found(no_auth, &on_loopback), found(open_bind, &on_loopback)),
            (vec![("auth.none", Warn)], vec![])
        );
        let on_lan = listening(Bind::Lan, true, "none");
        assert_eq!(
            (found(no_auth, &on_lan), found(open_bind, &on_lan)),
            (vec![], vec![("bind.open", Critical)])
        );
        let with_token = listening(Bind::Lan, true, "token");
        assert_eq!((found(no_auth, &with_token), found(open_bind, &with_token)), (vec![], vec![]));
    }

    #[test]
    fn what_is_sent_in_the_clear_is_found() {
        assert_eq!(found(clear_text, &listening(Bind::Loopback, false, "token")), []);
        assert_eq!(found(clear_text, &listening(Bind::Tailnet, true, "token")), [], "a tailnet encrypts");
        assert_eq!(found(clear_text, &listening(Bind::Lan, true, "token")), [("bind.clear-text", Warn)]);
        let mut custom = listening(Bind::Custom, true, "token");
        for (host, want) in [("192.168.1.5", vec![("bind.clear-text", Warn)]), ("100.100.1.1", vec![])] {
            custom.config.settings.custom_bind_host = Some(host.to_owned());
            assert_eq!(found(clear_text, &custom), want, "{host}");
        }
    }

    #[test]
    fn a_limit_that_limits_nothing_is_found() {
        let with =
            |limit: &str| Facts::with_config(&format!("{{gateway: {{auth: {{rateLimit: {limit}}}}}}}"));
        assert_eq!(found(rate_limit, &Facts::clean()), []);
        assert_eq!(found(rate_limit, &with("{}")), []);
        let lax = with("{maxAttempts: 1000, windowMs: 1000, lockoutMs: 1000}");
        assert_eq!(found(rate_limit, &lax), [("auth.rate-limit", Info)]);
        assert_eq!(found(rate_limit, &Facts { exposed: true, ..lax }), [("auth.rate-limit", Warn)]);
    }

    #[test]
    fn origins_that_let_in_anybody_or_nobody_are_found() {
        for (exposed, entry, want) in [
            (true, "*", Some(("origins.any", Critical))),
            (false, " * ", Some(("origins.any", Warn))),
            (true, "null", Some(("origins.null", Warn))),
            (true, "https://gw.example", None),
            (true, "HTTP://Localhost:18789", None),
            (true, "https://gw.example/", Some(("origins.unmatched", Warn))),
            (true, "https://gw.example:443", Some(("origins.unmatched", Warn))),
            (true, "gw.example", Some(("origins.unmatched", Warn))),
            (true, "https://*.example", Some(("origins.unmatched", Warn))),
        ] {
            assert_eq!(found(origins, &with_origins(exposed, &[entry])), Vec::from_iter(want), "{entry}");
        }
        let fix = |entry: &str| all(origins, &with_origins(true, &[entry])).remove(0).fix;
        assert_eq!(fix("https://gw.example/chat?x#y"), "write https://gw.example");
        assert_eq!(fix("http://localhost:80"), "write http://localhost");
        assert_eq!(fix("192.168.1.5:18789"), "write http://192.168.1.5:18789");
        assert!(fix("https://gw.example:x").starts_with("write scheme, host"));
    }

    #[test]
    fn proxies_that_are_everybody_are_found() {
        for (list, want) in [
            ("[]", vec![]),
            ("['10.0.0.0/8', '172.16.0.0/12', 'fd00::/8', '192.168.1.7']", vec![]),
            ("['0.0.0.0/0']", vec![("proxies.any", Critical)]),
            ("['::/0']", vec![("proxies.any", Critical)]),
            ("['::ffff:0:0/96']", vec![("proxies.any", Critical)]),
            ("['0.0.0.0/1', '128.0.0.0/1']", vec![("proxies.any", Critical), ("proxies.any", Critical)]),
            ("['127.0.0.1', '::1']", vec![("proxies.loopback", Info), ("proxies.loopback", Info)]),
            ("['nginx']", vec![("proxies.unmatched", Warn)]),
        ] {
            assert_eq!(found(proxies, &with_proxies(list)), want, "{list}");
        }
        let real_ip = Facts::with_config("{gateway: {allowRealIpFallback: true}}");
        assert_eq!(found(proxies, &real_ip), [("proxies.real-ip", Info)]);
    }

    #[test]
    fn nodes_that_are_paired_from_anywhere_are_found() {
        for (list, want) in [
            ("['192.168.1.0/24', 'fd00::/8', '10.0.0.0/8']", vec![]),
            ("['0.0.0.0/0']", vec![("pairing.any", Critical)]),
            ("['::/0', '128.0.0.0/1']", vec![("pairing.any", Critical), ("pairing.any", Critical)]),
        ] {
            let mut facts = Facts::clean();
            facts.config.own =
                Node::parse(&format!("{{nodePairing: {{autoApproveCidrs: {list}}}}}")).unwrap();
            assert_eq!(found(paired_ranges, &facts), want, "{list}");
        }
    }

    #[test]
    fn a_password_in_an_origin_is_not_repeated() {
        for entry in [
            "https://me:hunter22@gw.example",
            "https://me:hun/ter22@gw.example/",
            "https://gw.example/?token=hunter22",
        ] {
            let mut all = Vec::new();
            origins(&with_origins(true, &[entry]), &mut all);
            let text = format!("{all:?}");
            assert!(!text.contains("ter22") && text.contains("gw.example"), "{text}");
        }
    }

    #[test]
    fn a_proxy_that_names_users_is_looked_at() {
        let with = |proxies: &str, more: &str| {
            Facts::with_config(&format!(
                "{{gateway: {{trustedProxies: {proxies}, auth: {{mode: 'trusted-proxy', trustedProxy: {{userHeader: 'x', {more}}}}}}}}}"
            ))
        };
        assert_eq!(found(trusted_proxy, &Facts::clean()), []);
        assert_eq!(found(trusted_proxy, &with("['10.0.0.5']", "allowUsers: ['a']")), []);
        assert_eq!(found(trusted_proxy, &with("['10.0.0.5']", "")), [("proxies.everybody", Warn)]);
        let local = with("['127.0.0.1']", "allowUsers: ['a']");
        assert_eq!(found(trusted_proxy, &local), [("proxies.forgeable", Warn)]);
        let mut proved = local;
        proved.config.own = Node::parse("{trustedProxy: {proofHeader: 'x-proof', proof: 'hidden'}}").unwrap();
        assert_eq!(found(trusted_proxy, &proved), []);
    }

    #[test]
    fn dangerous_switches_are_found_wherever_they_are() {
        let mut on = Facts::with_config(
            "{gateway: {controlUi: {allowInsecureAuth: true, dangerouslyDisableDeviceAuth: true, \
             dangerouslyAllowHostHeaderOriginFallback: false}}, channels: {x: {dangerouslyDoThings: true}}}",
        );
        on.config.own = Node::parse("{trustedProxy: {dangerouslyTrustLoopback: true}}").unwrap();
        let all = all(dangerous_switches, &on);
        let places: Vec<(&str, Severity)> =
            all.iter().map(|finding| (finding.place.as_str(), finding.severity)).collect();
        assert_eq!(
            places,
            [
                ("gateway.controlUi.allowInsecureAuth", Info),
                ("gateway.controlUi.dangerouslyDisableDeviceAuth", Warn),
                ("channels.x.dangerouslyDoThings", Warn),
                ("trustedProxy.dangerouslyTrustLoopback in clawgate.json", Warn),
            ]
        );
        assert_eq!(found(dangerous_switches, &Facts::clean()), []);
    }

    #[test]
    fn the_funnel_and_dangerous_commands_are_found() {
        assert_eq!(found(funnel, &Facts::with_config("{gateway: {tailscale: {mode: 'serve'}}}")), []);
        let open = Facts::with_config("{gateway: {tailscale: {mode: 'funnel'}}}");
        assert_eq!(found(funnel, &open), [("tailscale.funnel", Warn)]);
        let with = |nodes: &str| Facts::with_config(&format!("{{gateway: {{nodes: {nodes}}}}}"));
        assert_eq!(found(node_commands, &with("{allowCommands: ['canvas.snapshot']}")), []);
        assert_eq!(
            found(node_commands, &with("{allowCommands: ['sms.send'], denyCommands: ['sms.send']}")),
            []
        );
        let open = with("{allowCommands: ['sms.send', 'camera.snap']}");
        assert_eq!(found(node_commands, &open), [("nodes.dangerous-commands", Warn)]);
        let open = with("{commands: {allow: ['sms.send']}}");
        assert_eq!(found(node_commands, &open), [("nodes.dangerous-commands", Warn)]);
    }
}
