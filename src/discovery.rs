//! How this gateway is found: what it tells its networks of itself, and whether it tells them anything; and who else is
//! there, for the command line.

pub mod look;
pub mod network;
pub mod wide_area;
pub mod zone;
pub mod zone_file;

use crate::config::discovery::{DiscoverySettings, MdnsMode};
use crate::environment::Environment;
use crate::listen::Place;
use clawgate_proto::mdns::{Detail, Fingerprint, Service, host_label};
use network::Reach;

/// What settings and environment say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    mode: MdnsMode,
    /// `OPENCLAW_DISABLE_BONJOUR`, which is stronger than the file.
    is_disabled: bool,
    host: Option<String>,
    /// `OPENCLAW_TAILNET_DNS`.
    pub tailnet_dns: Option<String>,
    cli_path: Option<String>,
    ssh_port: u16,
    /// The domain in which this gateway is announced by DNS, when it is to be.
    pub wide_area: Option<Result<String, String>>,
}

/// What is known of a gateway when it listens.
#[derive(Clone, Debug)]
pub struct Gateway<'a> {
    /// Where it listens.
    pub place: Place,
    /// On which port.
    pub port: u16,
    /// What the machine calls itself.
    pub hostname: &'a str,
    /// Its device id.
    pub device_id: &'a str,
    /// Whether it serves the canvas.
    pub has_canvas: bool,
    /// Its name in its tailnet.
    pub tailnet_dns: Option<String>,
    /// The certificate that it shows, where TLS is on.
    pub tls: Option<Fingerprint>,
}

impl Discovery {
    /// Reads the environment. Nothing is opened or asked.
    pub fn new(settings: &DiscoverySettings, environment: &Environment) -> Self {
        let wide_area = settings.wide_area.then(|| match wide_area_domain(settings, environment) {
            Some(domain) => domain,
            None => Err(
                "discovery.wideArea.enabled is true, but there is no domain; set discovery.wideArea.domain"
                    .to_owned(),
            ),
        });
        let program = || std::env::current_exe().ok().map(|path| path.display().to_string());
        Self {
            mode: settings.mdns,
            is_disabled: environment.is_on("OPENCLAW_DISABLE_BONJOUR"),
            host: environment.get("OPENCLAW_MDNS_HOSTNAME").and_then(host_label),
            tailnet_dns: environment
                .get("OPENCLAW_TAILNET_DNS")
                .map(|name| name.trim_end_matches('.').to_owned()),
            cli_path: environment.get("OPENCLAW_CLI_PATH").map(str::to_owned).or_else(program),
            ssh_port: environment
                .get("OPENCLAW_SSH_PORT")
                .and_then(|port| port.parse().ok())
                .unwrap_or(SSH_PORT),
            wide_area,
        }
    }

    /// What to announce on the local network, and on which part of it.
    ///
    /// # Errors
    /// Nothing is, and no socket is opened; why, for a person.
    pub fn announcement(&self, gateway: &Gateway<'_>) -> Result<(Service, Reach), &'static str> {
        if self.is_disabled {
            return Err("off (OPENCLAW_DISABLE_BONJOUR)");
        }
        if self.mode == MdnsMode::Off {
            return Err("off (discovery.mdns.mode)");
        }
        let reach = match gateway.place {
            Place::Lan => Reach::Every,
            Place::Custom(address) if !address.is_loopback() => Reach::Only(address),
            Place::Loopback | Place::Custom(_) => return Err("off (only this machine can connect)"),
            Place::Tailnet => return Err("off (a tailnet has no multicast; see discovery.wideArea)"),
        };
        Ok((self.service(gateway), reach))
    }

    /// The gateway, as others are told of it.
    pub fn service(&self, gateway: &Gateway<'_>) -> Service {
        let detail = match self.mode {
            MdnsMode::Off | MdnsMode::Minimal => Detail::Minimal,
            MdnsMode::Full => Detail::Full { cli_path: self.cli_path.clone(), ssh_port: self.ssh_port },
        };
        let name = gateway.hostname;
        let has_domain = name.len() > DOMAIN.len() && name.to_ascii_lowercase().ends_with(DOMAIN);
        let name = if has_domain { &name[..name.len() - DOMAIN.len()] } else { name };
        Service {
            display_name: name.to_owned(),
            host: self.host.clone().unwrap_or_else(|| "openclaw".to_owned()),
            port: gateway.port,
            suffix: gateway
                .device_id
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(SUFFIX_CHARS)
                .collect(),
            tls: gateway.tls.clone(),
            canvas_port: gateway.has_canvas.then_some(gateway.port),
            tailnet_dns: gateway.tailnet_dns.clone(),
            detail,
        }
    }
}

/// The domain in which gateways are announced by DNS, when one is named: the file's, else
/// `OPENCLAW_WIDE_AREA_DOMAIN`. It is looked in whether or not this machine's gateway is to be there.
pub fn wide_area_domain(
    settings: &DiscoverySettings,
    environment: &Environment,
) -> Option<Result<String, String>> {
    let domain = settings.domain.as_deref().or_else(|| environment.get("OPENCLAW_WIDE_AREA_DOMAIN"));
    domain.map(zone::domain)
}

const SSH_PORT: u16 = 22;
const DOMAIN: &str = ".local";
/// Of sixteen million such endings, two machines of one network have the same one about never.
const SUFFIX_CHARS: usize = 6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::net::Ipv4Addr;

    fn gateway(place: Place) -> Gateway<'static> {
        Gateway {
            place,
            port: 18_789,
            hostname: "studio.local",
            device_id: "a1b2c3d4e5f6",
            has_canvas: true,
            tailnet_dns: None,
            tls: None,
        }
    }

    fn discovery(mdns: MdnsMode, variables: &[(&str, &str)]) -> Discovery {
        let settings = DiscoverySettings { mdns, ..DiscoverySettings::default() };
        Discovery::new(&settings, &Environment::new(variables.iter().copied()))
    }

    #[test]
    fn only_what_others_can_reach_is_announced() {
        // Compatibility row mdns-reach.
        let shown = discovery(MdnsMode::Minimal, &[]);
        let lan = Ipv4Addr::new(192, 168, 1, 2);
        for (place, reach) in [
            (Place::Lan, Some(Reach::Every)),
            (Place::Custom(lan), Some(Reach::Only(lan))),
            (Place::Custom(Ipv4Addr::LOCALHOST), None),
            (Place::Loopback, None),
            (Place::Tailnet, None),
        ] {
            assert_eq!(shown.announcement(&gateway(place)).ok().map(|(_, reach)| reach), reach, "{place:?}");
        }
    }

    #[test]
    fn off_means_off() {
        assert!(discovery(MdnsMode::Off, &[]).announcement(&gateway(Place::Lan)).is_err());
        for (value, is_off) in [("1", true), ("true", true), ("YES", true), ("0", false), ("", false)] {
            let said = discovery(MdnsMode::Full, &[("OPENCLAW_DISABLE_BONJOUR", value)]);
            assert_eq!(said.announcement(&gateway(Place::Lan)).is_err(), is_off, "{value}");
        }
    }

    #[test]
    fn names_come_from_the_machine_the_environment_and_the_device() {
        let said = discovery(MdnsMode::Minimal, &[]).service(&gateway(Place::Lan));
        assert_eq!(
            (said.instance(false).as_str(), said.host(false).as_str()),
            ("studio (OpenClaw)", "openclaw")
        );
        assert_eq!(said.host(true), "openclaw-a1b2c3");
        assert_eq!((said.canvas_port, said.detail), (Some(18_789), Detail::Minimal));
        let variables = [
            ("OPENCLAW_MDNS_HOSTNAME", "Pi.local"),
            ("OPENCLAW_CLI_PATH", "/bin/oc"),
            ("OPENCLAW_SSH_PORT", "2222"),
        ];
        let said = discovery(MdnsMode::Full, &variables).service(&gateway(Place::Lan));
        assert_eq!(said.host(false), "pi");
        assert_eq!(said.detail, Detail::Full { cli_path: Some("/bin/oc".to_owned()), ssh_port: 2_222 });
    }
}
