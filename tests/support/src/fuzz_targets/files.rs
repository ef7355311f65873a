//! The target `file_targets`: any request for the canvas, as raw bytes behind `GET `, against a gateway that serves one.
//! Whatever is said, the host is asked for plain names below a root only, and for nothing by who may have nothing.

use crate::host::MemoryHost;
use crate::stage::config;
use crate::world::World;
use clawgate_proto::Peer;
use clawgate_proto::config::{CanvasHost, Config};
use clawgate_proto::host::HostRequest;
use clawgate_proto::host::files::FileRoot;
use std::sync::Arc;

/// The target `file_targets`. The first byte says whether the request comes from this machine; a target and further
/// fields follow.
pub fn file_targets(data: &[u8]) {
    let Some((first, said)) = data.split_first() else { return };
    // A second request would say for itself where it comes from.
    if said.windows(4).any(|four| four == b"\r\n\r\n") {
        return;
    }
    let is_here = first % 2 == 0;
    let host = Arc::new(MemoryHost::new());
    for path in ["index.html", "a.bin", "sub/b.css"] {
        host.put_file(FileRoot::Canvas, path, vec![b'x'; 10]);
    }
    let canvas = Some(CanvasHost { live_reload: first % 4 < 2 });
    let mut world = World::new(Config { canvas, ..config() }, host, [5; 32]);
    world.run();
    world.hold_jobs(true);
    let peer = Peer { remote: ([127, 0, 0, 1], 40_000).into(), local: ([127, 0, 0, 1], 18_789).into() };
    let conn = world.accept(peer).expect("the gateway takes a socket");
    let name = if is_here { "127.0.0.1" } else { "gw.example" };
    // The target ends where the first space or line does; the rest are fields, as far as they are.
    let end = said.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')).unwrap_or(said.len());
    let (target, fields) = said.split_at(end);
    let parts: [&[u8]; 6] =
        [b"GET ", target, b" HTTP/1.1\r\nHost: ", name.as_bytes(), fields, b"\r\nConnection: close\r\n\r\n"];
    world.send(conn, &parts.concat());
    world.run();
    let mut asked = 0;
    while let Some((ticket, request)) = world.take_job() {
        if let HostRequest::File(wanted) = &request {
            asked += 1;
            // The shared secret is not to be guessed, and nobody is here whom an address was made for.
            assert!(is_here, "{:?} is looked for, for somebody from afar", wanted.path);
            for name in wanted.path.names() {
                assert!(!name.starts_with('.') && !name.contains(['/', '\\', '\0']), "{:?}", wanted.path);
            }
        }
        let answer = world.perform(request);
        world.answer(ticket, answer);
        world.run();
    }
    assert!(asked <= 1, "one request looks for one file");
    let wire = world.receive(conn);
    // A body that was announced may be missing.
    assert!(wire.is_empty() || wire.starts_with(b"HTTP/1.1 "), "the first word is a status line");
    assert!(
        is_here || !wire.starts_with(b"HTTP/1.1 200 ") || !says_canvas(target),
        "a file for somebody from afar"
    );
}

/// Whether a target is one of the canvas, by its first letters.
fn says_canvas(target: &[u8]) -> bool {
    target.starts_with(b"/__openclaw__/canvas") || target.starts_with(b"/__openclaw__/a2ui")
}
