//! Peers that end their side right behind their last words: what was said before the end is done, whoever holds it
//! when the end comes.

use crate::admin;
use clawgate_proto::host::{Document, Host as _, perform};
use clawgate_proto::seed::Seed;
use clawgate_proto::{Connection, Gateway, Input, Mono, Next, Now, Output, Peer, Wall};
use clawgate_support::sealed::{self, Pipe};
use clawgate_support::{MemoryHost, Place, Stage, stage};
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
        let mut core = Core::new();
        let mut pipe = Pipe::new("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS).as_bytes());
        let mut answers = Vec::new();
        let hello = pipe.take();
        assert_eq!(core.connection.receive(NOW, &hello), hello.len());
        pipe.receive(&core.pump(), &mut answers);
        if has_farewell {
            pipe.farewell();
        }
        let last = pipe.take();
        assert_eq!(core.connection.receive(NOW, &last), last.len(), "TLS takes it all");
        core.connection.receive_end(NOW);
        assert!(!core.connection.wants_read(), "nothing follows");
        pipe.receive(&core.pump(), &mut answers);
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), REQUESTS, "{has_farewell}");
        assert!(core.connection.is_finished() && pipe.said_farewell());
    }
}

/// A gateway and one connection of it, all at one instant.
struct Core {
    gateway: Gateway,
    host: MemoryHost,
    connection: Connection,
}

impl Core {
    fn new() -> Self {
        let mut config = stage::config();
        config.tls = Some(sealed::acceptor());
        // What is in the clear is taken in small pieces, so TLS is left with the most of a record.
        config.limits.head_bytes_max = 1024;
        let mut gateway = Gateway::new(config, Seed::new([9; 32]), NOW);
        let mut out = Vec::new();
        gateway.handle(NOW, Input::Tick, &mut out);
        let peer = Peer { remote: ([127, 0, 0, 1], 50_000).into(), local: ([127, 0, 0, 1], 18_789).into() };
        let connection = gateway.open(NOW, peer, &mut out).unwrap();
        let mut core = Self { gateway, host: MemoryHost::new(), connection };
        core.carry_out(out);
        core
    }

    /// Facts in, orders out, until nobody has anything to say: the bytes that came of it.
    fn pump(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        loop {
            let before = wire.len();
            self.connection.take_wire(NOW, &mut wire);
            self.connection.wrote(NOW, wire.len() - before);
            let mut is_over = wire.len() == before;
            while let Next::Event(input) = self.connection.next_event(NOW) {
                is_over = false;
                let mut out = Vec::new();
                self.gateway.handle(NOW, input, &mut out);
                self.carry_out(out);
            }
            if is_over {
                return wire;
            }
        }
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::To(_, order) => self.connection.apply(NOW, order),
                Output::Host(ticket, request) => {
                    let answer = perform(&self.host, request);
                    let mut out = Vec::new();
                    self.gateway.handle(NOW, Input::Answered { ticket, answer }, &mut out);
                    self.carry_out(out);
                }
                Output::Log(record) => self.host.log(&record),
                Output::Accept(_) | Output::Beat | Output::Stopped => {}
            }
        }
    }
}

const NOW: Now = Now { mono: Mono(1_000_000), wall: Wall(1_795_336_353_595) };
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
