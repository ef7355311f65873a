#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;

fn at(ms: u64) -> Mono {
    Mono(0).plus_millis(ms)
}

fn draft(node: u64, caller: u64, timeout_ms: Option<u64>) -> Draft {
    Draft {
        node: ConnId(node),
        node_id: format!("node-{node}"),
        command: "system.which".to_owned(),
        caller: Caller { conn: ConnId(caller), id: "r".into(), device_id: None },
        params: None,
        timeout_ms,
        idempotency_key: None,
        wants: Wants::Whole,
    }
}

#[test]
fn an_answer_counts_once_from_who_was_asked_under_the_name_it_was_asked_by() {
    let (mut book, limits) = (Book::default(), Limits::default());
    book.open(at(0), "a".to_owned(), draft(1, 2, None), &limits).unwrap();
    for (conn, id) in [(3, "a"), (1, "b"), (2, "a")] {
        let answered = book.answered(at(1), ConnId(conn), id, false, &limits);
        assert!(matches!(answered, Answered::Unknown), "{conn} {id}");
    }
    let Answered::Now(invoke) = book.answered(at(1), ConnId(1), "a", false, &limits) else { panic!() };
    assert_eq!(invoke.asked.caller.conn, ConnId(2));
    assert!(matches!(book.answered(at(1), ConnId(1), "a", false, &limits), Answered::Unknown));
    assert_eq!((book.len(), book.next_deadline()), (0, None));
    book.check();
}

#[test]
fn who_is_not_ready_is_asked_four_times_more_and_under_another_name() {
    let (mut book, limits) = (Book::default(), Limits::default());
    let number = book.open(at(0), "0".to_owned(), draft(1, 2, Some(60_000)), &limits).unwrap().number;
    let mut now = at(0);
    for (tries, wait_ms) in [250, 500, 1_000, 2_000].into_iter().enumerate() {
        let id = tries.to_string();
        assert!(matches!(book.answered(now, ConnId(1), &id, true, &limits), Answered::Later));
        assert!(matches!(book.answered(now, ConnId(1), &id, false, &limits), Answered::Unknown), "late");
        book.check();
        now = now.plus_millis(wait_ms);
        assert_eq!(book.next_deadline(), Some(now));
        assert_eq!(book.due(now).again, [number]);
        book.asked_again(number, (tries + 1).to_string()).unwrap();
        book.check();
    }
    assert!(matches!(book.answered(now, ConnId(1), "4", true, &limits), Answered::Now(_)), "that is enough");
}

#[test]
fn nobody_is_asked_again_who_has_begun_or_has_no_time() {
    let (mut book, limits) = (Book::default(), Limits::default());
    book.open(at(0), "a".to_owned(), draft(1, 2, None), &limits).unwrap();
    assert!(book.progressed(ConnId(1), "a") && !book.progressed(ConnId(2), "a"));
    assert!(matches!(book.answered(at(1), ConnId(1), "a", true, &limits), Answered::Now(_)));
    book.open(at(0), "b".to_owned(), draft(1, 2, Some(250)), &limits).unwrap();
    assert!(matches!(book.answered(at(0), ConnId(1), "b", true, &limits), Answered::Now(_)));
}

#[test]
fn time_and_number_have_bounds() {
    let mut limits = Limits { invokes_max: 4, invokes_per_node_max: 2, ..Limits::default() };
    limits.invokes_per_caller_max = 3;
    let mut book = Book::default();
    for (n, (node, caller, wanted)) in [
        (1, 9, Ok(())),
        (1, 8, Ok(())),
        (1, 7, Err(Full::Node)),
        (2, 9, Ok(())),
        (3, 9, Ok(())),
        (4, 6, Err(Full::Gateway)),
    ]
    .into_iter()
    .enumerate()
    {
        let opened = book.open(at(0), n.to_string(), draft(node, caller, Some(u64::MAX)), &limits);
        assert_eq!(opened.map(drop), wanted, "{n}");
    }
    assert_eq!(book.next_deadline(), Some(at(limits.invoke_timeout_max_ms)));
    limits.invokes_max = 9;
    assert_eq!(book.room(&draft(4, 9, None), 0, &limits), Err(Full::Caller));
    // A device counts, over however many connections it asks.
    let of_device = |conn: u64| {
        let mut draft = draft(5, conn, None);
        draft.caller.device_id = Some("d".to_owned());
        draft
    };
    limits.invokes_per_caller_max = 1;
    book.open(at(0), "d".to_owned(), of_device(21), &limits).unwrap();
    assert_eq!(book.room(&of_device(22), 0, &limits), Err(Full::Caller));
    limits.invokes_bytes_max = book.bytes + draft(6, 30, None).size();
    let mut large = draft(6, 30, None);
    assert_eq!(book.room(&large, 9, &limits), Err(Full::Bytes));
    assert_eq!(book.room(&large, 0, &limits), Ok(()));
    large.params = Some(Bytes::from_static(b"\"more than there is room for\""));
    assert_eq!(book.room(&large, 0, &limits), Err(Full::Bytes));
    book.check();
}

#[derive(Clone, Debug)]
enum Act {
    Open { node: u64, caller: u64, timeout_ms: Option<u64> },
    Answer { node: u64, which: usize, is_not_ready: bool },
    Progress { node: u64, which: usize },
    Leave { conn: u64 },
    End { which: usize },
    Pass { ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let (node, caller) = (1u64..4, 11u64..14);
    prop_oneof![
        4 => (node.clone(), caller.clone(), prop::option::of(1u64..3_000))
            .prop_map(|(node, caller, timeout_ms)| Act::Open { node, caller, timeout_ms }),
        4 => (node.clone(), 0usize..40, any::<bool>())
            .prop_map(|(node, which, is_not_ready)| Act::Answer { node, which, is_not_ready }),
        1 => (node.clone(), 0usize..40).prop_map(|(node, which)| Act::Progress { node, which }),
        1 => prop_oneof![node, caller].prop_map(|conn| Act::Leave { conn }),
        1 => (0usize..40).prop_map(|which| Act::End { which }),
        3 => (0u64..1_500).prop_map(|ms| Act::Pass { ms }),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: one end for each, and none is left when time has passed.
    #[test]
    fn every_invoke_ends_exactly_once(acts in prop::collection::vec(act(), 1..80)) {
        let limits = Limits { invokes_max: 8, invokes_per_node_max: 5, ..Limits::default() };
        let (mut book, mut now, mut names, mut last) = (Book::default(), at(0), Vec::new(), 0u64);
        let (mut opened, mut ends) = (BTreeSet::new(), BTreeMap::<u64, u32>::new());
        let count = |ends: &mut BTreeMap<u64, u32>, number: u64| *ends.entry(number).or_default() += 1;
        let pass = |book: &mut Book, now: Mono, names: &mut Vec<String>, last: &mut u64, ends: &mut BTreeMap<u64, u32>| {
            let due = book.due(now);
            for invoke in due.expired {
                assert!(invoke.deadline <= now, "not before its time");
                *ends.entry(invoke.number).or_default() += 1;
            }
            for number in due.again {
                *last += 1;
                names.push(last.to_string());
                book.asked_again(number, last.to_string()).expect("it is in flight");
            }
        };
        for act in acts {
            match act {
                Act::Open { node, caller, timeout_ms } => {
                    last += 1;
                    let asked = draft(node, caller, timeout_ms);
                    if let Ok(invoke) = book.open(now, last.to_string(), asked, &limits) {
                        prop_assert!(opened.insert(invoke.number));
                        names.push(last.to_string());
                    }
                }
                Act::Answer { node, which, is_not_ready } => {
                    let Some(id) = names.get(which) else { continue };
                    match book.answered(now, ConnId(node), id, is_not_ready, &limits) {
                        Answered::Now(invoke) => {
                            prop_assert_eq!(invoke.asked.node, ConnId(node));
                            count(&mut ends, invoke.number);
                        }
                        Answered::Later => prop_assert!(is_not_ready),
                        Answered::Unknown => {}
                    }
                }
                Act::Progress { node, which } => {
                    if let Some(id) = names.get(which) {
                        book.progressed(ConnId(node), id);
                    }
                }
                Act::Leave { conn } => {
                    let left = book.left(ConnId(conn));
                    for invoke in left.unanswered.iter().chain(&left.unwanted) {
                        count(&mut ends, invoke.number);
                    }
                }
                Act::End { which } => {
                    if let Some(invoke) = book.end(which as u64) {
                        count(&mut ends, invoke.number);
                    }
                }
                Act::Pass { ms } => {
                    now = now.plus_millis(ms);
                    pass(&mut book, now, &mut names, &mut last, &mut ends);
                }
            }
            book.check();
        }
        now = now.plus_millis(limits.invoke_timeout_ms);
        pass(&mut book, now, &mut names, &mut last, &mut ends);
        book.check();
        prop_assert!(book.is_empty());
        prop_assert_eq!(book.next_deadline(), None);
        prop_assert!(ends.values().all(|times| *times == 1));
        prop_assert_eq!(ends.into_keys().collect::<BTreeSet<_>>(), opened);
    }
}
