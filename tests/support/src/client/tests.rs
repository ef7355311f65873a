//! The blocking client against scripted gateways, a thread each, on loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use base64::Engine as _;
use clawgate_proto::budget::Budget;
use clawgate_proto::frame::CloseFrame;
use clawgate_proto::ws::{Received, Role, WebSocket};
use serde_json::json;
use sha1::{Digest as _, Sha1};
use std::net::TcpListener;
use std::thread::JoinHandle;

/// The gateway's end of one connection.
struct Peer {
    stream: TcpStream,
    socket: WebSocket,
}

impl Peer {
    fn say(&mut self, frame: &Value) {
        self.socket.send_text(frame.to_string());
        self.flush();
    }

    fn challenge(&mut self) {
        let payload = json!({ "nonce": "n", "ts": 1 });
        self.say(&json!({ "type": "event", "event": "connect.challenge", "payload": payload }));
    }

    fn hello(&mut self) {
        self.challenge();
        let connect = self.hear().unwrap();
        let auth = json!({ "role": "operator", "scopes": [], "deviceToken": secrets::chosen("device") });
        let payload = json!({ "type": "hello-ok", "protocol": 4, "auth": auth });
        self.say(&json!({ "type": "res", "id": connect["id"], "ok": true, "payload": payload }));
    }

    /// The client's next message; `None` at its close frame, which is answered.
    fn hear(&mut self) -> Option<Value> {
        let mut byte = [0];
        loop {
            assert_eq!(self.stream.read(&mut byte).unwrap(), 1, "the client is gone");
            match self.socket.receive(&byte).1 {
                None => self.flush(),
                Some(Received::Message(message)) => {
                    return Some(serde_json::from_str(message.text().unwrap()).unwrap());
                }
                Some(Received::Closed(_)) => {
                    self.flush();
                    return None;
                }
                Some(Received::Fault(fault)) => panic!("{fault:?}"),
            }
        }
    }

    fn close(&mut self, code: u16, reason: &'static str) {
        self.socket.close(CloseFrame::new(code, reason));
        self.flush();
        assert_eq!(self.hear(), None);
    }

    fn flush(&mut self) {
        let mut wire = Vec::new();
        while self.socket.wants_write() {
            self.socket.take_wire(&mut wire);
        }
        self.stream.write_all(&wire).unwrap();
    }
}

fn listen(serve: impl FnOnce(TcpStream, String) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(ANSWER_BOUND)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        serve(stream, String::from_utf8(head).unwrap());
    });
    (addr, thread)
}

fn gateway(script: impl FnOnce(&mut Peer) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    listen(|mut stream, head| {
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
        stream.write_all(format!("{upgrade}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes()).unwrap();
        script(&mut Peer { stream, socket: WebSocket::new(Role::Server, 1 << 20, Budget::new(1 << 20)) });
    })
}

#[test]
fn calls_are_answered_and_what_comes_between_is_kept() {
    let (addr, thread) = gateway(|peer| {
        peer.hello();
        let call = peer.hear().unwrap();
        assert_eq!(call["method"], "health");
        peer.say(&json!({ "type": "event", "event": "tick", "payload": { "ts": 7 }, "seq": 1 }));
        peer.say(&json!({ "type": "res", "id": call["id"], "ok": true, "payload": { "fine": true } }));
        let call = peer.hear().unwrap();
        let error = json!({ "code": "INVALID_REQUEST", "message": "no", "details": { "code": "X" } });
        peer.say(&json!({ "type": "res", "id": call["id"], "ok": false, "error": error }));
        assert_eq!(peer.hear(), None);
    });
    let mut client = TestClient::connect(addr, config(addr, Some("t"), Some(fresh_key()))).unwrap();
    assert_eq!(client.hello()["protocol"], 4);
    assert_eq!(client.device_token(), Some(secrets::chosen("device").as_str()));
    assert_eq!(client.call("health", json!({})), Ok(json!({ "fine": true })));
    let error = client.call("nope", json!({})).unwrap_err();
    assert_eq!(error, json!({ "code": "INVALID_REQUEST", "message": "no", "details": { "code": "X" } }));
    let tick = client.wait_event("tick", Duration::ZERO).expect("it was kept");
    assert_eq!((tick.seq, tick.value()), (Some(1), json!({ "ts": 7 })));
    assert!(client.wait_event("tick", Duration::from_millis(5)).is_none());
    let closed = client.close(1000, "done").unwrap();
    assert_eq!((closed.code, closed.by), (1000, ClosedBy::Us));
    thread.join().unwrap();
}

#[test]
fn a_refused_connect_comes_with_its_close_frame() {
    let (addr, thread) = gateway(|peer| {
        peer.challenge();
        let connect = peer.hear().unwrap();
        let error = json!({ "code": "INVALID_REQUEST", "message": "no", "details": { "code": "AUTH_TOKEN_MISSING" } });
        peer.say(&json!({ "type": "res", "id": connect["id"], "ok": false, "error": error }));
        peer.close(1008, "no");
    });
    let refusal = TestClient::connect(addr, config(addr, None, None)).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.detail_code()),
        (Some("INVALID_REQUEST"), Some("AUTH_TOKEN_MISSING"))
    );
    assert_eq!(refusal.close(), Some((1008, "no")));
    thread.join().unwrap();
}

#[test]
fn a_plain_response_and_a_closed_port_are_refusals() {
    let (addr, thread) = listen(|mut stream, _| {
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull").unwrap();
    });
    let refusal = TestClient::connect(addr, config(addr, None, None)).unwrap_err();
    assert_eq!(refusal.http, Some((503, "full".to_owned())));
    thread.join().unwrap();
    let refusal = TestClient::connect(addr, config(addr, None, None)).unwrap_err();
    assert_eq!(refusal.io, Some(ErrorKind::ConnectionRefused));
}

#[test]
fn raw_messages_and_frames_reach_the_gateway() {
    let (addr, thread) = gateway(|peer| {
        peer.challenge();
        assert_eq!(peer.hear(), Some(json!({ "odd": 1 })));
        assert_eq!(peer.hear(), Some(json!([2])));
        assert_eq!(peer.hear().unwrap()["params"], json!({ "nonce": "n", "ts": 1 }));
        peer.close(1008, "enough");
    });
    let settings = ClientConfig { answers_challenge: false, ..config(addr, None, None) };
    let mut client = TestClient::open(addr, settings).unwrap();
    client.send_text_raw(r#"{"odd":1}"#);
    client.send_frame_raw(&crate::raw_frame(0x81, Some([1, 2, 3, 4]), b"[2]"));
    let (nonce, ts) = client.challenge();
    client.send_connect(json!({ "nonce": nonce, "ts": ts }));
    let closed = client.wait_closed(ANSWER_BOUND).unwrap();
    assert_eq!((closed.code, closed.reason.as_str(), closed.by), (1008, "enough", ClosedBy::Peer));
    thread.join().unwrap();
}

#[test]
fn a_gateway_that_goes_away_ends_the_wait() {
    let (addr, thread) = gateway(Peer::hello);
    let mut client = TestClient::connect(addr, config(addr, None, None)).unwrap();
    thread.join().unwrap();
    assert_eq!(client.wait_closed(ANSWER_BOUND).unwrap().code, 1006);
    assert!(matches!(client.next(ANSWER_BOUND), Some(ClientEvent::Challenge { .. })));
    assert!(matches!(client.next(ANSWER_BOUND), Some(ClientEvent::Closed { .. })));
    assert!(client.next(ANSWER_BOUND).is_none());
}
