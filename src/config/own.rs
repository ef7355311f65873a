//! `clawgate.json`: settings of this program that the reference would refuse in its own file. Optional. Unknown
//! names are faults here, because nobody else writes this file.

use super::read::Reader;
use super::value::Node;
use crate::environment::Environment;
use crate::storage::{Disk, Storage};
use clawgate_proto::limits::Limits;
use std::path::Path;

/// Reads the bounds to run with: the defaults, changed by `limits` in that file.
///
/// # Errors
/// The file is there and wrong; a sentence for a person.
pub fn limits<D: Disk>(storage: &Storage<D>, path: &Path) -> Result<Limits, String> {
    let Some((text, _)) = storage.read(path)? else { return Ok(Limits::default()) };
    let invalid =
        |faults: &[String]| format!("Invalid config at {}.\n- {}", path.display(), faults.join("\n- "));
    let text = std::str::from_utf8(&text).map_err(|_| invalid(&["it is not UTF-8".to_owned()]))?;
    let root = Node::parse(text).map_err(|why| invalid(&[why]))?;
    read(&root).map_err(|faults| invalid(&faults))
}

fn read(root: &Node) -> Result<Limits, Vec<String>> {
    let environment = Environment::default();
    let mut reader = Reader::new(root, &environment);
    let mut limits = Limits::default();
    check_names(&mut reader, "", root, &["limits"]);
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
    if limits.process_bytes_max < limits.message_bytes_max {
        reader.faults.push(format!(
            "limits.processBytesMax ({}) is smaller than limits.messageBytesMax ({}): no message of that size could \
             ever be received",
            limits.process_bytes_max, limits.message_bytes_max
        ));
    }
    if reader.faults.is_empty() { Ok(limits) } else { Err(reader.faults) }
}

fn check_names(reader: &mut Reader<'_>, path: &str, node: &Node, known: &[&str]) {
    let Node::Object(members) = node else {
        reader.faults.push(format!("{path} found {}, expected an object", node.kind()));
        return;
    };
    for (name, _) in members {
        if !known.contains(&name.as_str()) {
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

const MIB: u64 = 1024 * 1024;
const DAY_MS: u64 = 24 * 3_600 * 1_000;
const LIMITS: &[Limit] = limits! {
    "messageBytesMax": message_bytes_max in 64 * 1024, 256 * MIB;
    "queuedBytesMax": queued_bytes_max in 64 * 1024, 1024 * MIB;
    "processBytesMax": process_bytes_max in MIB, 2047 * MIB;
    "bodyBytesMax": body_bytes_max in 1024, 256 * MIB;
    "socketsMax": sockets_max in 4, 1_000_000;
    "preauthSocketsMax": preauth_sockets_max in 1, 1_000_000;
    "preauthSocketsPerAddressMax": preauth_sockets_per_address_max in 1, 1_000_000;
    "headlessSocketsMax": headless_sockets_max in 1, 1_000_000;
    "headlessSocketsPerAddressMax": headless_sockets_per_address_max in 1, 1_000_000;
    "endingSocketsMax": ending_sockets_max in 1, 1_000_000;
    "requestsInFlightMax": requests_in_flight_max in 1, 65_536;
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
        read(&Node::parse(text).unwrap())
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
        let absent = limits(&Storage::new(RealDisk, 1), Path::new("/nonexistent/clawgate.json"));
        assert_eq!(absent.unwrap(), Limits::default());
    }
}
