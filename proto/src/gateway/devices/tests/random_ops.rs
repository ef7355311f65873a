//! Random operations, a random host: no acknowledged change is lost, no other one is shown.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Move {
    Submit(Op),
    /// The host answers one request.
    Turn,
    /// The next write misbehaves.
    Fault(Fault),
    /// Somebody else touches the files and changes nothing that matters.
    Touch,
    /// The host keeps silent for too long; its write lands, or not.
    Silence {
        lands: bool,
    },
    /// The process dies, before or after the host did what it was asked.
    Crash {
        lands: bool,
    },
    Pass(u64),
}

/// What is known of a device from what was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Absent,
    /// The operator's token, and whether it is revoked; `None` for a token that was not shown.
    Present {
        token: Option<String>,
        revoked: bool,
    },
    /// An operation on it failed or was lost: either is fine.
    Unclear,
}

fn id() -> impl Strategy<Value = String> {
    (0..3_u8).prop_map(|n| format!("d{n}"))
}

fn op() -> impl Strategy<Value = Op> {
    let scopes =
        || prop::sample::subsequence(vec!["operator.read", "operator.write", "operator.pairing"], 0..=3);
    prop_oneof![
        6 => (id(), scopes(), any::<bool>()).prop_map(|(id, scopes, near)| {
            Op::Connect(Box::new(if near { local(&id, &scopes) } else { remote(&id, &scopes) }))
        }),
        2 => id().prop_map(|device_id| Op::Remove { device_id }),
        2 => id().prop_map(|device_id| Op::Revoke { device_id, role: "operator".into() }),
        2 => (id(), prop::option::of(scopes())).prop_map(|(device_id, scopes)| Op::Rotate {
            caller: Caller {
                scopes: Scopes::new(["operator.admin"]),
                device_id: Some(device_id.clone()),
                by_device_token: true,
            },
            device_id,
            role: "operator".into(),
            scopes: scopes.map(|scopes| strings(&scopes)),
        }),
        1 => Just(Op::List),
    ]
}

fn step() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => op().prop_map(Move::Submit),
        8 => Just(Move::Turn),
        1 => prop_oneof![
            Just(Fault::Conflict), Just(Fault::Fails), Just(Fault::FailsLate), Just(Fault::FailsHalfway)
        ].prop_map(Move::Fault),
        1 => Just(Move::Touch),
        1 => any::<bool>().prop_map(|lands| Move::Silence { lands }),
        1 => any::<bool>().prop_map(|lands| Move::Crash { lands }),
        1 => (1..200_000_u64).prop_map(Move::Pass),
    ]
}

#[derive(Default)]
struct Model {
    known: BTreeMap<String, Known>,
    /// Unanswered operations.
    open: BTreeMap<u32, Op>,
}

impl Model {
    fn device_of(op: &Op) -> Option<&str> {
        match op {
            Op::Connect(connect) => Some(&connect.device_id),
            Op::Remove { device_id } | Op::Rotate { device_id, .. } | Op::Revoke { device_id, .. } => {
                Some(device_id)
            }
            _ => None,
        }
    }

    /// What failed or was lost may be on disk or not.
    fn unclear(&mut self, op: &Op) {
        if let Some(id) = Self::device_of(op) {
            self.known.insert(id.to_owned(), Known::Unclear);
        }
    }

    fn learn(&mut self, op: &Op, done: &Done) {
        let Some(id) = Self::device_of(op).map(str::to_owned) else { return };
        let known = match done {
            Done::Connected(connected) => Known::Present { token: Some(token_of(connected)), revoked: false },
            Done::Removed { .. } | Done::Failed(DeviceError::UnknownDevice) => Known::Absent,
            Done::Rotated(rotated) => Known::Present {
                token: rotated.token.as_ref().map(|token| token.expose().to_owned()),
                revoked: false,
            },
            Done::Revoked { .. } => {
                let token = match self.known.get(&id) {
                    Some(Known::Present { token, .. }) => token.clone(),
                    Some(Known::Absent | Known::Unclear) | None => None,
                };
                Known::Present { token, revoked: true }
            }
            Done::Failed(DeviceError::Unavailable(_) | DeviceError::Busy) => Known::Unclear,
            Done::PairingRequired(_) | Done::Failed(_) => return,
            other => panic!("no operation here ends like this: {other:?}"),
        };
        self.known.insert(id, known);
    }

    fn check(&self, devices: &Devices, place: &str) {
        for (id, known) in &self.known {
            let device = devices.paired.get(id);
            match known {
                Known::Unclear => {}
                Known::Absent => assert!(device.is_none(), "{id} is back in {place}"),
                Known::Present { token, revoked } => {
                    let device = device.unwrap_or_else(|| panic!("{id} is lost in {place}"));
                    let entry = &device.tokens.as_ref().unwrap()["operator"];
                    assert_eq!(entry.revoked_at_ms.is_some(), *revoked, "{id} in {place}");
                    assert!(token.as_ref().is_none_or(|token| *token == entry.token), "{id} in {place}");
                }
            }
        }
    }
}

/// Members that only say how somebody came in last may differ between memory and disk.
fn hard(devices: &Devices) -> Vec<PairedDevice> {
    let row = |device: &Arc<PairedDevice>| {
        let mut tokens = device.tokens.clone();
        for entry in tokens.iter_mut().flat_map(BTreeMap::values_mut) {
            entry.last_used_at_ms = None;
        }
        let (device_id, approved_scopes) = (device.device_id.clone(), device.approved_scopes.clone());
        PairedDevice { device_id, approved_scopes, tokens, ..PairedDevice::default() }
    };
    devices.paired.values().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_changes_stay_and_others_do_not_show(moves in prop::collection::vec(step(), 1..80)) {
        let mut rig = Rig::new();
        let mut model = Model::default();
        for step in moves {
            let answered = rig.done.len();
            match step {
                Move::Submit(op) => {
                    let key = rig.submit(op.clone());
                    model.open.insert(key, op);
                }
                Move::Turn => {
                    rig.turn();
                }
                Move::Fault(fault) => rig.fault(fault),
                Move::Touch => rig.edit(|_| {}),
                Move::Silence { lands } => {
                    let Some(request) = rig.asked.take() else { continue };
                    if lands {
                        host::perform(&rig.disk, request);
                    }
                    rig.pass_ms(rig.limits.host_timeout_ms);
                    rig.time_out();
                }
                Move::Crash { lands } => {
                    if let Some(request) = rig.asked.take() && lands {
                        host::perform(&rig.disk, request);
                    }
                    for op in core::mem::take(&mut model.open).values() {
                        model.unclear(op);
                    }
                    rig.restart();
                }
                Move::Pass(ms) => rig.pass_ms(ms),
            }
            // What an answer promises is on disk when the answer is out.
            for (key, done) in &rig.done[answered..] {
                let op = model.open.remove(key).expect("one answer each");
                model.learn(&op, done);
                if matches!(done, Done::Listed) {
                    prop_assert_eq!(hard(rig.memory()), hard(&rig.on_disk()), "a list shows what is stored");
                }
            }
            if rig.done.len() > answered {
                model.check(&rig.on_disk(), "the file");
            }
        }
        // The faults stop: everything is answered, and memory and disk are one.
        rig.disk.0.lock().unwrap().faults.clear();
        let answered = rig.done.len();
        rig.settle();
        rig.run(Op::List);
        for (key, done) in &rig.done[answered..] {
            if let Some(op) = model.open.remove(key) {
                model.learn(&op, done);
            }
        }
        prop_assert!(model.open.is_empty());
        model.check(&rig.on_disk(), "the file");
        model.check(rig.memory(), "memory");
        prop_assert_eq!(hard(rig.memory()), hard(&rig.on_disk()));
        prop_assert_eq!(rig.store.waiting(), 0);
    }
}
