//! Runs that a person can read, held against the files in `golden/`. `CLAWGATE_BLESS=1` writes the files anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clawgate_proto::config::{AuthMode, RateLimit};
use clawgate_sim::plan::{
    Act, Call, Credential, DEVICES, Disk, Edit, Ending, Flaw, HostManner, Kind, Opening, Plan, Raw, Setup,
    Spec, Timed, Who, narrow, roomy, tight,
};
use clawgate_sim::{START, play};
use std::path::Path;

#[test]
fn first_light() {
    let cli = Spec { who: Who::Cli, protocol: (3, 3), device: Some(1), ..operator(1) };
    check(
        "first-light",
        roomy(),
        vec![
            (5, open(0, operator(0))),
            (20, open(1, cli)),
            (40, Act::Call(0, Call::Health)),
            (50, Act::Call(1, Call::Presence)),
            (60, Act::Call(0, Call::PairList)),
            (70, Act::Call(1, Call::Unknown)),
            (2_500, Act::Close(1)),
            (2_700, Act::Reset(0)),
        ],
    );
}

#[test]
fn pairing_from_afar() {
    let far = |credential| Spec { scopes: &["operator.read"], credential, device: Some(2), ..operator(2) };
    check(
        "pairing",
        roomy(),
        vec![
            (5, open(0, operator(0))),
            (20, open_from(2, 1, far(Credential::Shared))),
            (40, Act::Call(0, Call::Approve(0))),
            (60, open_from(2, 2, far(Credential::Shared))),
            // This time with the device token it was given, and nothing else.
            (80, open_from(2, 3, far(Credential::Device))),
            (100, Act::Call(3, Call::Remove(2))),
            (120, Act::Call(0, Call::Revoke(2, "operator"))),
            (140, open_from(2, 4, far(Credential::Device))),
        ],
    );
}

#[test]
fn a_store_in_trouble() {
    check(
        "store",
        roomy(),
        vec![
            (5, Act::Disk(Disk::FailWrite)),
            (10, open(0, operator(0))),
            (30, Act::Disk(Disk::Conflict)),
            (40, open(1, operator(0))),
            (60, Act::Host(HostManner::Dead, 1)),
            (65, open(2, operator(1))),
            (1_200, Act::Host(HostManner::Twice, 4)),
            (1_210, open(3, operator(1))),
            (1_300, Act::Edit(Edit::Corrupt)),
            (1_310, Act::Call(1, Call::Remove(1))),
            (1_400, Act::Edit(Edit::Repair)),
            (1_500, Act::Edit(Edit::Remove(1))),
            (2_100, Act::Wall(-3_600_000)),
        ],
    );
}

#[test]
fn strangers_at_the_door() {
    let flawed = |flaw| Spec { flaw: Some(flaw), ..operator(0) };
    let wrong = Spec { credential: Credential::Wrong, ..operator(1) };
    let page = Spec { who: Who::Page, origin: Some("https://evil.example"), ..operator(2) };
    let no_device = Spec { who: Who::Cli, device: None, ..operator(3) };
    let mut acts = vec![
        (5, open(0, flawed(Flaw::Signature))),
        (10, open(1, flawed(Flaw::Protocol))),
        (15, open(2, flawed(Flaw::NotConnect))),
        (20, open(3, flawed(Flaw::NotJson))),
        (25, open(4, page)),
        (30, open(5, no_device)),
        (35, open_from(2, 6, wrong.clone())),
        (40, open_from(2, 7, wrong.clone())),
        (45, open_from(2, 8, wrong)),
        (50, bytes(9, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
        (55, bytes(10, b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")),
    ];
    acts.extend((11..16).map(|peer| (60, opening(3, peer, Kind::Upgraded))));
    check("strangers", tight(), acts);
}

#[test]
fn a_peer_that_does_not_read() {
    check(
        "slow",
        narrow(),
        vec![
            (5, open(0, operator(0))),
            (50, Act::Stall(0)),
            (60, Act::Raw(0, Raw::Flood(20))),
            (1_800, Act::Resume(0)),
        ],
    );
}

#[test]
fn a_stop() {
    let far = Spec { device: Some(1), ..operator(1) };
    check(
        "stop",
        roomy(),
        vec![
            (5, open(0, operator(0))),
            (20, open_from(2, 1, far)),
            (30, opening(0, 2, Kind::Silent)),
            (35, opening(0, 3, Kind::Upgraded)),
            (40, open(4, Spec { who: Who::Node, device: Some(3), scopes: &[], ..operator(3) })),
            (60, Act::Stop),
            (61, open(5, operator(0))),
        ],
    );
}

/// An operator on this machine with a device and the shared token.
fn operator(device: u8) -> Spec {
    Spec {
        who: Who::Test,
        protocol: (3, 4),
        scopes: &["operator.admin"],
        device: Some(device),
        credential: Credential::Shared,
        flaw: None,
        eager: 0,
        origin: None,
        platform: "linux",
    }
}

fn open(peer: usize, spec: Spec) -> Act {
    open_from(0, peer, spec)
}

fn open_from(from: u8, peer: usize, spec: Spec) -> Act {
    opening(from, peer, Kind::Client(Box::new(spec)))
}

fn bytes(peer: usize, bytes: &[u8]) -> Act {
    opening(0, peer, Kind::Bytes(bytes.to_vec()))
}

fn opening(from: u8, peer: usize, kind: Kind) -> Act {
    Act::Open(Opening { peer, kind, from, piece_bytes_max: 1 << 20, delay_us_max: 0, window_bytes: 1 << 20 })
}

fn check(name: &str, limits: clawgate_proto::limits::Limits, acts: Vec<(u64, Act)>) {
    let rate_limit = Some(RateLimit { attempts_max: 2, ..RateLimit::default() });
    let plan = Plan {
        seed: 1,
        start: START,
        setup: Setup { limits, mode: AuthMode::Token, rate_limit },
        acts: acts.into_iter().map(|(ms, act)| Timed { at_us: 1_000 * ms, act }).collect(),
        ending: Ending::Watch(500),
        devices: DEVICES,
        jitter_us: 1,
        sabotage: None,
    };
    let report = play(&plan, true);
    for secret in &report.secrets {
        clawgate_support::secrets::record_as(clawgate_support::secrets::Kind::DeviceToken, secret);
    }
    assert_eq!(report.violation, None, "{}", report.lines.join("\n"));
    let have = report.lines.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.txt"));
    if std::env::var_os("CLAWGATE_BLESS").is_some() {
        std::fs::write(&path, &have).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = have.lines().zip(want.lines()).position(|(have, want)| have != want);
    let at = differs.unwrap_or_else(|| have.lines().count().min(want.lines().count()));
    assert!(
        have == want,
        "{name} differs in line {}:\n have {:?}\n want {:?}\nCLAWGATE_BLESS=1 takes it as it is",
        at + 1,
        have.lines().nth(at),
        want.lines().nth(at),
    );
}
