//! Peers that end their side right behind their last words: what was said before the end is done, whoever holds it
//! when the end comes.

use crate::admin;
use crate::bench::{Bench, NOW};
use clawgate_proto::host::Document;
use clawgate_support::sealed::Pipe;
use clawgate_support::{Place, Stage};
use serde_json::json;

/// As many requests as may be in flight, and one more behind them, in a read that a driver's buffer holds exactly: the
/// end is the next thing that it sees.
pub(crate) fn what_was_said_before_the_end_is_done(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.requests_in_flight_max = IN_FLIGHT);
    let actor = admin(&mut stage, 4);
    // Who has said much is read by another way than who says little.
    let much = stage.call(actor, "health", json!({ "x": "y".repeat(30_000) }));
    assert!(much.is_ok() || much.is_err_and(|error| error.code == "INVALID_REQUEST"), "{place:?}");
    stage.hold_host(true);
    stage.last_words(actor, |client| {
        let mut wire = if place.is_sealed() { RECORD_BYTES } else { 0 };
        for id in 10..10 + IN_FLIGHT {
            let request = format!(r#"{{"type":"req","id":"{id}","method":"exec.approvals.get"}}"#);
            client.send_text_raw(&request).unwrap();
            wire += FRAME_BYTES + request.len();
        }
        let last = r#"{"type":"req","id":"last","method":"voicewake.set","params":{"triggers":["behind"]}"#;
        wire += FRAME_BYTES + 2 + last.len() + 1;
        assert!(wire < READ_BYTES, "{wire}");
        client.send_text_raw(&format!("{last}{}}}", " ".repeat(READ_BYTES - wire))).unwrap();
    });
    // Until the gateway has read it, most likely.
    stage.pass(200);
    stage.hold_host(false);
    let other = admin(&mut stage, 4);
    for _ in 0..200 {
        if stage.call(other, "voicewake.get", json!({})).unwrap() == json!({"triggers": ["behind"]}) {
            assert!(stage.host().content(Document::VoiceWake).is_some(), "{place:?}");
            return;
        }
        stage.pass(50);
    }
    panic!("{place:?}: the last request was lost");
}

/// The core alone: all bytes in one piece, and the end directly after it, as from a driver that has both.
#[test]
fn what_tls_holds_when_the_end_comes_is_answered_before_it() {
    for has_farewell in [false, true] {
        // What is in the clear is taken in small pieces, so TLS is left with the most of a record.
        let mut bench = Bench::new(|limits| limits.head_bytes_max = 1024);
        let line = bench.open();
        let mut pipe = Pipe::new("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS).as_bytes());
        let mut answers = Vec::new();
        let hello = pipe.take();
        assert_eq!(bench.line(line).receive(NOW, &hello), hello.len());
        pipe.receive(&bench.pump(line), &mut answers);
        if has_farewell {
            pipe.farewell();
        }
        let last = pipe.take();
        assert_eq!(bench.line(line).receive(NOW, &last), last.len(), "TLS takes it all");
        bench.line(line).receive_end(NOW);
        assert!(!bench.line(line).wants_read(), "nothing follows");
        pipe.receive(&bench.pump(line), &mut answers);
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), REQUESTS, "{has_farewell}");
        assert!(bench.line(line).is_finished() && pipe.said_farewell());
    }
}

/// As many as one record holds (RFC 8446 section 5.1), each of which waits for the answer to the one before it.
const REQUESTS: usize = 400;
/// As many short requests as one read holds, and room for one more.
const IN_FLIGHT: usize = 24;
/// What a frame of a client adds to a short message (RFC 6455 section 5.2), and two bytes more for a longer one.
const FRAME_BYTES: usize = 6;
/// What a record adds (RFC 8446 section 5.2).
const RECORD_BYTES: usize = 22;
/// The small buffer of `runtime-std`.
const READ_BYTES: usize = 2 * 1024;
