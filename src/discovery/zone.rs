//! The zone file by which a gateway is found in a DNS domain (RFC 6763 over unicast DNS; spec: config 9): pure text, and
//! what makes it a new one.

use clawgate_proto::mdns::Service;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Without the last dot.
    pub domain: String,
    /// What the machine calls itself.
    pub hostname: String,
    /// Its addresses in the tailnet.
    pub ipv4: Ipv4Addr,
    /// Likewise, if there is one.
    pub ipv6: Option<Ipv6Addr>,
    /// The gateway.
    pub service: Service,
}

/// A domain as it is written in a zone and in the name of its file: labels of letters, digits and hyphens, in lower case,
/// without the last dot.
///
/// # Errors
/// It is none; a sentence for a person.
pub fn domain(text: &str) -> Result<String, String> {
    let name = text.trim().trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= DOMAIN_BYTES_MAX && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err(format!(
            "discovery.wideArea.domain: {text:?} is no domain; expected names of letters, digits and hyphens with dots \
             between them, such as openclaw.internal"
        ))
    }
}

impl Zone {
    /// The file as it should be, on a day written as `YYYYMMDD`, given what is there. None when what is there says the
    /// same already.
    pub fn renewed(&self, there: Option<&str>, day: &str) -> Option<String> {
        let hash = hash(&self.body("SERIAL"));
        let line =
            |start: &str| there.and_then(|there| there.lines().find_map(|line| line.strip_prefix(start)));
        if line(HASH_LINE).is_some_and(|old| old.trim() == hash) {
            return None;
        }
        let old = there.and_then(serial_of);
        let first = day.parse::<u32>().unwrap_or(0).saturating_mul(100).saturating_add(1);
        // RFC 1912 section 2.2: by the day, and a serial never goes back, whatever the clock says.
        let serial = match old {
            Some(old) if old >= first => old.saturating_add(1),
            Some(_) | None => first,
        };
        Some(format!("{HASH_LINE}{hash}\n{}", self.body(&serial.to_string())))
    }

    fn body(&self, serial: &str) -> String {
        let first = self.hostname.split('.').next().unwrap_or_default();
        let host = label(first).unwrap_or_else(|| "openclaw".to_owned());
        let instance = label(&format!("{first}-gateway")).unwrap_or_else(|| "openclaw-gateway".to_owned());
        let mut body = format!(
            "$ORIGIN {}.\n$TTL 60\n@ IN SOA ns1 hostmaster {serial} 7200 3600 1209600 60\n@ IN NS ns1\nns1 IN A {ipv4}\n\
             {host} IN A {ipv4}\n",
            self.domain,
            ipv4 = self.ipv4
        );
        if let Some(ipv6) = self.ipv6 {
            let _ = writeln!(body, "{host} IN AAAA {ipv6}");
        }
        let _ = writeln!(body, "_openclaw-gw._tcp IN PTR {instance}._openclaw-gw._tcp");
        let _ = writeln!(body, "{instance}._openclaw-gw._tcp IN SRV 0 0 {} {host}", self.service.port);
        let texts: Vec<String> =
            self.texts().iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
        let _ = writeln!(body, "{instance}._openclaw-gw._tcp IN TXT {}", texts.join(" "));
        body
    }

    /// What the service says of itself, in the order of this file and without what holds on a local network only.
    fn texts(&self) -> Vec<(&'static str, String)> {
        let said = self.service.texts("");
        ORDER.iter().filter_map(|wanted| said.iter().find(|(name, _)| name == wanted).cloned()).collect()
    }
}

/// The number of a zone file.
fn serial_of(text: &str) -> Option<u32> {
    let soa = text.lines().find(|line| line.contains(" IN SOA "))?;
    soa.split_whitespace().find_map(|word| word.parse().ok())
}

/// A label of letters, digits and hyphens.
fn label(text: &str) -> Option<String> {
    clawgate_proto::mdns::host_label(&text.replace('.', "-"))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// FNV-1a of 32 bits over UTF-16, as the reference computes it.
fn hash(text: &str) -> String {
    let hash = text
        .encode_utf16()
        .fold(0x811c_9dc5_u32, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

const HASH_LINE: &str = "; openclaw-content-hash: ";
const ORDER: [&str; 9] = [
    "displayName",
    "role",
    "transport",
    "gatewayPort",
    "gatewayTls",
    "gatewayTlsSha256",
    "tailnetDns",
    "sshPort",
    "cliPath",
];
/// Some room is needed for the labels before it.
const DOMAIN_BYTES_MAX: usize = 150;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use clawgate_proto::mdns::Detail;

    fn zone() -> Zone {
        Zone {
            domain: "openclaw.internal".to_owned(),
            hostname: "Studio.example".to_owned(),
            ipv4: Ipv4Addr::new(100, 64, 0, 7),
            ipv6: Some("fd7a:115c:a1e0::7".parse().unwrap()),
            service: Service {
                display_name: "St\"ud\\io".to_owned(),
                host: "openclaw".to_owned(),
                port: 18_789,
                suffix: "a1b2c3".to_owned(),
                tls: None,
                canvas_port: Some(18_789),
                tailnet_dns: Some("studio.tail.ts.net".to_owned()),
                detail: Detail::Full { cli_path: Some("/bin/oc".to_owned()), ssh_port: 22 },
            },
        }
    }

    #[test]
    fn the_file_as_a_whole() {
        let text = zone().renewed(None, "20261129").unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        assert_eq!(head.strip_prefix(HASH_LINE).unwrap().len(), 8);
        assert_eq!(
            body,
            "$ORIGIN openclaw.internal.\n$TTL 60\n\
             @ IN SOA ns1 hostmaster 2026112901 7200 3600 1209600 60\n@ IN NS ns1\nns1 IN A 100.64.0.7\n\
             studio IN A 100.64.0.7\nstudio IN AAAA fd7a:115c:a1e0::7\n\
             _openclaw-gw._tcp IN PTR studio-gateway._openclaw-gw._tcp\n\
             studio-gateway._openclaw-gw._tcp IN SRV 0 0 18789 studio\n\
             studio-gateway._openclaw-gw._tcp IN TXT \"displayName=St\\\"ud\\\\io\" \"role=gateway\" \
             \"transport=gateway\" \"gatewayPort=18789\" \"tailnetDns=studio.tail.ts.net\" \"sshPort=22\" \
             \"cliPath=/bin/oc\"\n"
        );
    }

    #[test]
    fn it_is_written_only_when_it_says_something_new_and_serials_go_up() {
        let first = zone().renewed(None, "20261129").unwrap();
        assert_eq!(zone().renewed(Some(&first), "20261130"), None);
        let other = Zone { ipv4: Ipv4Addr::new(100, 64, 0, 8), ..zone() };
        for (day, serial) in
            [("20261129", 2_026_112_902), ("20261130", 2_026_113_001), ("19700101", 2_026_112_902)]
        {
            let text = other.renewed(Some(&first), day).unwrap();
            assert_eq!(serial_of(&text), Some(serial), "{day}");
        }
        // What is no zone file is replaced.
        assert!(zone().renewed(Some("nonsense"), "20261129").is_some());
    }

    #[test]
    fn the_hash_is_the_references() {
        // Published values of FNV-1a.
        for (text, value) in [("", "811c9dc5"), ("a", "e40c292c"), ("foobar", "bf9cf968")] {
            assert_eq!(hash(text), value);
        }
    }

    #[test]
    fn domains_lead_nowhere_else() {
        for (text, name) in [
            ("OpenClaw.internal.", Some("openclaw.internal")),
            (" a-b.c ", Some("a-b.c")),
            ("../../etc/passwd", None),
            ("a/b", None),
            ("a..b", None),
            ("", None),
            (".", None),
            ("a\nb", None),
            ("-a.b", None),
        ] {
            assert_eq!(domain(text).ok().as_deref(), name, "{text:?}");
        }
    }
}
