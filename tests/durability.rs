//! The program's own storage, behind the same `Host` that the gateway uses, over a disk that forgets everything
//! that was not fsynced, cut at every step of 200 pair, rotate and revoke operations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

mod disk;
mod lab;

use clawgate::host::StateHost;
use clawgate::host::facts::Facts;
use clawgate::log::Logger;
use clawgate::storage::Storage;
use clawgate_proto::Host as _;
use clawgate_proto::host::{self, Document, HostAnswer, HostRequest};
use clawgate_proto::host::{DevicesCheck, DevicesVersion, StoreFault, Version, Write};
use clawgate_proto::store::{self, DeviceToken, Devices, PairedDevice, PendingRequest};
use clawgate_support::secrets;
use disk::{Luck, SimulatedDisk};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const OPERATIONS: u64 = 200;
/// Different outcomes tried for what was not durable at each cut.
const REBOOTS: u64 = 4;

fn host_on(disk: SimulatedDisk) -> StateHost<SimulatedDisk> {
    let facts = Facts::gather(String::new(), 0);
    let storage = Arc::new(Storage::new(disk, 1));
    StateHost::new(storage, PathBuf::from("/state"), facts, Arc::new(Logger::new(None, false)))
}

/// The store as a freshly started process reads it.
fn load(disk: SimulatedDisk) -> (Devices, DevicesVersion) {
    let request = HostRequest::CheckDevices { known: DevicesVersion::default() };
    let answer = host::perform(&host_on(disk), request);
    let HostAnswer::Devices(Ok(DevicesCheck::Changed { devices, version })) = answer else {
        panic!("the store does not load: {answer:?}")
    };
    ((*devices).clone(), *version)
}

/// One change, and which documents it touches.
fn change(devices: &mut Devices, number: u64, luck: &mut Luck) -> (bool, bool) {
    let known: Vec<String> = devices.paired.keys().cloned().collect();
    let waiting = devices.pending.keys().next().cloned();
    let token =
        || DeviceToken { token: format!("token-{number}"), role: "operator".into(), ..Default::default() };
    match (luck.below(4), waiting) {
        (0, None) => {
            let request_id = format!("request-{number}");
            let request = PendingRequest {
                request_id: request_id.clone(),
                device_id: format!("device-{number}"),
                ..Default::default()
            };
            devices.pending.insert(request_id, Arc::new(request));
            (false, true)
        }
        (0 | 1, Some(request_id)) => {
            let request = devices.pending.remove(&request_id).unwrap();
            let device = PairedDevice {
                device_id: request.device_id.clone(),
                tokens: Some([("operator".to_owned(), token())].into()),
                approved_at_ms: number,
                ..Default::default()
            };
            devices.paired.insert(request.device_id.clone(), Arc::new(device));
            (true, true)
        }
        (kind, _) if !known.is_empty() => {
            let device = devices.paired.get_mut(&known[luck.below(known.len())]).unwrap();
            let device = Arc::make_mut(device);
            let entry = device.tokens.as_mut().unwrap().get_mut("operator").unwrap();
            if kind == 2 {
                entry.revoked_at_ms = Some(number);
            } else {
                *entry = DeviceToken { rotated_at_ms: Some(number), ..token() };
            }
            (true, false)
        }
        _ => {
            let device = PairedDevice {
                device_id: format!("device-{number}"),
                tokens: Some([("operator".to_owned(), token())].into()),
                ..Default::default()
            };
            devices.paired.insert(device.device_id.clone(), Arc::new(device));
            (true, false)
        }
    }
}

fn store(
    disk: SimulatedDisk,
    expected: DevicesVersion,
    devices: &Devices,
    touched: (bool, bool),
) -> Result<DevicesVersion, StoreFault> {
    let devices = Arc::new(devices.clone());
    let request = HostRequest::StoreDevices {
        expected,
        devices,
        paired: touched.0,
        pending: touched.1,
        setup: false,
        nodes: false,
        node_requests: false,
    };
    let answer = host::perform(&host_on(disk), request);
    let HostAnswer::Stored(stored) = answer else { panic!("not an answer to a store request: {answer:?}") };
    stored.map(|version| *version)
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_power_goes() {
    let disk = SimulatedDisk::default();
    let mut luck = Luck(2026);
    let (mut devices, mut version) = load(disk.clone());
    let mut cuts = 0;
    for number in 0..OPERATIONS {
        let before = devices.clone();
        let touched = change(&mut devices, number, &mut luck);
        let first = disk.steps();
        let rehearsal = disk.fork();
        store(rehearsal.clone(), version, &devices, touched).unwrap();
        for step in first..rehearsal.steps() {
            let cut = disk.fork();
            cut.cut_at(step);
            let acknowledged = store(cut.clone(), version, &devices, touched).is_ok();
            assert!(!acknowledged, "operation {number} was acknowledged before step {step} of it");
            cuts += 1;
            for outcome in 0..REBOOTS {
                let (found, _) = load(cut.reboot(step * REBOOTS + outcome));
                // Not acknowledged: it may be there or not, per document, but nothing older may be lost.
                assert!([&before.paired, &devices.paired].contains(&&found.paired), "{number}@{step}");
                assert!([&before.pending, &devices.pending].contains(&&found.pending), "{number}@{step}");
            }
        }
        version = store(disk.clone(), version, &devices, touched).unwrap();
        for outcome in 0..REBOOTS {
            let (found, _) = load(disk.reboot(number * REBOOTS + outcome));
            assert_eq!(found, devices, "operation {number} was acknowledged and is lost");
        }
    }
    assert!(cuts > 200 * 4, "only {cuts} cuts were made");
}

/// If losses could not be seen, the test above would prove nothing.
#[test]
fn a_disk_whose_fsync_lies_is_found_out() {
    let disk = SimulatedDisk::default();
    disk.lie();
    let mut devices = Devices::default();
    devices.paired.insert("a".into(), Arc::default());
    store(disk.clone(), DevicesVersion::default(), &devices, (true, false)).unwrap();
    let parses = |outcome: &u64| {
        let content = host_on(disk.reboot(*outcome)).read(Document::DevicesPaired).unwrap();
        content.is_some_and(|(bytes, _)| store::parse_paired(&bytes) == Ok(devices.paired.clone()))
    };
    assert!((0..64).filter(parses).count() < 64);
}

#[test]
fn the_order_on_disk_is_write_fsync_rename_and_folder_fsync() {
    let disk = SimulatedDisk::default();
    let host = host_on(disk.clone());
    let write = |document| Write { document, expected: None, content: b"{}" };
    host.write(&[write(Document::DevicesPaired), write(Document::DevicesPending)]).unwrap();
    assert_eq!(
        disk.take_trace(),
        ["create", "write", "fsync", "create", "write", "fsync", "rename", "rename", "fsync folder"]
    );
}

#[test]
fn a_failing_step_is_an_error_for_the_caller_and_leaves_no_temporary_file() {
    let kinds =
        [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied];
    let disk = SimulatedDisk::default();
    let mut devices = Devices::default();
    devices.paired.insert("a".into(), Arc::default());
    let version = store(disk.clone(), DevicesVersion::default(), &devices, (true, true)).unwrap();
    let (first, before) = (disk.steps(), devices.clone());
    devices.paired.insert("b".into(), Arc::default());
    devices.pending.insert("c".into(), Arc::default());
    for kind in kinds {
        // The ninth step is the folder's fsync: by then the new content has its names.
        for step in first..first + 9 {
            let disk = disk.fork();
            disk.fail_at(step, kind);
            let fault = store(disk.clone(), version, &devices, (true, true)).unwrap_err();
            assert!(matches!(&fault, StoreFault::Failed(why) if why.contains("/state/devices")), "{fault:?}");
            let names: Vec<String> = clawgate::storage::Disk::entries(&disk, Path::new("/state/devices"))
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(names, ["paired.json", "pending.json"], "after step {step} failed");
            // Reading again is what the caller does next: it must find whole documents.
            let (found, _) = load(disk);
            assert!([&before.paired, &devices.paired].contains(&&found.paired));
            assert!([&before.pending, &devices.pending].contains(&&found.pending));
        }
    }
}

#[test]
fn an_edit_underneath_is_a_conflict_and_survives() {
    let disk = SimulatedDisk::default();
    let mut devices = Devices::default();
    devices.paired.insert("a".into(), Arc::default());
    let version = store(disk.clone(), DevicesVersion::default(), &devices, (true, true)).unwrap();
    let mut theirs = devices.clone();
    theirs.paired.insert("theirs".into(), Arc::default());
    store(disk.clone(), version, &theirs, (true, false)).unwrap();
    devices.paired.insert("ours".into(), Arc::default());
    assert_eq!(store(disk.clone(), version, &devices, (true, true)), Err(StoreFault::Conflict));
    assert_eq!(load(disk).0, theirs);
}

#[test]
fn a_document_that_is_not_there_may_be_expected_to_be_missing() {
    let disk = SimulatedDisk::default();
    let host = host_on(disk);
    assert_eq!(host.version(Document::DevicesPending), Ok(Version::MISSING));
    let write =
        Write { document: Document::DevicesPending, expected: Some(Version::MISSING), content: b"{}" };
    host.write(&[write]).unwrap();
    let write =
        Write { document: Document::DevicesPending, expected: Some(Version::MISSING), content: b"{}" };
    assert_eq!(host.write(&[write]), Err(StoreFault::Conflict));
}
