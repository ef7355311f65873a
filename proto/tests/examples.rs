//! Runs the examples of `proto/examples`, so that what the front page shows is what works.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test on real sockets")]

#[allow(dead_code, reason = "its main is not called")]
#[path = "../examples/slices.rs"]
mod slices;
#[allow(dead_code, reason = "its main is not called")]
#[path = "../examples/sockets.rs"]
mod sockets;

use clawgate_proto::client::{Client, ClientConfig, ClientEvent, DeviceKey};
use clawgate_proto::connect::ClientInfo;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Mono, Now, Wall};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[test]
fn slices_alone_lead_to_hello_ok() {
    let said = slices::run();
    let [head, challenge, hello] = said.as_slice() else { panic!("{said:?}") };
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let challenge: Value = serde_json::from_str(challenge).unwrap();
    assert_eq!(challenge["event"], "connect.challenge");
    let hello: Value = serde_json::from_str(hello).unwrap();
    assert_eq!((&hello["id"], &hello["ok"]), (&json!("1"), &json!(true)));
    assert_eq!(hello["payload"]["type"], "hello-ok");
    assert_eq!(hello["payload"]["auth"]["scopes"], json!(["operator.read"]));
    assert_eq!(said, slices::run(), "the same bytes and the same seed give the same answers");
}

#[test]
fn the_socket_example_is_short() {
    let source = include_str!("../examples/sockets.rs");
    assert!(source.lines().count() < 200, "{} lines", source.lines().count());
}

#[test]
fn plain_sockets_serve_a_device_and_stop_gently() {
    let token = "cLaWmArKeR-example";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| sockets::serve(&listener, token, || is_over.load(Ordering::Relaxed)));
        let mut first = Peer::connect(address, token);
        assert!(first.wait(|event| matches!(event, ClientEvent::HelloOk(_))).is_some());
        // The same device again: it was paired silently, and comes in with what the store remembers.
        let mut second = Peer::connect(address, token);
        let hello = second.wait(|event| matches!(event, ClientEvent::HelloOk(_)));
        let Some(ClientEvent::HelloOk(hello)) = hello else { panic!("no hello-ok") };
        assert!(hello.device_token().is_some());
        let id = second.client.request("device.pair.list", json!({})).unwrap();
        let answer = second.wait(|event| matches!(event, ClientEvent::Response(answer) if answer.id == id));
        let Some(ClientEvent::Response(answer)) = answer else { panic!("no answer") };
        let payload = answer.into_result().unwrap();
        assert_eq!(payload["paired"].as_array().map(Vec::len), Some(1), "{payload}");
        is_over.store(true, Ordering::Relaxed);
        for mut peer in [first, second] {
            let closed = peer.wait(|event| matches!(event, ClientEvent::Closed { .. }));
            let Some(ClientEvent::Closed { code, .. }) = closed else { panic!("not closed") };
            assert_eq!(code, 1012);
        }
        server.join().unwrap().unwrap();
    });
}

/// A client on a blocking socket.
struct Peer {
    client: Client,
    stream: TcpStream,
    start: Instant,
}

impl Peer {
    fn connect(address: SocketAddr, token: &str) -> Self {
        let info = ClientInfo {
            id: "test".to_owned(),
            mode: "test".to_owned(),
            version: "1.0.0".to_owned(),
            platform: "linux".to_owned(),
            display_name: None,
            device_family: None,
            model_identifier: None,
            instance_id: None,
            build_id: None,
            time_zone: None,
        };
        let mut config = ClientConfig::new(address.to_string(), info);
        config.auth.token = Some(token.to_owned());
        config.identity = Some(DeviceKey::from_seed(&[9; 32]));
        let start = Instant::now();
        let client = Client::new(config, Seed::new([1; 32]), now(start));
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { client, stream, start }
    }

    /// The first event that `is_it`; `None` when there is none within the bound.
    fn wait(&mut self, is_it: impl Fn(&ClientEvent) -> bool) -> Option<ClientEvent> {
        let mut buffer = [0; 4096];
        for _ in 0..TRIES {
            while let Some(event) = self.client.next_event() {
                if is_it(&event) {
                    return Some(event);
                }
            }
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.take_wire(&mut wire);
            }
            // A gateway that has gone may still have said why.
            let _ = self.stream.write_all(&wire);
            match self.stream.read(&mut buffer) {
                Ok(count @ 1..) => self.client.receive(now(self.start), &buffer[..count]),
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(_) | Err(_) => self.client.receive_end(now(self.start)),
            }
        }
        None
    }
}

fn now(start: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Now { mono: Mono(start.elapsed().as_micros() as u64), wall: Wall(wall.as_millis() as u64) }
}

/// Reads of 50 ms at most.
const TRIES: usize = 600;
