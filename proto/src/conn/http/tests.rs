//! The reader against a table of requests, under every cut, at every limit, and against random bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod limits;
mod responses;

use super::*;
use proptest::prelude::*;

/// Feeds `bytes` in pieces that end at `cuts` and tells all that came out, answering each request at once.
fn outcome_under(limits: &Limits, bytes: &[u8], cuts: &[usize]) -> String {
    let mut reader = HttpReader::new(limits);
    let mut told = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&bytes.len()]) {
        let mut piece = &bytes[from..to];
        from = to;
        while !piece.is_empty() {
            let taken = reader.receive(piece);
            piece = &piece[taken..];
            let had = told.len();
            if drain(&mut reader, &mut told) {
                return told.join(" | ");
            }
            assert!(taken > 0 || told.len() > had || reader.has_room(), "a full reader must move on");
        }
    }
    told.push(format!("{:?}", reader.phase()).to_lowercase());
    told.join(" | ")
}

/// Asks until there is nothing more. Whether a fault ended it.
fn drain(reader: &mut HttpReader, told: &mut Vec<String>) -> bool {
    loop {
        match reader.next() {
            Ok(HttpNext::NeedData) => return false,
            Ok(HttpNext::Continue) => told.push("continue".into()),
            Ok(HttpNext::Request { request, reply }) => {
                let query = request.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
                let body = String::from_utf8_lossy(&request.body);
                let body = if body.is_empty() { String::new() } else { format!(" body={body}") };
                let life = if reply.keep_alive { "keep" } else { "close" };
                assert_eq!(reply.head_only, request.method == "HEAD");
                told.push(format!("{} {}{query} {life}{body}", request.method, request.path));
            }
            Err(fault) => {
                told.push(format!("{} {fault:?}", fault.status()));
                assert_eq!(reader.next().unwrap_err(), fault, "a fault is final");
                return true;
            }
        }
    }
}

fn outcome(bytes: &[u8]) -> String {
    outcome_under(&Limits::default(), bytes, &[])
}

/// Whole, byte by byte, and in two pieces cut at every position: the same comes out.
fn outcome_under_every_cut(limits: &Limits, bytes: &[u8]) -> String {
    let whole = outcome_under(limits, bytes, &[]);
    let each: Vec<usize> = (1..bytes.len()).collect();
    assert_eq!(
        outcome_under(limits, bytes, &each),
        whole,
        "byte by byte: {:?}",
        bytes.escape_ascii().to_string()
    );
    for cut in each {
        assert_eq!(
            outcome_under(limits, bytes, &[cut]),
            whole,
            "cut at {cut}: {:?}",
            bytes.escape_ascii().to_string()
        );
    }
    whole
}

#[test]
fn every_case_has_its_outcome_however_it_is_cut() {
    let mut wrong = Vec::new();
    for (bytes, expected) in cases::CASES {
        let got = outcome_under_every_cut(&Limits::default(), bytes);
        if got != *expected {
            wrong.push(format!("{}\n  expected {expected}\n  got      {got}", bytes.escape_ascii()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases::CASES.len() >= 60);
}

#[test]
fn headers_are_lower_case_and_trimmed() {
    let mut reader = HttpReader::new(&Limits::default());
    let bytes = b"GET / HTTP/1.1\r\nhOsT:\t a.b:1 \t\r\nX-Empty:\r\nX-Two: 1\r\nx-two:  two words \r\n\r\n";
    assert_eq!(reader.receive(bytes), bytes.len());
    let HttpNext::Request { request, .. } = reader.next().unwrap() else { panic!("no request") };
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("host", "a.b:1"), ("x-empty", ""), ("x-two", "1"), ("x-two", "two words")]);
}

#[test]
fn what_follows_a_request_waits_until_it_is_asked_for() {
    let mut reader = HttpReader::new(&Limits::default());
    assert_eq!(reader.phase(), HttpPhase::Idle);
    let two = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    reader.receive(two);
    assert!(matches!(reader.next(), Ok(HttpNext::Request { request, .. }) if request.path == "/1"));
    assert_eq!(reader.phase(), HttpPhase::Answer);
    assert!(matches!(reader.next(), Ok(HttpNext::Request { request, .. }) if request.path == "/2"));
    assert!(matches!(reader.next(), Ok(HttpNext::NeedData)));
    assert!(reader.is_idle());
}

#[test]
fn bytes_behind_an_upgrade_are_handed_on() {
    let mut reader = HttpReader::new(&Limits::default());
    reader.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80");
    assert!(matches!(reader.next(), Ok(HttpNext::Request { .. })));
    reader.receive(b"\n\n\n\n");
    assert_eq!(reader.into_residue(), b"\x81\x80\n\n\n\n");
}

#[test]
fn the_phases_follow_the_bytes() {
    let mut reader = HttpReader::new(&Limits::default());
    for (bytes, phase) in [
        (&b"P"[..], HttpPhase::Head),
        (b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r", HttpPhase::Head),
        (b"\n", HttpPhase::Body),
        (b"x", HttpPhase::Body),
    ] {
        reader.receive(bytes);
        assert!(matches!(reader.next(), Ok(HttpNext::NeedData)));
        assert_eq!(reader.phase(), phase);
    }
    assert!(reader.in_body());
    reader.receive(b"y");
    assert!(matches!(reader.next(), Ok(HttpNext::Request { .. })));
    assert_eq!(reader.phase(), HttpPhase::Answer);
}

#[test]
fn behind_the_last_request_bytes_are_taken_and_dropped() {
    let mut reader = HttpReader::new(&Limits::default());
    reader.receive(b"GET / HTTP/1.0\r\n\r\n");
    assert!(matches!(reader.next(), Ok(HttpNext::Request { reply: ReplyTo { keep_alive: false, .. }, .. })));
    assert!(matches!(reader.next(), Ok(HttpNext::NeedData)));
    assert_eq!(reader.phase(), HttpPhase::Ended);
    assert_eq!(reader.receive(&[b'G'; 100_000]), 100_000);
    assert!(matches!(reader.next(), Ok(HttpNext::NeedData)));
}

/// Pieces that random messages are made of, so that random bytes get past the first line.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET ",
        "POST ",
        "HEAD ",
        "OPTIONS * ",
        "/",
        "/a?b=c ",
        "http://a/x ",
        "HTTP/1.1",
        "HTTP/1.0",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        " ",
        "\t",
        ":",
        "\0",
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "hello",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "5;a=\"b\"\r\n",
        "ffffffffffffffff\r\n",
        "Trailer: x\r\n",
        "x: y\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    ]);
    prop_oneof![
        9 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

/// Limits small enough for random messages to reach.
fn tight() -> Limits {
    Limits {
        head_bytes_max: 96,
        target_bytes_max: 12,
        header_count_max: 3,
        body_bytes_max: 12,
        chunk_line_bytes_max: 20,
        ..Limits::default()
    }
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        fragments in prop::collection::vec(fragment(), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        tight_limits in any::<bool>(),
    ) {
        let limits = if tight_limits { tight() } else { Limits::default() };
        let bytes = fragments.concat();
        let whole = outcome_under(&limits, &bytes, &[]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&outcome_under(&limits, &bytes, &cuts), &whole);
        let each: Vec<usize> = (1..bytes.len()).collect();
        prop_assert_eq!(&outcome_under(&limits, &bytes, &each), &whole);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        outcome(&bytes);
        let mut body = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        body.extend_from_slice(&bytes);
        outcome(&body);
    }
}
