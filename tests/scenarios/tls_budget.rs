//! What TLS holds counts in the process-wide budget: by the connection, and by what is read and not handed on.

use crate::bench::{Bench, NOW};
use clawgate_proto::id::ConnId;
use clawgate_proto::input::End;
use clawgate_proto::limits::TLS_CONNECTION_BYTES;
use clawgate_support::sealed::Pipe;

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

fn used(bench: &Bench) -> usize {
    bench.gateway.census().budget_bytes
}

/// Begins TLS; the client's bytes are given when it is known.
fn begin(bench: &mut Bench, clear: &str) -> (ConnId, Pipe) {
    let line = bench.open();
    let mut pipe = Pipe::new(clear.as_bytes());
    let hello = pipe.take();
    assert_eq!(bench.line(line).receive(NOW, &hello), hello.len());
    let answer = bench.pump(line);
    assert!(pipe.receive(&answer, &mut Vec::new()));
    (line, pipe)
}

#[test]
fn each_connection_counts_from_its_first_moment_and_none_is_let_in_that_does_not_fit() {
    let mut bench = Bench::new(|limits| limits.process_bytes_max = 3 * TLS_CONNECTION_BYTES + 1);
    let lines: Vec<ConnId> = (0..3).map(|_| bench.open()).collect();
    assert_eq!(used(&bench), 3 * TLS_CONNECTION_BYTES);
    let refused = bench.open();
    assert_eq!(bench.ended(refused), Some(End::MemoryBudget));
    assert!(bench.line(refused).is_finished());
    bench.close(refused);
    assert_eq!(used(&bench), 3 * TLS_CONNECTION_BYTES);
    bench.close(lines[0]);
    let line = bench.open();
    assert_eq!((bench.ended(line), used(&bench)), (None, 3 * TLS_CONNECTION_BYTES));
    // Who does not speak it needs no more of it.
    let clear = b"GET / HTTP/1.1\r\n";
    assert_eq!(bench.line(line).receive(NOW, clear), clear.len());
    assert_eq!(used(&bench), 2 * TLS_CONNECTION_BYTES);
    [line, lines[1], lines[2]].into_iter().for_each(|line| bench.close(line));
    assert_eq!(used(&bench), 0);
}

#[test]
fn a_part_of_a_record_counts_and_so_does_what_nobody_has_read() {
    let mut bench = Bench::new(|limits| {
        limits.head_bytes_max = 1024;
        // What was queued towards the peer counts until it is reported.
        limits.drained_report_bytes = 1;
    });
    let (line, mut pipe) = begin(&mut bench, &GET.repeat(400));
    let idle = used(&bench);
    assert_eq!(idle, TLS_CONNECTION_BYTES);
    let bytes = pipe.take();
    assert!(bytes.len() > 13_000);
    let (most, rest) = bytes.split_at(bytes.len() - 1);
    // As it comes from a slow peer.
    for piece in most.chunks(1_000) {
        assert_eq!(bench.line(line).receive(NOW, piece), piece.len());
    }
    bench.pump(line);
    let held = used(&bench) - idle;
    assert!((most.len() - 4_096 - 100..most.len()).contains(&held), "{held} of {}", most.len());
    assert_eq!(bench.line(line).receive(NOW, rest), 1);
    // The head of the first request and the reader's own piece are not TLS's any more.
    let held = used(&bench) - idle;
    assert!((most.len() - 2_048..2 * most.len()).contains(&held), "{held}");
    bench.pump(line);
    assert_eq!(used(&bench), idle, "all of it is handed on");
    bench.close(line);
    assert_eq!(used(&bench), 0);
}

#[test]
fn a_hello_that_does_not_end_counts_and_is_bounded() {
    let mut bench = Bench::new(|_| {});
    let line = bench.open();
    // A ClientHello of 60,000 bytes, in records of 1,000 (RFC 8446 sections 4 and 5.1).
    let mut hello = vec![1, 0, 0xea, 0x60];
    hello.resize(4 + 60_000 - 1, 0);
    for piece in hello.chunks(1_000) {
        let mut record = vec![22, 3, 1];
        record.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        record.extend(piece);
        assert_eq!(bench.line(line).receive(NOW, &record), record.len());
    }
    let held = used(&bench) - TLS_CONNECTION_BYTES;
    assert!((56_000..66_000).contains(&held), "{held}");
    assert_eq!(bench.ended(line), None);
    bench.line(line).receive_end(NOW);
    bench.pump(line);
    assert_eq!(bench.ended(line), Some(End::PeerGone));
    bench.close(line);
    assert_eq!(used(&bench), 0);
}

/// What is held is counted until it is gone, also when nobody will read it any more.
#[test]
fn what_was_held_before_a_fault_counts_until_the_connection_is_gone() {
    let mut bench = Bench::new(|_| {});
    let line = bench.open();
    let mut record = vec![22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60];
    record.resize(5 + 0x4000, 0);
    for _ in 0..2 {
        bench.line(line).receive(NOW, &record);
        record.splice(5..9, [0; 4]);
    }
    let held = used(&bench) - TLS_CONNECTION_BYTES;
    assert!((28_000..33_000).contains(&held), "{held}");
    // A record of a kind that there is not (RFC 8446 section 5.1).
    bench.line(line).receive(NOW, &[99, 3, 3, 0, 1, 0]);
    assert!(used(&bench) >= TLS_CONNECTION_BYTES + held);
    bench.close(line);
    assert_eq!(used(&bench), 0);
}
