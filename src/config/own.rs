//! `clawgate.json`: settings of this program that the reference would refuse in its own file. Optional. Unknown
//! names are faults here, because nobody else writes this file.

use super::read::Reader;
use super::value::Node;
use super::weak::Weakness;
use crate::environment::Environment;
use crate::storage::{Disk, Storage};
use crate::tls::Oldest;
use clawgate_config::validate::{shown_name, shown_text};
use clawgate_proto::config::PairingRules;
use clawgate_proto::host::Version;
use clawgate_proto::limits::Limits;
use clawgate_proto::net::Cidr;
use clawgate_proto::secret::Secret;
use std::path::{Path, PathBuf};

/// What that file says.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// The bounds to run with: the defaults, changed by `limits`.
    pub limits: Limits,
    /// How a proxy proves that it is the proxy.
    pub proxy: ProxyProof,
    /// `nodePairing`: which devices are paired without a person.
    pub pairing: PairingRules,
    /// `metrics.enabled`: whether `/metrics` is there.
    pub metrics: bool,
    /// `tailscale.socket`: where tailscaled of this machine answers, when not where it usually does.
    pub tailscale_socket: Option<PathBuf>,
    /// `tls.minVersion`: the oldest version of TLS that is spoken, where `gateway.tls` is on.
    pub oldest_tls: Oldest,
}

/// `trustedProxy`: what `gateway.auth.trustedProxy` of the reference's file has no words for.
#[derive(Clone, Debug, Default)]
pub struct ProxyProof {
    /// `proofHeader` and `proof`: a header, in lower case, and the value that only the proxy knows.
    pub proof: Option<(String, Secret)>,
    /// `dangerouslyTrustLoopback`: every program of this machine may name users.
    pub trusts_loopback: bool,
}

/// What counts beside that file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// `--max-connections`: stronger than `limits.socketsMax`.
    pub sockets_max: Option<usize>,
    /// What the system grants this process at most, in bytes: where `limits.memoryBytesMax` says nothing.
    pub memory_limit: Option<u64>,
}

impl Own {
    /// The same with what counts beside the file.
    pub fn with(mut self, around: Around) -> Self {
        self.limits.sockets_max = around.sockets_max.unwrap_or(self.limits.sockets_max);
        if self.limits.memory_bytes_max == 0 {
            // The rest is for what does not grow with sockets, and for what the kernel itself keeps for the process.
            self.limits.memory_bytes_max = around.memory_limit.map_or(0, |limit| limit - limit / 10);
        }
        self
    }
}

/// Reads that file. Where a secret is asked for, `${NAME}` stands for a variable of `environment`.
///
/// # Errors
/// The file is there and wrong; a sentence for a person.
pub fn read<D: Disk>(storage: &Storage<D>, path: &Path, environment: &Environment) -> Result<Own, String> {
    read_marked(storage, path, environment).map(|(own, _)| own)
}

/// A text and the mark that it had; `None` where there is no file.
pub type Marked = Option<(Vec<u8>, Version)>;

/// Reads that file as [`read`] does, and gives its text as well.
///
/// # Errors
/// As [`read`].
pub fn read_marked<D: Disk>(
    storage: &Storage<D>,
    path: &Path,
    environment: &Environment,
) -> Result<(Own, Marked), String> {
    let found = storage.read(path)?;
    let own = found.as_ref().map_or_else(|| Ok(Own::default()), |(text, _)| of_text(text, path, environment));
    Ok((own?, found))
}

/// The same of a text that was read at that path.
///
/// # Errors
/// It is wrong; a sentence for a person.
pub fn of_text(text: &[u8], path: &Path, environment: &Environment) -> Result<Own, String> {
    let invalid =
        |faults: &[String]| format!("Invalid config at {}.\n- {}", path.display(), faults.join("\n- "));
    let text = std::str::from_utf8(text).map_err(|_| invalid(&["it is not UTF-8".to_owned()]))?;
    let root = Node::parse(text).map_err(|why| invalid(&[why]))?;
    parse(&root, environment).map_err(|faults| invalid(&faults))
}

fn parse(root: &Node, environment: &Environment) -> Result<Own, Vec<String>> {
    let mut reader = Reader::new(root, environment);
    let mut limits = Limits::default();
    check_names(
        &mut reader,
        "",
        root,
        &["limits", "trustedProxy", "tailscale", "nodePairing", "metrics", "tls"],
    );
    for (name, known) in [
        ("trustedProxy", &["proofHeader", "proof", "dangerouslyTrustLoopback"][..]),
        ("tailscale", &["socket"]),
        ("nodePairing", &["autoApproveLocal", "autoApproveCidrs"]),
        ("metrics", &["enabled"]),
        ("tls", &["minVersion"]),
    ] {
        if let Some(section) = reader.node(name) {
            check_names(&mut reader, &format!("{name}."), section, known);
        }
    }
    let proxy = proxy_proof(&mut reader);
    let pairing = pairing(&mut reader);
    let metrics = reader.switch("metrics.enabled").unwrap_or(false);
    let tailscale_socket = reader.text("tailscale.socket").map(|path| environment.path(&path));
    let oldest_tls = match reader.choice("tls.minVersion", &["1.2", "1.3"]) {
        Some("1.2") => Oldest::Tls12,
        Some(_) | None => Oldest::Tls13,
    };
    if let Some(section) = reader.node("limits") {
        let names: Vec<&str> = LIMITS.iter().map(|limit| limit.name).collect();
        check_names(&mut reader, "limits.", section, &names);
    }
    for limit in LIMITS {
        if let Some(value) = reader.integer(&format!("limits.{}", limit.name), limit.min, limit.max) {
            (limit.set)(&mut limits, value);
        }
    }
    // The marks between which reading pauses must lie below the bound itself.
    limits.queued_bytes_high = limits.queued_bytes_high.min(limits.queued_bytes_max / 2);
    limits.queued_bytes_low = limits.queued_bytes_low.min(limits.queued_bytes_high / 4);
    // Whoever bounds memory means this, too; and nothing larger than a message or a queue is for a node.
    limits.invokes_bytes_max = limits.invokes_bytes_max.min(limits.process_bytes_max / 8);
    limits.pending_bytes_max = limits.pending_bytes_max.min(limits.process_bytes_max / 16);
    limits.node_queued_bytes_max = limits.node_queued_bytes_max.min(limits.queued_bytes_max);
    limits.node_message_bytes_max = limits.node_message_bytes_max.min(limits.message_bytes_max);
    if limits.process_bytes_max < limits.message_bytes_max {
        reader.faults.push(format!(
            "limits.processBytesMax ({}) is smaller than limits.messageBytesMax ({}): no message of that size could \
             ever be received",
            limits.process_bytes_max, limits.message_bytes_max
        ));
    }
    if reader.faults.is_empty() {
        Ok(Own { limits, proxy, pairing, metrics, tailscale_socket, oldest_tls })
    } else {
        Err(reader.faults)
    }
}

fn proxy_proof(reader: &mut Reader<'_>) -> ProxyProof {
    let trusts_loopback = reader.switch("trustedProxy.dangerouslyTrustLoopback").unwrap_or(false);
    let header = reader.text("trustedProxy.proofHeader").map(|name| name.trim().to_ascii_lowercase());
    let is_there = reader.node("trustedProxy.proof").is_some();
    let value = reader.text("trustedProxy.proof").and_then(|text| Secret::new(&text));
    let proof = match (header, value) {
        (None, None) if !is_there => None,
        (Some(header), Some(value)) if is_header_name(&header) => {
            if Weakness::of(value.expose()).is_some() || value.expose().len() < PROOF_CHARS_MIN {
                reader.faults.push(format!(
                    "trustedProxy.proof: too easy to guess; use at least {PROOF_CHARS_MIN} random characters, such as \
                     `openssl rand -hex 24` prints"
                ));
            }
            Some((header, value))
        }
        (Some(header), Some(_)) => {
            // It may be the proof.
            let found = shown_text(&header, true);
            reader.fault("trustedProxy.proofHeader", &found, "the name of a header");
            None
        }
        (_, _) => {
            reader.faults.push(
                "trustedProxy: proofHeader and proof belong together: a header, and the value that only the proxy knows"
                    .to_owned(),
            );
            None
        }
    };
    ProxyProof { proof, trusts_loopback }
}

fn pairing(reader: &mut Reader<'_>) -> PairingRules {
    let local = reader.switch("nodePairing.autoApproveLocal").unwrap_or(true);
    let mut node_ranges = Vec::new();
    for (at, text) in reader.texts("nodePairing.autoApproveCidrs").iter().enumerate() {
        match Cidr::parse(text) {
            Some(range) => node_ranges.push(range),
            None => {
                let path = format!("nodePairing.autoApproveCidrs[{at}]");
                reader.fault(&path, &shown_text(text, true), "an address or a range, such as 192.168.1.0/24");
            }
        }
    }
    PairingRules { local, node_ranges }
}

/// A token as in RFC 9110 section 5.6.2.
pub fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn check_names(reader: &mut Reader<'_>, path: &str, node: &Node, known: &[&str]) {
    let Node::Object(members) = node else {
        reader.faults.push(format!("{path} found {}, expected an object", node.kind()));
        return;
    };
    for (name, _) in members {
        if !known.contains(&name.as_str()) {
            let name = shown_name(name, path == "trustedProxy.");
            let name = name.trim_matches('"');
            reader.faults.push(format!("{path}{name}: unknown; known are {}", known.join(", ")));
        }
    }
}

struct Limit {
    name: &'static str,
    min: u64,
    max: u64,
    set: fn(&mut Limits, u64),
}

macro_rules! limits {
    ($($name:literal: $field:ident in $min:expr, $max:expr;)*) => {
        &[$(Limit {
            name: $name,
            min: $min,
            max: $max,
            set: |limits, value| {
                // Bounds fit every type they are put into, on 32-bit machines too.
                limits.$field = value.try_into().unwrap_or(limits.$field);
            },
        }),*]
    };
}

/// Half of what is generated for a token: nobody types it.
const PROOF_CHARS_MIN: usize = 24;
const MIB: u64 = 1024 * 1024;
const DAY_MS: u64 = 24 * 3_600 * 1_000;
const LIMITS: &[Limit] = limits! {
    "messageBytesMax": message_bytes_max in 64 * 1024, 256 * MIB;
    "queuedBytesMax": queued_bytes_max in 64 * 1024, 1024 * MIB;
    "processBytesMax": process_bytes_max in MIB, 2047 * MIB;
    "bodyBytesMax": body_bytes_max in 1024, 256 * MIB;
    "socketsMax": sockets_max in 4, 1_000_000;
    "memoryBytesMax": memory_bytes_max in MIB, 1024 * 1024 * MIB;
    "preauthSocketsMax": preauth_sockets_max in 1, 1_000_000;
    "preauthSocketsPerAddressMax": preauth_sockets_per_address_max in 1, 1_000_000;
    "headlessSocketsMax": headless_sockets_max in 1, 1_000_000;
    "headlessSocketsPerAddressMax": headless_sockets_per_address_max in 1, 1_000_000;
    "endingSocketsMax": ending_sockets_max in 1, 1_000_000;
    "requestsInFlightMax": requests_in_flight_max in 1, 65_536;
    "nodeMessageBytesMax": node_message_bytes_max in 1024, 25 * MIB;
    "nodeQueuedBytesMax": node_queued_bytes_max in 1024, 1024 * MIB;
    "invokesMax": invokes_max in 1, 65_536;
    "invokesPerNodeMax": invokes_per_node_max in 1, 65_536;
    "invokesPerCallerMax": invokes_per_caller_max in 1, 65_536;
    "invokesBytesMax": invokes_bytes_max in 64 * 1024, 1024 * MIB;
    "presenceEntriesMax": presence_entries_max in 1, 65_536;
    "repliesEntriesMax": replies_entries_max in 1, 1_000_000;
    "repliesBytesMax": replies_bytes_max in 1024, 1024 * MIB;
    "headTimeoutMs": head_timeout_ms in 100, DAY_MS;
    "handshakeTimeoutMs": handshake_timeout_ms in 100, DAY_MS;
    "pingIntervalMs": ping_interval_ms in 1_000, DAY_MS;
    "pongTimeoutMs": pong_timeout_ms in 1_000, DAY_MS;
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::storage::RealDisk;

    fn from(text: &str) -> Result<Limits, Vec<String>> {
        parse(&Node::parse(text).unwrap(), &Environment::default()).map(|own| own.limits)
    }

    #[test]
    fn a_proxy_proves_itself_with_a_header_and_a_value_that_nobody_guesses() {
        let environment = Environment::new([("PROOF", "0123456789abcdefghijklmnop")]);
        let read = |text: &str| parse(&Node::parse(text).unwrap(), &environment);
        let own =
            read("{trustedProxy: {proofHeader: 'X-Proof', proof: '${PROOF}'}, tailscale: {socket: '/s'}}");
        let own = own.unwrap();
        let (header, value) = own.proxy.proof.unwrap();
        assert_eq!((header.as_str(), value.expose().len()), ("x-proof", 26));
        assert_eq!((own.tailscale_socket, own.proxy.trusts_loopback), (Some(PathBuf::from("/s")), false));
        for (text, want) in [
            ("{proofHeader: 'X-Proof'}", "belong together"),
            ("{proof: '${PROOF}'}", "belong together"),
            ("{proofHeader: 'X-Proof', proof: ''}", "belong together"),
            ("{proofHeader: 'X Proof', proof: '${PROOF}'}", "the name of a header"),
            ("{proofHeader: 'X-Proof', proof: 'short'}", "too easy to guess"),
            ("{trustLoopback: true}", "trustLoopback: unknown"),
            ("{'proof=0123456': 1}", "a name of 13 characters: unknown"),
            // In the wrong line.
            ("{proofHeader: '0123/4567', proof: 'X-Proof'}", "the name of a header"),
        ] {
            let faults = read(&format!("{{trustedProxy: {text}}}")).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(want), "{text}: {faults:?}");
            assert!(!faults[0].contains("0123"), "{faults:?}");
        }
    }

    #[test]
    fn nodes_are_paired_without_a_person_where_their_owner_says_so() {
        let read = |text: &str| parse(&Node::parse(text).unwrap(), &Environment::default());
        assert_eq!(read("{}").unwrap().pairing, PairingRules::default());
        let text =
            "{nodePairing: {autoApproveLocal: false, autoApproveCidrs: ['192.168.1.0/24', 'fd00::/8']}}";
        let ranges = ["192.168.1.0/24", "fd00::/8"].map(|text| Cidr::parse(text).unwrap()).to_vec();
        assert_eq!(read(text).unwrap().pairing, PairingRules { local: false, node_ranges: ranges });
        for (text, want) in [
            ("{autoApproveCidrs: ['everybody']}", "nodePairing.autoApproveCidrs[0]: found a text of 9"),
            ("{autoApproveCidrs: '10.0.0.0/8'}", "nodePairing.autoApproveCidrs: found a text"),
            ("{autoApprove: true}", "nodePairing.autoApprove: unknown"),
        ] {
            let faults = read(&format!("{{nodePairing: {text}}}")).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with(want), "{faults:?}");
        }
    }

    #[test]
    fn a_flag_and_the_system_count_beside_the_file() {
        let own = |text: &str| parse(&Node::parse(text).unwrap(), &Environment::default()).unwrap();
        let bounds = |own: Own| (own.limits.sockets_max, own.limits.memory_bytes_max);
        let around = Around { sockets_max: Some(9), memory_limit: Some(100 * MIB) };
        let text = "{limits: {socketsMax: 7, memoryBytesMax: 5000000}}";
        assert_eq!(bounds(own(text).with(around)), (9, 5_000_000));
        assert_eq!(bounds(own("{}").with(around)), (9, 90 * MIB));
        assert_eq!(bounds(own(text).with(Around::default())), (7, 5_000_000));
        assert_eq!(bounds(own("{}").with(Around::default())), (8_192, 0));
    }

    #[test]
    fn metrics_are_off_unless_asked_for() {
        let read = |text: &str| parse(&Node::parse(text).unwrap(), &Environment::default());
        assert!(!read("{}").unwrap().metrics && read("{metrics: {enabled: true}}").unwrap().metrics);
        assert!(read("{metrics: {enable: true}}").unwrap_err()[0].starts_with("metrics.enable: unknown"));
        assert!(read("{metrics: {enabled: 'yes'}}").unwrap_err()[0].starts_with("metrics.enabled: found"));
    }

    #[test]
    fn a_small_board_gets_small_bounds() {
        let limits = from(
            "{limits: {messageBytesMax: 1048576, processBytesMax: 8388608, socketsMax: 64, \
                           queuedBytesMax: 524288}}",
        )
        .unwrap();
        assert_eq!(
            (limits.message_bytes_max, limits.process_bytes_max, limits.sockets_max),
            (1 << 20, 8 << 20, 64)
        );
        assert_eq!((limits.queued_bytes_high, limits.queued_bytes_low), (256 << 10, 64 << 10));
        assert_eq!((limits.invokes_bytes_max, limits.pending_bytes_max), (1 << 20, 512 << 10));
        assert_eq!((limits.node_message_bytes_max, limits.node_queued_bytes_max), (1 << 20, 512 << 10));
        assert_eq!(limits.ping_interval_ms, Limits::default().ping_interval_ms);
        assert_eq!(from("{}").unwrap(), Limits::default());
    }

    #[test]
    fn every_name_sets_what_it_says_and_refuses_what_is_out_of_range() {
        for limit in LIMITS {
            let changed =
                from(&format!("{{limits: {{processBytesMax: 536870912, {}: {}}}}}", limit.name, limit.max));
            assert!(changed.is_ok_and(|changed| changed != from("{}").unwrap()), "{}", limit.name);
            let faults = from(&format!("{{limits: {{{}: {}}}}}", limit.name, limit.max + 1)).unwrap_err();
            assert!(faults[0].starts_with(&format!("limits.{}: found ", limit.name)), "{faults:?}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(from("{limit: {}}").unwrap_err()[0].starts_with("limit: unknown; known are limits"));
        assert!(from("{limits: {socketMax: 1}}").unwrap_err()[0].starts_with("limits.socketMax: unknown"));
        assert!(from("{limits: {processBytesMax: 1048576}}").unwrap_err()[0].contains("smaller than"));
        let absent = Path::new("/nonexistent/clawgate.json");
        let own = read(&Storage::new(RealDisk, 1), absent, &Environment::default()).unwrap();
        assert_eq!(own.limits, Limits::default());
    }
}
