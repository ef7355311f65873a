//! `clawgate gateway discover`: which gateways say on the local network, or in a domain of DNS, that they are there.
//! Everything it shows was said by somebody on a network: nothing of it is believed, used to connect, or kept.

use super::{Failure, print, print_json, render};
use crate::config;
use crate::discovery::look::{LOCAL, Seen, look};
use crate::discovery::wide_area::{WideArea, servers_of_this_system};
use crate::discovery::wide_area_domain;
use crate::environment::Environment;
use crate::storage::Storage;
use clap::Args;
use clawgate_proto::mdns::Beacon;
use serde_json::{Map, Value, json};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `clawgate gateway discover`.
#[derive(Clone, Debug, Args)]
pub struct DiscoverArgs {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// How long to look, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout: u64,
    /// Ask this DNS server for what is in discovery.wideArea.domain: an IP address, with a port behind it where that is not
    /// 53 [default: those of this system]
    #[arg(long, value_name = "ADDRESS", value_parser = resolver)]
    pub resolver: Option<SocketAddr>,
}

fn resolver(text: &str) -> Result<SocketAddr, &'static str> {
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse()
        .or_else(|_| alone())
        .map_err(|_| "expected an IP address, or one with a port, as 192.0.2.1:5353")
}

/// Looks, and tells.
///
/// # Errors
/// No network could be asked.
pub fn run(args: &DiscoverArgs, environment: &Environment) -> Result<(), Failure> {
    let mut warnings = Vec::new();
    let wide = wide_area(environment, args.resolver).unwrap_or_else(|why| {
        warnings.push(why);
        None
    });
    if args.resolver.is_some() && wide.is_none() && warnings.is_empty() {
        return Err(Failure::Usage(
            "--resolver is asked about discovery.wideArea.domain, and none is set (nor OPENCLAW_WIDE_AREA_DOMAIN)".to_owned(),
        ));
    }
    let found = look(Duration::from_millis(args.timeout), true, wide.as_ref()).map_err(Failure::Failed)?;
    warnings.extend(found.warnings);
    for warning in warnings {
        let _ = writeln!(io::stderr(), "not everybody could be asked: {}", render::clean(&warning));
    }
    let shown: Vec<Value> = found.gateways.iter().map(shape).collect();
    let mut domains = vec![LOCAL.to_owned()];
    domains.extend(wide.as_ref().map(|wide| format!("{}.", wide.domain)));
    if args.json {
        return print_json(&json!({
            "timeoutMs": args.timeout, "domains": domains, "count": shown.len(), "beacons": shown,
        }));
    }
    if shown.is_empty() {
        let _ = writeln!(
            io::stderr(),
            "no gateway answered within {} ms ({}). One that listens on loopback only, or whose discovery.mdns.mode is off, \
             does not; firewalls must let UDP port 5353 through",
            args.timeout,
            domains.join(", ")
        );
        return Ok(());
    }
    let rows = shown.iter().map(|beacon| {
        let tls = if beacon["gatewayTls"] == true { "yes" } else { "" };
        let cell = |name: &str| render::name(&beacon[name]);
        let domain = if beacon["domain"] == LOCAL { String::new() } else { cell("domain") };
        vec![cell("displayName"), cell("wsUrl"), cell("host"), cell("tailnetDns"), tls.to_owned(), domain]
    });
    let table = render::table(&["NAME", "ADDRESS", "HOST", "TAILNET", "TLS", "DOMAIN"], rows);
    let _ = writeln!(
        io::stderr(),
        "Anybody on the network can say such things. Give --token and --url only for an address that you know to be yours."
    );
    print(&table)
}

/// What a probe tells of them, in the reference's shape: whoever says something within so long. Where announcements are
/// switched off (`OPENCLAW_DISABLE_BONJOUR`), this machine asks nobody on its networks either.
pub(super) fn beside_a_probe(environment: &Environment, timeout_ms: u64) -> Value {
    let is_local = !environment.is_on("OPENCLAW_DISABLE_BONJOUR");
    let wide = wide_area(environment, None).ok().flatten();
    let is_asked = is_local || wide.is_some();
    let timeout_ms = if is_asked { timeout_ms.min(PROBE_MS_MAX) } else { 0 };
    let found = is_asked.then(|| look(Duration::from_millis(timeout_ms), is_local, wide.as_ref()).ok());
    let gateways = found.flatten().map(|found| found.gateways).unwrap_or_default();
    let shown: Vec<Value> = gateways.iter().map(|seen| few_of(&shape(seen))).collect();
    json!({ "timeoutMs": timeout_ms, "count": shown.len(), "beacons": shown })
}

/// The domain that is named for this installation, and who is asked about it.
fn wide_area(environment: &Environment, resolver: Option<SocketAddr>) -> Result<Option<WideArea>, String> {
    let opened = config::open(&Storage::on_disk(), environment)?;
    let Some(domain) = wide_area_domain(&opened.settings.discovery, &opened.environment) else {
        return Ok(None);
    };
    let servers = resolver.map_or_else(servers_of_this_system, |server| vec![server]);
    Ok(Some(WideArea { domain: domain?, servers }))
}

fn few_of(shown: &Value) -> Value {
    let members = OF_A_PROBE.map(|name| (name.to_owned(), shown.get(name).cloned().unwrap_or(Value::Null)));
    Value::Object(members.into_iter().collect())
}

/// In the reference's shape; what was not said is left out. Numbers and names that decide where to connect come from where
/// the service is, not from what its text says.
fn shape(seen: &Seen) -> Value {
    let Beacon { instance, place, addresses, texts } = &seen.beacon;
    let text = |name: &str| texts.get(name).filter(|text| !text.is_empty());
    let number = |name: &str| text(name).and_then(|text| text.parse::<u16>().ok());
    let has_tls = text("gatewayTls").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            shown.insert(name.to_owned(), value);
        }
    };
    put("instanceName", json!(instance));
    put("displayName", json!(seen.name()));
    put("domain", json!(seen.domain));
    put("host", json!(place.as_ref().map(|(host, _)| host)));
    put("port", json!(place.as_ref().map(|(_, port)| port)));
    put("lanHost", json!(text("lanHost")));
    put("tailnetDns", json!(text("tailnetDns")));
    put("gatewayPort", json!(number("gatewayPort")));
    put("sshPort", json!(number("sshPort")));
    put("cliPath", json!(text("cliPath")));
    put("role", json!(text("role")));
    put("transport", json!(text("transport")));
    put("gatewayTls", json!(has_tls));
    put("gatewayTlsFingerprintSha256", json!(text("gatewayTlsSha256")));
    put("txt", json!(texts));
    put("wsUrl", json!(place.as_ref().map(|(host, port)| url(host, *port, addresses, has_tls))));
    Value::Object(shown)
}

/// Where to connect: by an address, since not every program can ask for a name in `local`.
fn url(host: &str, port: u16, addresses: &[IpAddr], has_tls: bool) -> String {
    let scheme = if has_tls { "wss" } else { "ws" };
    // An address that holds on one link only says nothing without the link.
    let is_whole = |address: &&IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    match addresses.iter().find(is_whole) {
        Some(address) => format!("{scheme}://{}", SocketAddr::new(*address, port)),
        None => format!("{scheme}://{host}:{port}"),
    }
}

/// The reference waits no longer for them beside a probe.
const PROBE_MS_MAX: u64 = 1_200;
/// What a probe tells of one.
const OF_A_PROBE: [&str; 9] = [
    "instanceName",
    "displayName",
    "domain",
    "host",
    "lanHost",
    "tailnetDns",
    "gatewayPort",
    "sshPort",
    "wsUrl",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn beacon(texts: &[(&str, &str)]) -> Seen {
        let beacon = Beacon {
            instance: "studio (OpenClaw)".to_owned(),
            place: Some(("openclaw.local".to_owned(), 18_789)),
            addresses: vec!["192.168.1.2".parse().unwrap(), "fe80::1".parse().unwrap()],
            texts: texts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        Seen { domain: LOCAL.to_owned(), beacon }
    }

    #[test]
    fn the_shape_of_a_beacon() {
        let shown = shape(&beacon(&[
            ("displayName", "studio"),
            ("gatewayPort", "18789"),
            ("sshPort", "22"),
            ("lanHost", "openclaw.local"),
            ("role", "gateway"),
        ]));
        assert_eq!(
            shown,
            json!({
                "instanceName": "studio (OpenClaw)", "displayName": "studio", "domain": "local.",
                "host": "openclaw.local", "port": 18789, "lanHost": "openclaw.local", "gatewayPort": 18789,
                "sshPort": 22, "role": "gateway", "gatewayTls": false, "wsUrl": "ws://192.168.1.2:18789",
                "txt": {
                    "displayName": "studio", "gatewayPort": "18789", "sshPort": "22", "lanHost": "openclaw.local",
                    "role": "gateway",
                },
            })
        );
    }

    #[test]
    fn beside_a_probe_there_is_less_and_what_is_missing_is_null() {
        let few = few_of(&shape(&beacon(&[("lanHost", "openclaw.local"), ("gatewayTlsSha256", "ab")])));
        let names: Vec<&str> = few.as_object().unwrap().keys().map(String::as_str).collect();
        let mut want = OF_A_PROBE;
        want.sort_unstable();
        assert_eq!(names, want);
        assert_eq!((&few["host"], &few["sshPort"]), (&json!("openclaw.local"), &Value::Null));
        assert_eq!(
            (&few["wsUrl"], &few["lanHost"]),
            (&json!("ws://192.168.1.2:18789"), &json!("openclaw.local"))
        );
    }

    #[test]
    fn a_resolver_is_an_address() {
        let said = |text: &str| resolver(text).map(|at| at.to_string()).unwrap_or_default();
        assert_eq!(
            (said("192.0.2.1"), said("192.0.2.1:5353")),
            ("192.0.2.1:53".to_owned(), "192.0.2.1:5353".to_owned())
        );
        assert_eq!((said("::1"), said("[::1]:5")), ("[::1]:53".to_owned(), "[::1]:5".to_owned()));
        assert!(resolver("ns.example").is_err() && resolver("").is_err());
    }

    #[test]
    fn texts_do_not_say_where_to_connect() {
        let lies = [
            ("gatewayPort", "1"),
            ("lanHost", "evil.example"),
            ("tailnetDns", "evil.example"),
            ("gatewayTls", "1"),
        ];
        let shown = shape(&beacon(&lies));
        assert_eq!(shown["wsUrl"], "wss://192.168.1.2:18789");
        assert_eq!(shown["port"], 18_789);
        let mut nowhere = beacon(&lies);
        nowhere.beacon.place = None;
        assert_eq!(shape(&nowhere).get("wsUrl"), None);
        assert_eq!(url("pi.local", 1, &["fe80::1".parse().unwrap()], false), "ws://pi.local:1");
        assert_eq!(url("pi.local", 1, &["2001:db8::1".parse().unwrap()], false), "ws://[2001:db8::1]:1");
    }
}
