#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::claim::Run;
use super::*;
use crate::time::Wall;
use proptest::prelude::*;
use serde_json::json;

const ASKER: ConnId = ConnId(1);
const OTHER: ConnId = ConnId(2);

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000), wall: Wall(1_800_000_000_000 + ms) }
}

fn run() -> Run {
    Run {
        argv: vec!["/bin/ls".to_owned(), "-l".to_owned()],
        agent_id: Some("main".to_owned()),
        ..Run::default()
    }
}

fn draft() -> Draft {
    Draft {
        id: None,
        kind: Kind::Exec,
        request: json!({"command": "/bin/ls -l"}),
        allowed: Decision::ALL.to_vec(),
        reviewers: BTreeSet::new(),
        binding: Some(Binding { node_id: Some("n".to_owned()), run: run() }),
        timeout_ms: Some(5_000),
        two_phase: false,
    }
}

fn asker() -> Asker {
    Asker { conn: ASKER, device_id: Some("d".to_owned()) }
}

fn by(name: &str) -> Option<Decider> {
    Some(Decider { name: name.to_owned(), device_id: None })
}

fn claim(run: &Run) -> Claim<'_> {
    Claim { node_id: Some("n"), run, conn: OTHER, device_id: Some("d") }
}

struct Lab {
    book: Book,
    limits: Limits,
}

impl Lab {
    fn new() -> Self {
        Self { book: Book::default(), limits: Limits::default() }
    }

    fn open(&mut self, ms: u64, id: &str) -> Result<u64, OpenFault> {
        self.book.open(at(ms), id.to_owned(), draft(), asker(), &self.limits)
    }

    fn decide(&mut self, ms: u64, number: u64, decision: Decision) -> Result<Settled, EndFault> {
        let ended = self.book.end(at(ms), number, Outcome::Decided(decision), by("p"), &self.limits);
        self.book.check();
        ended
    }

    fn wait(
        &mut self,
        number: u64,
        conn: ConnId,
        id: &str,
        patience_ms: Option<u64>,
    ) -> Result<(), WaitFault> {
        let waiter = (conn, Box::from(id), Wants::Decision);
        self.book.wait(at(0).mono, number, waiter, patience_ms, &self.limits)
    }
}

fn names(waiters: &[Waiter]) -> Vec<&str> {
    waiters.iter().map(|waiter| &*waiter.id).collect()
}

#[test]
fn the_first_decision_counts_and_the_same_again_is_no_fault() {
    let mut lab = Lab::new();
    let number = lab.open(0, "a").unwrap();
    lab.wait(number, ASKER, "1", None).unwrap();
    lab.wait(number, OTHER, "2", None).unwrap();
    let Ok(Settled::Now(waiters)) = lab.decide(1, number, Decision::Deny) else { panic!("not decided") };
    assert_eq!(names(&waiters), ["1", "2"]);
    assert_eq!(lab.decide(2, number, Decision::Deny), Ok(Settled::Before));
    for other in [Decision::AllowOnce, Decision::AllowAlways] {
        assert_eq!(lab.decide(3, number, other), Err(EndFault::Already));
    }
    let entry = lab.book.find("a").unwrap();
    assert_eq!((entry.decision(), entry.end.as_ref().unwrap().at_ms), (Some(Decision::Deny), at(1).wall.0));
    assert_eq!(lab.wait(number, ASKER, "3", None), Err(WaitFault::Unknown), "what ended is not waited for");
    assert_eq!(lab.decide(3, number + 1, Decision::Deny), Err(EndFault::Unknown));
}

#[test]
fn what_is_not_offered_cannot_be_decided() {
    let mut lab = Lab::new();
    let draft = Draft { allowed: vec![Decision::AllowOnce, Decision::Deny], ..draft() };
    let number = lab.book.open(at(0), "a".to_owned(), draft, asker(), &lab.limits).unwrap();
    assert_eq!(lab.decide(0, number, Decision::AllowAlways), Err(EndFault::NotAllowed));
    assert!(lab.book.find("a").unwrap().is_pending());
    assert_eq!(lab.decide(0, number, Decision::AllowOnce), Ok(Settled::Now(Vec::new())));
}

#[test]
fn a_request_that_nobody_decides_ends_at_its_deadline() {
    let mut lab = Lab::new();
    let number = lab.open(0, "a").unwrap();
    lab.wait(number, ASKER, "1", None).unwrap();
    assert_eq!(lab.book.next_deadline(), Some(at(5_000).mono));
    assert!(lab.book.due(at(4_999), &lab.limits).expired.is_empty());
    let due = lab.book.due(at(5_000), &lab.limits);
    assert_eq!((due.expired.len(), names(&due.expired[0].1)), (1, vec!["1"]));
    assert_eq!(lab.book.find("a").unwrap().end.as_ref().unwrap().outcome, Outcome::Expired);
    assert_eq!(lab.decide(5_001, number, Decision::AllowOnce), Err(EndFault::Already));
    assert_eq!(lab.book.next_deadline(), None);
}

#[test]
fn no_request_waits_longer_than_the_longest() {
    let mut lab = Lab::new();
    let forever = Draft { timeout_ms: Some(u64::MAX), ..draft() };
    lab.book.open(at(0), "a".to_owned(), forever, asker(), &lab.limits).unwrap();
    let max_ms = lab.limits.approval_timeout_max_ms;
    assert_eq!(lab.book.next_deadline(), Some(at(max_ms).mono));
    assert_eq!(lab.book.find("a").unwrap().expires_ms, at(max_ms).wall.0);
    for (kind, ms) in [(Kind::Plugin, 120_000), (Kind::Question, 600_000)] {
        let unsaid = Draft { kind, timeout_ms: None, ..draft() };
        let mut lab = Lab::new();
        lab.book.open(at(0), "b".to_owned(), unsaid, asker(), &lab.limits).unwrap();
        assert_eq!(lab.book.next_deadline(), Some(at(ms).mono));
    }
}

#[test]
fn an_id_that_is_known_is_not_given_to_another_request() {
    let mut lab = Lab::new();
    let number = lab.open(0, "a").unwrap();
    assert_eq!(lab.open(1, "a"), Err(OpenFault::Pending));
    lab.decide(2, number, Decision::AllowOnce).unwrap();
    assert_eq!(lab.open(3, "a"), Err(OpenFault::Used));
    lab.book.check();
}

#[test]
fn the_beginning_of_an_id_that_waits_is_nobody_elses() {
    let mut lab = Lab::new();
    let number = lab.open(0, "abcd-ef").unwrap();
    for id in ["a", "ABCD", "abcd-e"] {
        assert_eq!(lab.open(1, id), Err(OpenFault::Pending), "{id}");
    }
    lab.open(2, "abcd-efg").unwrap();
    lab.decide(3, number, Decision::Deny).unwrap();
    assert_eq!(lab.open(4, "abcd"), Err(OpenFault::Pending), "of the longer one");
    lab.open(5, "b").unwrap();
}

#[test]
fn so_many_wait_in_all_and_of_one_device() {
    let mut lab = Lab::new();
    lab.limits.approvals_pending_max = 3;
    lab.limits.approvals_pending_per_device_max = 2;
    lab.open(0, "a").unwrap();
    let number = lab.open(0, "b").unwrap();
    // The same device over another connection is the same.
    let again = Asker { conn: OTHER, ..asker() };
    assert_eq!(lab.book.open(at(0), "c".to_owned(), draft(), again, &lab.limits), Err(OpenFault::Full));
    let other = Asker { conn: OTHER, device_id: None };
    lab.book.open(at(0), "c".to_owned(), draft(), other.clone(), &lab.limits).unwrap();
    assert_eq!(lab.book.open(at(0), "d".to_owned(), draft(), other, &lab.limits), Err(OpenFault::Full));
    lab.decide(1, number, Decision::Deny).unwrap();
    lab.open(1, "d").unwrap();
    lab.book.check();
}

#[test]
fn what_ended_is_remembered_so_long_so_many_and_so_large() {
    let mut lab = Lab::new();
    lab.limits.approvals_kept_max = 2;
    for (ms, id) in [(0, "a"), (1, "b"), (2, "c")] {
        let number = lab.open(ms, id).unwrap();
        lab.decide(ms, number, Decision::Deny).unwrap();
    }
    let kept = |lab: &Lab| -> Vec<String> {
        lab.book.ended_before(u64::MAX).map(|entry| entry.id.clone()).collect()
    };
    assert_eq!(kept(&lab), ["c", "b"]);
    lab.book.prune(at(lab.limits.approvals_kept_ms + 1).mono, &lab.limits);
    assert_eq!(kept(&lab), ["c"], "the one that ended a moment later stays that moment");

    let mut lab = Lab::new();
    let bytes = {
        lab.open(0, "a").unwrap();
        lab.book.bytes
    };
    lab.limits.approvals_bytes_max = 2 * bytes;
    lab.open(0, "b").unwrap();
    assert_eq!(lab.open(0, "c"), Err(OpenFault::Full), "what waits is not thrown away");
    for number in [1, 2] {
        lab.decide(1, number, Decision::Deny).unwrap();
    }
    lab.open(2, "c").unwrap();
    assert_eq!(kept(&lab), ["b"]);
    let number = lab.book.find("c").unwrap().number;
    let answers = Outcome::Answered(json!({"answers": {"q": ["x".repeat(3 * bytes)]}}));
    lab.book.end(at(3), number, answers, None, &lab.limits).unwrap();
    assert_eq!(kept(&lab), ["c"], "the one that is about to be told of stays");
    lab.book.check();
}

#[test]
fn a_connection_waits_for_so_many_and_for_nothing_once_it_is_gone() {
    let mut lab = Lab::new();
    lab.limits.approval_waits_per_peer_max = 2;
    let (a, b) = (lab.open(0, "a").unwrap(), lab.open(0, "b").unwrap());
    lab.wait(a, ASKER, "1", None).unwrap();
    lab.wait(b, ASKER, "2", Some(1_000)).unwrap();
    assert!(!lab.book.has_room_to_wait(ASKER, &lab.limits) && lab.book.has_room_to_wait(OTHER, &lab.limits));
    assert_eq!(lab.wait(a, ASKER, "3", None), Err(WaitFault::TooMany));
    lab.wait(a, OTHER, "4", None).unwrap();
    lab.book.left(ASKER);
    lab.book.check();
    assert!(lab.book.has_room_to_wait(ASKER, &lab.limits));
    assert!(lab.book.find("a").unwrap().is_pending(), "the asker may come back");
    let Ok(Settled::Now(waiters)) = lab.decide(1, a, Decision::AllowOnce) else { panic!("not decided") };
    assert_eq!(names(&waiters), ["4"]);
}

#[test]
fn patience_ends_before_the_request_does() {
    let mut lab = Lab::new();
    let number = lab.open(0, "a").unwrap();
    lab.wait(number, ASKER, "1", Some(1_000)).unwrap();
    lab.wait(number, ASKER, "2", Some(u64::MAX)).unwrap();
    let due = lab.book.due(at(1_000), &lab.limits);
    assert_eq!((due.expired.len(), due.impatient.len(), &*due.impatient[0].1.id), (0, 1, "1"));
    lab.book.check();
    let due = lab.book.due(at(5_000), &lab.limits);
    assert_eq!(names(&due.expired[0].1), ["2"]);
    assert_eq!(lab.book.next_deadline(), None);
}

#[test]
fn an_allowance_for_one_use_is_used_once() {
    let run = run();
    for (decision, uses) in [(Decision::AllowOnce, 1), (Decision::AllowAlways, 3), (Decision::Deny, 0)] {
        let mut lab = Lab::new();
        let number = lab.open(0, "a").unwrap();
        assert_eq!(lab.book.claim(at(0).mono, "a", &claim(&run)), Err(ClaimFault::NotAllowed));
        lab.decide(1, number, decision).unwrap();
        let used = (0..3).filter(|_| lab.book.claim(at(2).mono, "a", &claim(&run)) == Ok(decision)).count();
        assert_eq!(used, uses, "{decision:?}");
        // Deciding again gives nothing new.
        let _ = lab.decide(3, number, decision);
        let again = lab.book.claim(at(3).mono, "a", &claim(&run));
        assert_eq!(again.is_ok(), decision == Decision::AllowAlways);
        let late = at(1 + lab.limits.approval_usable_ms + 1).mono;
        assert_eq!(lab.book.claim(late, "a", &claim(&run)), Err(ClaimFault::UnknownId));
    }
}

#[test]
fn a_claim_must_be_the_very_command_of_the_very_caller() {
    let shown = run();
    let mut lab = Lab::new();
    let number = lab.open(0, "a").unwrap();
    lab.decide(1, number, Decision::AllowOnce).unwrap();
    let good = claim(&shown);
    let others = [
        Run { argv: vec!["/bin/ls -l".to_owned()], ..shown.clone() },
        Run { cwd: Some("/".to_owned()), ..shown.clone() },
        Run { agent_id: None, ..shown.clone() },
        Run { session_key: Some("s".to_owned()), ..shown.clone() },
    ];
    let with_env = Run { env_hash: Some("0".repeat(64)), ..shown.clone() };
    let mut wrong = vec![
        (Claim { node_id: None, ..good }, ClaimFault::NodeMissing),
        (Claim { node_id: Some("m"), ..good }, ClaimFault::Node),
        (Claim { device_id: None, conn: ASKER, ..good }, ClaimFault::Device),
        (Claim { device_id: Some("e"), ..good }, ClaimFault::Device),
        (Claim { run: &with_env, ..good }, ClaimFault::EnvUnbound),
    ];
    wrong.extend(others.iter().map(|run| (Claim { run, ..good }, ClaimFault::Request)));
    for (claim, fault) in wrong {
        assert_eq!(lab.book.claim(at(2).mono, "a", &claim), Err(fault));
    }
    assert_eq!(lab.book.claim(at(2).mono, "b", &good), Err(ClaimFault::UnknownId));
    assert_eq!(lab.book.claim(at(2).mono, "a", &good), Ok(Decision::AllowOnce), "no wrong claim used it up");

    // Without a device, only the connection that asked.
    let mut lab = Lab::new();
    let bound =
        Draft { binding: Some(Binding { node_id: Some("n".to_owned()), run: with_env.clone() }), ..draft() };
    let number = lab
        .book
        .open(at(0), "a".to_owned(), bound, Asker { conn: ASKER, device_id: None }, &lab.limits)
        .unwrap();
    lab.decide(1, number, Decision::AllowOnce).unwrap();
    let good = Claim { conn: ASKER, device_id: None, run: &with_env, ..good };
    let other_env = Run { env_hash: Some("1".repeat(64)), ..shown.clone() };
    for (claim, fault) in [
        (Claim { conn: OTHER, ..good }, ClaimFault::Client),
        (Claim { run: &shown, ..good }, ClaimFault::Env),
        (Claim { run: &other_env, ..good }, ClaimFault::Env),
    ] {
        assert_eq!(lab.book.claim(at(2).mono, "a", &claim), Err(fault));
    }
    assert_eq!(lab.book.claim(at(2).mono, "a", &good), Ok(Decision::AllowOnce));

    // What names no node runs on none.
    let mut lab = Lab::new();
    let unbound = Draft { binding: None, ..draft() };
    let number = lab.book.open(at(0), "a".to_owned(), unbound, asker(), &lab.limits).unwrap();
    lab.decide(1, number, Decision::AllowOnce).unwrap();
    assert_eq!(lab.book.claim(at(2).mono, "a", &claim(&shown)), Err(ClaimFault::NodeUnbound));
}

#[test]
fn what_nobody_decided_never_runs() {
    let run = run();
    let mut lab = Lab::new();
    lab.open(0, "a").unwrap();
    assert_eq!(
        lab.book.claim(at(5_001).mono, "a", &claim(&run)),
        Err(ClaimFault::Expired),
        "nobody was told yet"
    );
    lab.book.due(at(5_001), &lab.limits);
    assert_eq!(lab.book.claim(at(5_002).mono, "a", &claim(&run)), Err(ClaimFault::NotAllowed));
    // What reached nobody was denied.
    let number = lab.open(6_000, "b").unwrap();
    lab.book.end(at(6_000), number, Outcome::NoRoute, None, &lab.limits).unwrap();
    assert_eq!(lab.book.claim(at(6_001).mono, "b", &claim(&run)), Err(ClaimFault::NotAllowed));
}

#[derive(Clone, Debug)]
enum Act {
    Open { id: u8, conn: u8, timeout_ms: u64 },
    Decide { number: u64, decision: usize },
    Wait { number: u64, conn: u8, patience_ms: Option<u64> },
    Leave { conn: u8 },
    Claim { id: u8, conn: u8 },
    Pass { ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..4_u8, 0..3_u8, 1..30_000_u64).prop_map(|(id, conn, timeout_ms)| Act::Open { id, conn, timeout_ms }),
        4 => (1..12_u64, 0..3_usize).prop_map(|(number, decision)| Act::Decide { number, decision }),
        4 => (1..12_u64, 0..3_u8, prop::option::of(1..9_000_u64))
            .prop_map(|(number, conn, patience_ms)| Act::Wait { number, conn, patience_ms }),
        1 => (0..3_u8).prop_map(|conn| Act::Leave { conn }),
        4 => (0..4_u8, 0..3_u8).prop_map(|(id, conn)| Act::Claim { id, conn }),
        3 => (1..12_000_u64).prop_map(|ms| Act::Pass { ms }),
    ]
}

proptest! {
    /// Whatever the order of asking, deciding, leaving, coming back and running: an allowance for one use is used at
    /// most once and only after somebody allowed it, who waits is told once, and at the end nothing waits.
    #[test]
    fn one_use_is_one_use_and_nothing_waits_for_ever(acts in prop::collection::vec(act(), 1..80)) {
        let limits = Limits { approvals_kept_max: 6, approval_waits_per_peer_max: 3, ..Limits::default() };
        let mut book = Book::default();
        let mut ms = 0;
        let mut waits: BTreeMap<String, ConnId> = BTreeMap::new();
        let mut uses: BTreeMap<u64, usize> = BTreeMap::new();
        let mut allowed: BTreeMap<u64, Decision> = BTreeMap::new();
        let run = run();
        let told = |waits: &mut BTreeMap<String, ConnId>, waiter: &Waiter| {
            assert_eq!(waits.remove(&*waiter.id), Some(waiter.conn), "told once, and only who waits");
        };
        for (nth, act) in acts.into_iter().enumerate() {
            match act {
                Act::Open { id, conn, timeout_ms } => {
                    let draft = Draft { timeout_ms: Some(timeout_ms), ..draft() };
                    let asker = Asker { conn: ConnId(conn.into()), device_id: None };
                    let _ = book.open(at(ms), format!("id{id}"), draft, asker, &limits);
                }
                Act::Decide { number, decision } => {
                    let decision = Decision::ALL[decision];
                    let was_pending = book.entry(number).is_some_and(Entry::is_pending);
                    match book.end(at(ms), number, Outcome::Decided(decision), by("p"), &limits) {
                        Ok(Settled::Now(waiters)) => {
                            prop_assert!(was_pending && allowed.insert(number, decision).is_none());
                            waiters.iter().for_each(|waiter| told(&mut waits, waiter));
                        }
                        Ok(Settled::Before) => prop_assert_eq!(allowed.get(&number), Some(&decision)),
                        Err(_) => prop_assert!(!was_pending),
                    }
                }
                Act::Wait { number, conn, patience_ms } => {
                    let (id, conn) = (format!("w{nth}"), ConnId(conn.into()));
                    let waiter = (conn, Box::from(id.as_str()), Wants::Decision);
                    if book.wait(at(ms).mono, number, waiter, patience_ms, &limits).is_ok() {
                        waits.insert(id, conn);
                    }
                }
                Act::Leave { conn } => {
                    book.left(ConnId(conn.into()));
                    waits.retain(|_, waiting| *waiting != ConnId(conn.into()));
                }
                Act::Claim { id, conn } => {
                    let id = format!("id{id}");
                    let number = book.find(&id).map(|entry| entry.number);
                    let claim = Claim { conn: ConnId(conn.into()), device_id: None, ..claim(&run) };
                    if let Ok(decision) = book.claim(at(ms).mono, &id, &claim) {
                        let number = number.unwrap();
                        prop_assert_eq!(allowed.get(&number), Some(&decision));
                        *uses.entry(number).or_default() += 1;
                        prop_assert!(decision == Decision::AllowAlways || uses[&number] == 1, "used twice");
                    }
                }
                Act::Pass { ms: passed } => {
                    ms += passed;
                    let due = book.due(at(ms), &limits);
                    due.expired.iter().flat_map(|(_, waiters)| waiters).for_each(|waiter| told(&mut waits, waiter));
                    due.impatient.iter().for_each(|(_, waiter)| told(&mut waits, waiter));
                    prop_assert!(book.next_deadline().is_none_or(|at_| at_ > at(ms).mono));
                }
            }
            book.check();
        }
        let due = book.due(at(ms + 30_001), &limits);
        due.expired.iter().flat_map(|(_, waiters)| waiters).for_each(|waiter| told(&mut waits, waiter));
        due.impatient.iter().for_each(|(_, waiter)| told(&mut waits, waiter));
        prop_assert_eq!((waits.len(), book.pending().count(), book.next_deadline()), (0, 0, None));
        book.check();
    }
}
