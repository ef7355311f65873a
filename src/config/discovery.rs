//! `discovery` in the configuration: how this gateway is found on the network (spec: config 8 and 9).

use super::read::Reader;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoverySettings {
    /// `mdns.mode`.
    pub mdns: MdnsMode,
    /// `wideArea.enabled`.
    pub wide_area: bool,
    /// `wideArea.domain`.
    pub domain: Option<String>,
}

/// How much is said on the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MdnsMode {
    /// Nothing; no socket is opened.
    Off,
    /// What is needed to connect.
    #[default]
    Minimal,
    /// Also where this program is, and the port of SSH.
    Full,
}

impl DiscoverySettings {
    /// Reads it.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let mdns = match reader.choice("discovery.mdns.mode", &["off", "minimal", "full"]) {
            Some("off") => MdnsMode::Off,
            Some("full") => MdnsMode::Full,
            Some(_) | None => MdnsMode::Minimal,
        };
        Self {
            mdns,
            wide_area: reader.switch("discovery.wideArea.enabled").unwrap_or(false),
            domain: reader.text("discovery.wideArea.domain").filter(|domain| !domain.trim().is_empty()),
        }
    }
}
