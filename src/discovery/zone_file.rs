//! The zone file of this machine: what goes into it, and the writing, durably and only when it says something new.

use super::zone::Zone;
use super::{Discovery, Gateway};
use crate::interfaces;
use crate::log::{timestamp, wall_ms};
use crate::storage::{Disk, Put, PutFault, Storage};
use clawgate_proto::host::Version;
use std::path::{Path, PathBuf};

/// What a look at the file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It says something new now.
    New(PathBuf),
    /// It said the same already.
    Same(PathBuf),
}

/// The zone of a gateway that is to be found by DNS. None when it is not.
///
/// # Errors
/// There is no domain or no address for it; a sentence for a person.
pub fn zone(discovery: &Discovery, gateway: &Gateway<'_>) -> Option<Result<Zone, String>> {
    let domain = match discovery.wide_area.clone()? {
        Ok(domain) => domain,
        Err(why) => return Some(Err(why)),
    };
    let Some(ipv4) = interfaces::tailnet_address() else {
        return Some(Err("discovery.wideArea.enabled is true, but no interface has a tailnet address (100.64.0.0/10); start \
                         Tailscale, and restart the gateway"
            .to_owned()));
    };
    Some(Ok(Zone {
        domain,
        hostname: gateway.hostname.to_owned(),
        ipv4,
        ipv6: interfaces::tailnet_ipv6_address(),
        service: discovery.service(gateway),
    }))
}

/// Where the file is.
pub fn path(state_dir: &Path, zone: &Zone) -> PathBuf {
    state_dir.join("dns").join(format!("{}.db", zone.domain))
}

/// The file as it is, if it says what it should, or else as it would be written now.
///
/// # Errors
/// It cannot be read.
pub fn current<D: Disk>(storage: &Storage<D>, state_dir: &Path, zone: &Zone) -> Result<String, String> {
    let there =
        storage.read(&path(state_dir, zone))?.map(|(text, _)| String::from_utf8_lossy(&text).into_owned());
    let renewed = zone.renewed(there.as_deref(), &today());
    Ok(renewed.or(there).unwrap_or_default())
}

/// Writes it, if it says something new.
///
/// # Errors
/// It can be neither read nor written; a sentence for a person.
pub fn write<D: Disk>(storage: &Storage<D>, state_dir: &Path, zone: &Zone) -> Result<Written, String> {
    let path = path(state_dir, zone);
    for _ in 0..TRIES {
        let held = storage.hold(&path)?;
        let (there, mark) = match storage.read(&path)? {
            Some((text, mark)) => (Some(String::from_utf8_lossy(&text).into_owned()), mark),
            None => (None, Version::MISSING),
        };
        let Some(text) = zone.renewed(there.as_deref(), &today()) else { return Ok(Written::Same(path)) };
        match held.put(&[Put { path: &path, expected: Some(mark), content: text.as_bytes() }]) {
            Ok(_) => return Ok(Written::New(path)),
            Err(PutFault::Conflict(_)) => {}
            Err(PutFault::Failed(why)) => return Err(why),
        }
    }
    Err(format!("{} keeps changing; stop what else writes it", path.display()))
}

/// `YYYYMMDD`, in UTC.
fn today() -> String {
    timestamp(wall_ms()).chars().take(10).filter(char::is_ascii_digit).collect()
}

const TRIES: usize = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use crate::storage::RealDisk;
    use clawgate_proto::mdns::{Detail, Service};

    #[test]
    fn the_file_is_touched_only_when_it_says_something_new() {
        let folder = Folder::new();
        let storage = Storage::new(RealDisk, 1);
        let service = Service {
            display_name: "studio".to_owned(),
            host: "openclaw".to_owned(),
            port: 1,
            suffix: String::new(),
            tls: None,
            canvas_port: None,
            tailnet_dns: None,
            detail: Detail::Minimal,
        };
        let zone = Zone {
            domain: "openclaw.internal".to_owned(),
            hostname: "studio".to_owned(),
            ipv4: [100, 64, 0, 1].into(),
            ipv6: None,
            service,
        };
        let before = current(&storage, folder.path(), &zone).unwrap();
        let file = folder.path().join("dns/openclaw.internal.db");
        assert!(!file.exists());
        assert_eq!(write(&storage, folder.path(), &zone), Ok(Written::New(file.clone())));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
        assert_eq!(write(&storage, folder.path(), &zone), Ok(Written::Same(file.clone())));
        let moved = Zone { ipv4: [100, 64, 0, 2].into(), ..zone };
        assert_eq!(write(&storage, folder.path(), &moved), Ok(Written::New(file.clone())));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("ns1 IN A 100.64.0.2\n") && text.contains("02 7200"), "{text}");
        assert_eq!(current(&storage, folder.path(), &moved).unwrap(), text);
    }
}
