//! Any bytes, any cuts: the same facts and the same wire.

use super::*;
use proptest::prelude::*;

/// A gateway that answers everything at once.
fn serve(bytes: &[u8], cuts: &[usize]) -> (Vec<String>, Vec<u8>, bool) {
    let limits = Limits {
        requests_in_flight_max: 2,
        message_bytes_max: 3_000,
        preauth_message_bytes_max: 2_000,
        handshake_frames_max: 3,
        ..Limits::default()
    };
    let mut lab = Lab::with(limits);
    let mut told = Vec::new();
    let mut rest = bytes;
    let mut cuts = cuts.iter().copied().cycle();
    let mut is_connecting = 0;
    let mut wire = Vec::new();
    while !rest.is_empty() || !lab.rest.is_empty() {
        let cut = cuts.next().unwrap_or(rest.len()).clamp(1.min(rest.len()), rest.len());
        let (piece, later) = rest.split_at(cut);
        rest = later;
        lab.rest.extend_from_slice(piece);
        loop {
            let taken = if lab.conn.wants_read() { lab.conn.receive(lab.now, &lab.rest) } else { 0 };
            assert!(taken > 0 || lab.rest.is_empty() || !lab.conn.wants_read());
            lab.rest.drain(..taken);
            let mut moved = taken > 0;
            while let Next::Event(input) = lab.conn.next_event(lab.now) {
                moved = true;
                match &input {
                    Input::Upgrade { .. } => lab.conn.apply(lab.now, Order::Upgrade),
                    Input::Http { .. } => {
                        lab.conn.apply(lab.now, Order::Http(Box::new(HttpResponse::text(200, "ok"))));
                        // The next request is not looked at before this answer has left.
                        let before = wire.len();
                        lab.conn.take_wire(lab.now, &mut wire);
                        lab.conn.wrote(lab.now, wire.len() - before);
                    }
                    // The gateway takes its time here, until nothing more is taken or comes.
                    Input::Connect { .. } => is_connecting = 1,
                    Input::Request { request, .. } => {
                        let reply = Reply::Ok(Payload::Value(Box::new(json!({}))));
                        lab.conn.apply(lab.now, Order::Respond { id: request.id.clone(), reply });
                    }
                    Input::Drained { .. } => continue,
                    Input::Ending { .. } => {}
                    Input::Closed { .. }
                    | Input::Answered { .. }
                    | Input::ConfigTouched
                    | Input::Stop
                    | Input::Restart
                    | Input::Tick => {
                        unreachable!()
                    }
                }
                told.push(shown(&input));
            }
            if is_connecting == 1 && (!lab.conn.wants_read() || rest.is_empty() && lab.rest.is_empty()) {
                is_connecting = 2;
                moved = true;
                lab.admit_quietly();
            }
            if !moved || lab.conn.is_finished() {
                break;
            }
        }
        if lab.conn.is_finished() {
            break;
        }
    }
    let is_finished = lab.conn.is_finished();
    while lab.conn.wants_write() {
        lab.conn.take_wire(lab.now, &mut wire);
    }
    (told, wire, is_finished)
}

impl Lab {
    fn admit_quietly(&mut self) {
        let order = Order::Admit(Box::new(admission(&self.conn.config)));
        self.conn.apply(self.now, order);
    }
}

fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let http = prop_oneof![
        6 => Just(String::new()),
        2 => Just("GET /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        1 => Just("POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned()),
        1 => Just("GET /c HTTP/1.1\r\n\r\n".to_owned()),
    ];
    let text = |text: String| frame(0x81, text.as_bytes());
    let message = prop_oneof![
        6 => (0..100u8).prop_map(move |n| text(request(&n.to_string(), "health", json!({})))),
        2 => Just(text(connect("again"))),
        2 => Just(text("{}".to_owned())),
        1 => Just(text("no json".to_owned())),
        1 => Just(text(format!("{:1500}", request("long", "health", json!({}))))),
        1 => Just(text(format!("{:3001}", request("too long", "health", json!({}))))),
        2 => Just(frame(0x89, b"ping")),
        1 => Just([frame(0x01, br#"{"type":"req","id":"f","#), frame(0x80, br#""method":"status"}"#)].concat()),
        1 => Just(frame(0x82, b"\xff")),
        1 => Just(close(1000)),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ];
    let first = prop_oneof![8 => Just(connect("c1")), 1 => Just("{}".to_owned())];
    (http, first, prop::collection::vec(message, 0..12)).prop_map(move |(http, first, messages)| {
        [http.as_bytes(), UPGRADE.as_bytes(), &frame(0x81, first.as_bytes()), &messages.concat()].concat()
    })
}

proptest! {
    #[test]
    fn cuts_do_not_matter(bytes in traffic(), cuts in prop::collection::vec(1usize..200, 1..20)) {
        let whole = serve(&bytes, &[]);
        prop_assert_eq!(&serve(&bytes, &[1]), &whole);
        prop_assert_eq!(&serve(&bytes, &cuts), &whole);
    }
}
