//! What is announced: the names of a gateway and what its TXT record says (spec: config 8). Both names have a second
//! form, with a suffix that is this device's own, for a network where somebody else has the first.

use super::limits::{LABEL_BYTES_MAX, TEXT_BYTES_MAX};

/// A gateway, as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What people call the machine; may be empty.
    pub display_name: String,
    /// The first label of its name in `local`, without dots.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// What makes its names unlike all others when they have to be: a few letters and digits, always the same on this
    /// device.
    pub suffix: String,
    /// The certificate that it shows, when it speaks TLS. Who reads it here has not been told by the gateway.
    pub tls: Option<Fingerprint>,
    /// Where the canvas is, when it is served.
    pub canvas_port: Option<u16>,
    /// Its name in its tailnet.
    pub tailnet_dns: Option<String>,
    /// How much is said.
    pub detail: Detail,
}

/// How much is said (`discovery.mdns.mode`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What is needed to connect.
    Minimal,
    /// Also how to get a shell there.
    Full {
        /// Where the program is.
        cli_path: Option<String>,
        /// The port of its SSH server.
        ssh_port: u16,
    },
}

/// The SHA-256 of a certificate: 64 hex digits in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// From 32 bytes.
    pub fn new(digest: [u8; 32]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Service {
    /// The label that people see, such as `studio (OpenClaw)`; the second form ends with the suffix.
    pub fn instance(&self, is_second: bool) -> String {
        let name = self.display_name.trim();
        let full = match name {
            "" => PRODUCT.to_owned(),
            _ if name.to_ascii_lowercase().contains("openclaw") => name.to_owned(),
            _ => format!("{} ({PRODUCT})", cut(name, LABEL_BYTES_MAX - PRODUCT.len() - 3)),
        };
        if is_second {
            let end = format!(" {}", self.suffix);
            format!("{}{end}", cut(&full, LABEL_BYTES_MAX.saturating_sub(end.len())))
        } else {
            cut(&full, LABEL_BYTES_MAX).to_owned()
        }
    }

    /// The label of the machine; the second form ends with the suffix.
    pub fn host(&self, is_second: bool) -> String {
        let host = host_label(&self.host).unwrap_or_else(|| "openclaw".to_owned());
        if is_second {
            let end = format!("-{}", self.suffix);
            format!("{}{end}", cut(&host, LABEL_BYTES_MAX.saturating_sub(end.len())).trim_end_matches('-'))
        } else {
            host
        }
    }

    /// The texts of its TXT record. `host` is the label that it goes by now: who connects there must find this gateway
    /// and no other.
    pub fn texts(&self, host: &str) -> Vec<(&'static str, String)> {
        let instance = self.instance(false);
        let shown = instance.strip_suffix(SHOWN_SUFFIX).unwrap_or(&instance);
        let mut texts = vec![
            ("role", "gateway".to_owned()),
            ("gatewayPort", self.port.to_string()),
            ("lanHost", format!("{host}.local")),
            ("displayName", shown.to_owned()),
        ];
        if let Some(Fingerprint(fingerprint)) = &self.tls {
            texts.push(("gatewayTls", "1".to_owned()));
            texts.push(("gatewayTlsSha256", fingerprint.clone()));
        }
        texts.extend(self.canvas_port.map(|port| ("canvasPort", port.to_string())));
        texts.extend(self.tailnet_dns.clone().map(|name| ("tailnetDns", name)));
        texts.push(("transport", "gateway".to_owned()));
        match &self.detail {
            Detail::Minimal => {}
            Detail::Full { cli_path, ssh_port } => {
                texts.extend(cli_path.clone().map(|path| ("cliPath", path)));
                texts.push(("sshPort", ssh_port.to_string()));
            }
        }
        // A text that does not fit is left out: half a path, or half a name, leads nowhere.
        texts.retain(|(name, value)| name.len() + 1 + value.len() <= TEXT_BYTES_MAX);
        texts
    }
}

/// A label for the name of a host, from what a person or a machine calls it: the first label, letters, digits and hyphens
/// only, in lower case. None when nothing is left.
pub fn host_label(name: &str) -> Option<String> {
    let first = name.split('.').next().unwrap_or_default();
    let mut label = String::new();
    for c in first.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            label.push(c);
        } else if !label.ends_with('-') {
            label.push('-');
        }
    }
    let label = cut(label.trim_matches('-'), LABEL_BYTES_MAX).trim_end_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

/// At most so many bytes of a text, and no half character.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end()
}

const PRODUCT: &str = "OpenClaw";
const SHOWN_SUFFIX: &str = " (OpenClaw)";

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service {
            display_name: name.to_owned(),
            host: "openclaw".to_owned(),
            port: 18_789,
            suffix: "a1b2c3".to_owned(),
            tls: None,
            canvas_port: None,
            tailnet_dns: None,
            detail: Detail::Minimal,
        }
    }

    #[test]
    fn names_as_people_see_them() {
        for (name, first, second) in [
            ("studio", "studio (OpenClaw)", "studio (OpenClaw) a1b2c3"),
            ("", "OpenClaw", "OpenClaw a1b2c3"),
            ("My OpenClaw", "My OpenClaw", "My OpenClaw a1b2c3"),
        ] {
            assert_eq!(
                (service(name).instance(false), service(name).instance(true)),
                (first.into(), second.into())
            );
        }
        let long = service(&"ä".repeat(100));
        for is_second in [false, true] {
            let label = long.instance(is_second);
            assert!(label.len() <= LABEL_BYTES_MAX && label.len() > 50, "{label}");
            assert!(label.ends_with(if is_second { "a1b2c3" } else { ")" }), "{label}");
        }
    }

    #[test]
    fn names_of_hosts() {
        for (name, label) in [
            ("openclaw", Some("openclaw")),
            ("Pi.local", Some("pi")),
            ("Anna's MacBook Pro", Some("anna-s-macbook-pro")),
            ("--", None),
            ("", None),
            ("日本", None),
        ] {
            assert_eq!(host_label(name).as_deref(), label, "{name}");
        }
        let long = Service { host: "a".repeat(80), ..service("") };
        assert_eq!((long.host(false).len(), long.host(true).len()), (63, 63));
        assert!(long.host(true).ends_with("-a1b2c3"));
    }

    #[test]
    fn what_the_txt_record_says() {
        let lines = |service: &Service| {
            service
                .texts("openclaw")
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        let minimal = [
            "role=gateway",
            "gatewayPort=18789",
            "lanHost=openclaw.local",
            "displayName=studio",
            "transport=gateway",
        ];
        assert_eq!(lines(&service("studio")), minimal);
        let full = Service {
            tls: Some(Fingerprint::new([0xab; 32])),
            canvas_port: Some(18_789),
            tailnet_dns: Some("studio.tail.ts.net".to_owned()),
            detail: Detail::Full { cli_path: Some("/usr/bin/clawgate".to_owned()), ssh_port: 22 },
            ..service("studio")
        };
        assert_eq!(
            lines(&full)[4..],
            [
                "gatewayTls=1".to_owned(),
                format!("gatewayTlsSha256={}", "ab".repeat(32)),
                "canvasPort=18789".to_owned(),
                "tailnetDns=studio.tail.ts.net".to_owned(),
                "transport=gateway".to_owned(),
                "cliPath=/usr/bin/clawgate".to_owned(),
                "sshPort=22".to_owned(),
            ]
        );
        let too_long = Detail::Full { cli_path: Some("/x".repeat(200)), ssh_port: 22 };
        let shown = lines(&Service { detail: too_long, ..service("studio") });
        assert!(!shown.iter().any(|line| line.starts_with("cliPath")), "{shown:?}");
    }
}
