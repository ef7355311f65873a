//! Files on their way: who is sent how much, and what ends it.

use super::*;
use crate::config::CanvasHost;
use crate::host::files::{FileReply, FileRest, FileRoot};
use crate::http::HttpResponse;

fn rig(limits: Limits) -> Rig {
    let mut rig = Rig::new(limits);
    let canvas = Some(CanvasHost { live_reload: true });
    let config = Config { canvas, ..(*rig.gateway.config).clone() };
    rig.gateway = Gateway::new(config, Seed::new([7; 32]), rig.now);
    rig
}

/// A socket asks for a file.
fn ask(rig: &mut Rig, address: [u8; 4]) -> (ConnId, Vec<Output>) {
    let conn = rig.open_from(address);
    let headers = vec![("host".to_owned(), "127.0.0.1:18789".to_owned())];
    let path = "/__openclaw__/canvas/a.bin".to_owned();
    let request = HttpRequest { method: "GET".into(), path, headers, ..HttpRequest::default() };
    let out = rig.handle(Input::Http { conn, request: Box::new(request) });
    (conn, out)
}

fn ticket(out: &[Output]) -> Option<Ticket> {
    out.iter().find_map(|output| if let Output::Host(ticket, _) = output { Some(*ticket) } else { None })
}

fn found(rest: u64) -> HostAnswer {
    let response =
        HttpResponse { body: Bytes::from_static(&[1; 1_000]), rest, ..HttpResponse::text(200, "") };
    let rest = (rest > 0).then(|| FileRest {
        root: FileRoot::Canvas,
        path: "a.bin".into(),
        version: Version([1; 4]),
        next: 1_000,
        end: 1_000 + rest,
        tail: Bytes::new(),
    });
    HostAnswer::File(Ok(Box::new(FileReply { response, rest, fault: None })))
}

fn piece(bytes: usize) -> HostAnswer {
    HostAnswer::FilePiece(Ok(Bytes::from(vec![2; bytes])))
}

fn limits() -> Limits {
    Limits { file_piece_bytes: 1_000, drained_report_bytes: 1_000, ..Limits::default() }
}

#[test]
fn a_peer_that_takes_nothing_is_sent_two_pieces() {
    let mut rig = rig(limits());
    let (conn, out) = ask(&mut rig, [127, 0, 0, 1]);
    // The head counts as well, so that the first piece is more than may be ahead.
    let out = rig.handle(Input::Answered { ticket: ticket(&out).unwrap(), answer: found(1_000_000) });
    assert!(matches!(&out[..], [Output::To(to, Order::Http(_))] if *to == conn), "{out:?}");
    let mut sent = 1_000;
    while sent < 1_001_000 {
        let out = rig.handle(Input::Drained { conn, bytes: 1_000 });
        let next = ticket(&out).unwrap();
        let again = rig.handle(Input::Drained { conn, bytes: 1 });
        assert_eq!(ticket(&again), None, "one question at a time");
        let out = rig.handle(Input::Answered { ticket: next, answer: piece(1_000) });
        assert!(matches!(&out[0], Output::To(_, Order::Body(bytes)) if bytes.len() == 1_000), "{out:?}");
        sent += 1_000;
        assert!(
            rig.gateway.census().queued_bytes <= 2_100,
            "{} are queued",
            rig.gateway.census().queued_bytes
        );
        if let Some(ahead) = ticket(&out) {
            let out = rig.handle(Input::Answered { ticket: ahead, answer: piece(1_000) });
            assert_eq!(ticket(&out), None, "two are ahead");
            sent += 1_000;
        }
    }
    // The socket may ask for another.
    assert_eq!(rig.gateway.census().headless, 1);
    assert_eq!(ticket(&rig.handle(Input::Drained { conn, bytes: 10_000 })), None);
}

#[test]
fn what_was_promised_and_does_not_come_ends_the_connection() {
    for answer in [Some(HostAnswer::FilePiece(Err(HostFault("changed".into())))), Some(piece(0)), None] {
        let mut rig = rig(limits());
        let (conn, out) = ask(&mut rig, [127, 0, 0, 1]);
        rig.handle(Input::Answered { ticket: ticket(&out).unwrap(), answer: found(5_000) });
        let out = rig.handle(Input::Drained { conn, bytes: 1_000 });
        let next = ticket(&out).unwrap();
        let out = match answer {
            Some(answer) => rig.handle(Input::Answered { ticket: next, answer }),
            None => {
                rig.now.mono = rig.now.mono.plus_millis(20_000);
                rig.handle(Input::Tick)
            }
        };
        let is_cut = |output: &Output| matches!(output, Output::To(to, Order::Abort) if *to == conn);
        assert!(out.iter().any(is_cut), "{out:?}");
        // What comes late finds nobody.
        assert_eq!(rig.handle(Input::Answered { ticket: next, answer: piece(1_000) }).len(), 0);
    }
}

#[test]
fn a_host_that_is_silent_is_said_so() {
    let mut rig = rig(limits());
    let (conn, _) = ask(&mut rig, [127, 0, 0, 1]);
    rig.now.mono = rig.now.mono.plus_millis(20_000);
    let out = rig.handle(Input::Tick);
    let is_told = |output: &Output| matches!(output, Output::To(to, Order::Http(response)) if *to == conn && response.status == 503);
    assert!(out.iter().any(is_told), "{out:?}");
}

#[test]
fn a_peer_that_goes_away_leaves_nothing_behind() {
    let mut rig = rig(limits());
    let (conn, out) = ask(&mut rig, [127, 0, 0, 1]);
    rig.handle(Input::Answered { ticket: ticket(&out).unwrap(), answer: found(5_000) });
    let next = ticket(&rig.handle(Input::Drained { conn, bytes: 1_000 })).unwrap();
    rig.handle(Input::Ending { conn, why: End::PeerGone });
    rig.handle(Input::Closed { conn });
    assert_eq!(rig.handle(Input::Answered { ticket: next, answer: piece(1_000) }).len(), 0);
    let census = rig.gateway.census();
    assert_eq!((census.sockets, census.queued_bytes, census.budget_bytes), (0, 0, 0));
}

#[test]
fn only_so_many_files_are_sent_at_once() {
    let mut rig = rig(Limits { files_max: 5, files_per_address_max: 3, ..limits() });
    let status = |out: &[Output]| {
        out.iter().find_map(|output| {
            if let Output::To(_, Order::Http(response)) = output { Some(response.status) } else { None }
        })
    };
    let first: Vec<_> = (0..3).map(|_| ask(&mut rig, [127, 0, 0, 1])).collect();
    assert!(first.iter().all(|(_, out)| ticket(out).is_some()));
    assert_eq!(status(&ask(&mut rig, [127, 0, 0, 1]).1), Some(503), "of one client");
    for _ in 0..2 {
        assert!(ticket(&ask(&mut rig, [127, 0, 0, 2]).1).is_some());
    }
    assert_eq!(status(&ask(&mut rig, [127, 0, 0, 3]).1), Some(503), "in all");
    // One that is sent makes room.
    let (_, out) = &first[0];
    rig.handle(Input::Answered { ticket: ticket(out).unwrap(), answer: found(0) });
    assert!(ticket(&ask(&mut rig, [127, 0, 0, 1]).1).is_some());
}
