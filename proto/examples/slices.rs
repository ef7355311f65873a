//! A gateway driven by byte slices alone: no socket, no thread, no clock, no disk. A client's bytes are written out
//! by hand, so that the whole of a connection can be read here: upgrade, challenge, `connect`, hello-ok.
//!
//!     cargo run -p clawgate-proto --example slices

use clawgate_proto::config::{About, AuthConfig, AuthMode, Config};
use clawgate_proto::secret::Secret;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Connection, Gateway, Mono, Next, Now, Output, Peer, Wall};

fn main() {
    for said in run() {
        println!("{said}\n");
    }
}

/// Everything the gateway says to one client: the answer to its upgrade, the challenge, hello-ok.
pub(crate) fn run() -> Vec<String> {
    // A driver reads both clocks once per wake-up, and draws the seed from the operating system.
    let now = Now { mono: Mono(0), wall: Wall(1_800_000_000_000) };
    let mut gateway = Gateway::new(config(), Seed::new([7; 32]), now);
    let loopback = |port| ([127, 0, 0, 1], port).into();
    let peer = Peer { remote: loopback(40_000), local: loopback(18_789) };
    let mut conn = gateway.open(now, peer, &mut Vec::new()).expect("the first socket finds room");

    let wire = exchange(&mut gateway, &mut conn, now, UPGRADE.as_bytes());
    let end = wire.windows(4).position(|end| end == b"\r\n\r\n").expect("the upgrade is answered") + 4;
    let (head, frames) = wire.split_at(end);
    let mut said = vec![String::from_utf8_lossy(head).trim_end().to_owned()];
    said.extend(messages(frames));

    // The command line on this machine may come without a device, when it knows the token.
    let wire = exchange(&mut gateway, &mut conn, now, &masked_text(CONNECT));
    said.extend(messages(&wire));
    said
}

/// Gives bytes of the client to its connection and returns what goes back. This is all that a driver does.
fn exchange(gateway: &mut Gateway, conn: &mut Connection, now: Now, mut bytes: &[u8]) -> Vec<u8> {
    let (mut wire, mut outputs) = (Vec::new(), Vec::new());
    loop {
        let mut moved = false;
        if !bytes.is_empty() && conn.wants_read() {
            bytes = &bytes[conn.receive(now, bytes)..];
            moved = true;
        }
        while let Next::Event(input) = conn.next_event(now) {
            gateway.handle(now, input, &mut outputs);
            moved = true;
        }
        for output in outputs.drain(..) {
            match output {
                // There is one connection, so every order is for it.
                Output::To(_, order) => conn.apply(now, order),
                // Nothing here needs the disk, logs, or stops.
                Output::Host(..) | Output::Log(_) | Output::Accept(_) | Output::Beat | Output::Stopped => {}
            }
        }
        if conn.wants_write() {
            let before = wire.len();
            conn.take_wire(now, &mut wire);
            conn.wrote(now, wire.len() - before);
            moved = true;
        }
        if !moved {
            return wire;
        }
    }
}

/// A text message as a client sends it: one frame, masked (RFC 6455 section 5.3).
fn masked_text(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let length = u16::try_from(text.len()).expect("the text is short");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend(MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The texts in a server's frames, none of which is longer than 64 KiB here.
fn messages(mut wire: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [_, short, rest @ ..] = wire {
        let (length, rest) = match (short, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (short, rest) => (usize::from(*short), rest),
        };
        let (text, behind) = rest.split_at(length.min(rest.len()));
        texts.push(String::from_utf8_lossy(text).into_owned());
        wire = behind;
    }
    texts
}

fn config() -> Config {
    let token = Secret::new("an example is no secret");
    let auth = AuthConfig { token, ..AuthConfig::new(AuthMode::Token) };
    let about = About { version: "example".to_owned(), ..About::default() };
    Config { about, ..Config::new(auth, 18_789) }
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost:18789\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const CONNECT: &str = r#"{"type":"req","id":"1","method":"connect","params":{"minProtocol":4,"maxProtocol":4,
    "client":{"id":"cli","mode":"cli","version":"1.0.0","platform":"linux"},
    "scopes":["operator.read"],"auth":{"token":"an example is no secret"}}}"#;
