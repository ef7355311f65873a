//! HTTP: requests in order, answers, faults, time limits.

use super::*;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn pipelined_requests_are_answered_one_at_a_time() {
    let mut lab = Lab::new();
    lab.send(get("/a") + &get("/b"));
    assert_eq!(lab.take_facts(), ["http GET /a"]);
    assert!(matches!(lab.conn.next_event(lab.now), Next::Paused));
    assert!(!lab.conn.wants_read() && lab.conn.next_deadline().is_none());
    lab.respond_http("one");
    assert!(lab.http().ends_with("\r\n\r\none"));
    assert_eq!(lab.take_facts(), ["http GET /b"]);
    lab.respond_http("two");
    assert!(lab.http().ends_with("\r\n\r\ntwo"));
    assert!(lab.conn.wants_read() && !lab.conn.is_finished());
}

#[test]
fn a_peer_that_does_not_read_is_given_one_answer_and_then_cut() {
    let mut lab = Lab::new();
    let many = get("/a").repeat(1_000);
    let mut rest = many.as_bytes();
    let (mut asked, mut left, start) = (0, 0, lab.now);
    loop {
        while lab.conn.wants_read() && !rest.is_empty() {
            rest = &rest[lab.conn.receive(lab.now, rest)..];
        }
        match lab.conn.next_event(lab.now) {
            Next::Event(Input::Http { .. }) => {
                asked += 1;
                lab.conn.apply(lab.now, Order::Http(Box::new(HttpResponse::text(200, "one"))));
            }
            Next::Event(Input::Ending { why, .. }) => {
                assert_eq!(why, End::HttpIdle);
                break;
            }
            Next::Event(Input::Drained { .. }) => {}
            Next::Event(other) => panic!("{other:?}"),
            Next::NeedData | Next::Paused => {
                left = rest.len();
                // The driver has taken the bytes; the kernel takes none of them.
                lab.conn.take_wire(lab.now, &mut lab.wire);
                lab.now.mono = lab.conn.next_deadline().unwrap();
                lab.conn.handle_timeout(lab.now);
            }
        }
    }
    assert_eq!(asked, 1);
    assert_eq!(lab.now.mono.millis_since(start.mono), 5_000);
    assert!(left > 0, "what is not read stays with the peer");
}

#[test]
fn head_gets_no_body_and_close_is_honoured() {
    let mut lab = Lab::new();
    lab.send("HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    lab.respond_http("unseen");
    let answer = lab.http();
    assert!(answer.ends_with("\r\n\r\n") && answer.contains("Content-Length: 6\r\n"), "{answer}");
    assert_eq!(lab.take_facts(), ["http HEAD /a", "ending PeerClosed"]);
    assert!(lab.conn.wants_shutdown() && !lab.conn.is_finished());
    lab.send("still talking");
    assert!(lab.rest.is_empty(), "what comes after is dropped");
    lab.end();
    assert!(lab.conn.is_finished() && lab.take_facts().is_empty());
}

#[test]
fn the_gateway_may_close_behind_an_answer() {
    let mut lab = Lab::new();
    lab.send(get("/a"));
    lab.apply(Order::Http(Box::new(HttpResponse::text(503, "no").closing())));
    assert!(lab.http().contains("Connection: close\r\n"));
    assert_eq!(lab.take_facts().last().unwrap(), "ending Ordered");
    assert_eq!(lab.wait_deadline(), 2_000);
    assert!(lab.conn.is_finished());
}

#[test]
fn a_body_is_asked_for_and_waited_for() {
    let mut lab = Lab::new();
    lab.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(lab.http(), "HTTP/1.1 100 Continue\r\n\r\n");
    lab.send("abc");
    assert_eq!(lab.take_facts(), ["http POST /a abc"]);
}

#[test]
fn a_fault_is_answered_and_the_rest_dropped() {
    let mut lab = Lab::new();
    lab.send("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(lab.http().starts_with("HTTP/1.1 400 "));
    assert_eq!(lab.take_facts(), ["ending HttpFault(400)"]);
    assert!(lab.conn.wants_shutdown() && lab.rest.is_empty());
    assert_eq!(lab.wait_deadline(), 2_000);
    assert!(lab.conn.is_finished() && lab.take_facts().is_empty());
}

#[test]
fn a_wrong_upgrade_is_refused_by_the_connection() {
    for (from, to, status) in [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12", 400),
        ("GET", "POST", 405),
        ("Connection: Upgrade", "Connection: close", 426),
    ] {
        let mut lab = Lab::new();
        lab.send(UPGRADE.replace(from, to));
        assert!(lab.http().starts_with(&format!("HTTP/1.1 {status} ")), "{to}");
        assert_eq!(lab.take_facts(), [format!("ending HttpFault({status})")]);
    }
}

#[test]
fn a_refused_upgrade_closes() {
    let mut lab = Lab::new();
    lab.send(UPGRADE);
    assert!(matches!(lab.conn.next_event(lab.now), Next::Paused));
    lab.apply(Order::Http(Box::new(HttpResponse::text(503, "full"))));
    assert!(lab.http().contains("Connection: close\r\n"));
    assert_eq!(lab.take_facts(), ["upgrade /", "ending Ordered"]);
}

#[test]
fn time_limits() {
    // Silence, and a head in small pieces: both have the head's time, from the start.
    for pieces in [0, 5] {
        let mut lab = Lab::new();
        for piece in UPGRADE.as_bytes().chunks(4).take(pieces) {
            lab.wait(1_000);
            lab.send(piece);
        }
        assert_eq!(lab.wait_deadline(), 10_000 - 1_000 * pieces as u64);
        assert!(lab.http().starts_with("HTTP/1.1 408 "));
        assert_eq!(lab.take_facts(), ["ending HeadTimeout"]);
    }
    let mut lab = Lab::new();
    lab.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    lab.wait(5_000);
    lab.send("a");
    assert_eq!(lab.wait_deadline(), 10_000, "a body's time does not begin anew");
    assert!(lab.http().starts_with("HTTP/1.1 408 "));
    assert_eq!(lab.take_facts(), ["ending BodyTimeout"]);

    let mut lab = Lab::new();
    lab.send(get("/a"));
    lab.wait(60_000);
    lab.respond_http("late, but that is our fault");
    lab.take_wire();
    assert_eq!(lab.wait_deadline(), 5_000);
    assert_eq!(lab.http(), "", "an idle connection just ends");
    assert_eq!(lab.take_facts().last().unwrap(), "ending HttpIdle");

    // The second head has its own time.
    let mut lab = Lab::new();
    lab.send(get("/a"));
    lab.respond_http("");
    lab.wait(4_000);
    lab.send("GET");
    assert_eq!(lab.wait_deadline(), 10_000);
    assert_eq!(lab.take_facts().last().unwrap(), "ending HeadTimeout");
}

#[test]
fn a_long_answer_is_not_idleness() {
    let mut lab = Lab::new();
    lab.rest = get("/a").into_bytes();
    lab.run();
    let order = HttpResponse { body: Bytes::from(vec![b'x'; 300_000]), ..HttpResponse::text(200, "") };
    lab.conn.apply(lab.now, Order::Http(Box::new(order)));
    assert!(matches!(lab.conn.next_event(lab.now), Next::NeedData));
    for _ in 0..3 {
        let mut wire = Vec::new();
        lab.conn.take_wire(lab.now, &mut wire);
        lab.conn.wrote(lab.now, wire.len());
        lab.now.mono = lab.conn.next_deadline().unwrap();
        lab.conn.handle_timeout(lab.now);
        assert!(matches!(lab.conn.next_event(lab.now), Next::NeedData), "the peer still reads");
    }
    lab.now.mono = lab.conn.next_deadline().unwrap();
    lab.conn.handle_timeout(lab.now);
    assert_eq!(shown_next(&mut lab), "ending HttpIdle", "the peer reads no more");
}

/// A response with more behind it.
fn begins(rest: u64) -> Order {
    Order::Http(Box::new(HttpResponse { rest, ..HttpResponse::text(200, "abc") }))
}

fn more(text: &'static str) -> Order {
    Order::Body(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_body_comes_in_pieces_and_no_more_of_it_than_was_said() {
    let mut lab = Lab::new();
    lab.send([get("/a"), get("/b")].concat());
    lab.apply(begins(5));
    lab.apply(more("de"));
    assert!(lab.take_facts().iter().all(|fact| !fact.contains("/b")), "the next request waits");
    lab.apply(more("fgh and what nobody announced"));
    let wire = lab.http();
    assert!(wire.contains("Content-Length: 8\r\n") && wire.ends_with("\r\n\r\nabcdefgh"), "{wire}");
    lab.run();
    assert!(lab.take_facts().iter().any(|fact| fact.contains("/b")), "then it is read");
    // Outside of a body a piece is nothing.
    lab.apply(more("x"));
    assert_eq!(lab.http(), "");
}

#[test]
fn a_head_announces_what_does_not_follow() {
    let mut lab = Lab::new();
    lab.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
    lab.apply(begins(5));
    let wire = lab.http();
    assert!(wire.contains("Content-Length: 8\r\n") && wire.ends_with("\r\n\r\n"), "{wire}");
    lab.run();
    assert_eq!(lab.wait_deadline(), 5_000, "the next request is waited for");
}

#[test]
fn who_takes_nothing_of_a_body_is_cut_and_who_reads_slowly_is_not() {
    let mut lab = Lab::new();
    lab.rest = get("/a").into_bytes();
    lab.run();
    lab.conn.apply(lab.now, begins(500_000));
    lab.conn.apply(lab.now, Order::Body(Bytes::from(vec![b'x'; 300_000])));
    let step = |lab: &mut Lab, is_read: bool| {
        let mut wire = Vec::new();
        if is_read {
            lab.conn.take_wire(lab.now, &mut wire);
            lab.conn.wrote(lab.now, wire.len());
        }
        lab.now.mono = lab.conn.next_deadline().unwrap();
        lab.conn.handle_timeout(lab.now);
    };
    // Some of it, the rest of it, and then it waits for us.
    for _ in 0..8 {
        step(&mut lab, true);
        while let Next::Event(input) = lab.conn.next_event(lab.now) {
            assert!(matches!(input, Input::Drained { .. } | Input::Http { .. }), "{input:?}");
        }
    }
    lab.conn.apply(lab.now, Order::Body(Bytes::from(vec![b'x'; 100_000])));
    step(&mut lab, false);
    step(&mut lab, false);
    let mut last = String::new();
    while let Next::Event(input) = lab.conn.next_event(lab.now) {
        last = shown(&input);
    }
    assert_eq!(last, "ending SendTimeout");
    assert!(lab.conn.is_finished());
}

#[test]
fn a_peer_that_ended_its_side_gets_the_whole_body() {
    let mut lab = Lab::new();
    lab.send(get("/a"));
    lab.apply(begins(3));
    lab.end();
    assert!(!lab.conn.is_finished());
    lab.apply(more("def"));
    assert!(lab.http().ends_with("abcdef"));
    lab.run();
    assert!(lab.conn.is_finished());
}

#[test]
fn a_page_that_listens_is_told_and_not_listened_to() {
    let mut lab = Lab::new();
    lab.send(UPGRADE);
    lab.apply(Order::Watch);
    assert!(lab.http().ends_with("\r\n\r\n"), "no challenge");
    lab.text(&connect("c1"));
    assert!(lab.take_facts().iter().all(|fact| !fact.contains("connect")));
    lab.apply(Order::Reload);
    assert_eq!(lab.take_wire(), b"\x81\x06reload");
}

fn shown_next(lab: &mut Lab) -> String {
    match lab.conn.next_event(lab.now) {
        Next::Event(input) => shown(&input),
        other @ (Next::NeedData | Next::Paused) => panic!("{other:?}"),
    }
}

#[test]
fn ends_of_the_stream() {
    let mut lab = Lab::new();
    lab.end();
    assert_eq!(lab.take_facts(), ["ending PeerClosed"]);
    assert!(lab.conn.is_finished());

    let mut lab = Lab::new();
    lab.send("GET / HT");
    lab.end();
    assert_eq!(lab.take_facts(), ["ending PeerGone"]);
    assert!(lab.conn.is_finished());

    // A peer that only ended its side still gets its answers.
    let mut lab = Lab::new();
    lab.send(get("/a"));
    lab.end();
    assert!(!lab.conn.is_finished());
    lab.respond_http("one");
    assert!(lab.http().ends_with("one"));
    assert_eq!(lab.take_facts(), ["http GET /a", "ending PeerClosed"]);
    assert!(lab.conn.is_finished());

    let mut lab = Lab::new();
    lab.send(UPGRADE);
    lab.end();
    lab.apply(Order::Upgrade);
    assert_eq!(lab.take_facts(), ["upgrade /", "ending PeerGone"]);
    assert!(lab.conn.is_finished() && lab.wire.is_empty());
}

#[test]
fn the_gateway_may_stop_reading_and_cut() {
    let mut lab = Lab::new();
    lab.apply(Order::Read(false));
    lab.send(get("/a"));
    assert!(lab.facts.is_empty() && !lab.conn.wants_read());
    lab.apply(Order::Read(true));
    assert_eq!(lab.take_facts(), ["http GET /a"]);
    lab.apply(Order::Abort);
    assert_eq!(lab.take_facts(), ["ending Ordered"]);
    assert!(lab.conn.is_finished() && lab.conn.next_deadline().is_none());
    lab.respond_http("too late");
    assert_eq!(lab.wire, b"");
}
