//! The client side: the built program, asked to talk to somebody else.

use clawgate_support::Settings;
use clawgate_support::program::keep_output;
use clawgate_support::secrets::{self, MARKER};
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// The tests of this file, for the table.
pub(crate) const NAMES: &[&str] = &["command_line::an_address_from_elsewhere_gets_no_credential_of_ours"];

/// CVE-2026-25253 and CVE-2026-26322: a page, and later a tool, took the gateway's address from its caller, and sent the
/// credentials that it held there. Here an address that is given needs credentials that are given with it.
#[test]
fn an_address_from_elsewhere_gets_no_credential_of_ours() {
    let settings = Settings::new(env!("CARGO_BIN_EXE_clawgate"), "std")
        .env("OPENCLAW_GATEWAY_TOKEN", secrets::chosen("environment"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("ws://{host}:{port}/");
        for command in [&["call", "health"][..], &["status"], &["devices", "list"]] {
            let args = command.iter().copied().chain(["--url", &url]);
            let done = settings.command(args).output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            keep_output("advisories", &said);
            assert_eq!(done.status.code(), Some(2), "{said}");
            assert!(said.contains("gateway url override requires explicit credentials"), "{said}");
            let nobody = listener.accept().map(|_| ()).map_err(|why| why.kind());
            assert_eq!(nobody, Err(ErrorKind::WouldBlock), "somebody called");
        }
    }
    // Credentials for that address go there, after the upgrade; nothing of ours does.
    listener.set_nonblocking(false).unwrap();
    let spy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = Vec::new();
        let mut buffer = [0; 1024];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                bytes => head.extend_from_slice(&buffer[..bytes]),
            }
        }
        String::from_utf8(head).unwrap()
    });
    let url = format!("ws://127.0.0.1:{port}/");
    let mine = secrets::chosen("mine");
    let done = settings.command(["call", "health", "--url", &url, "--token", &mine]).output().unwrap();
    let head = spy.join().unwrap();
    assert!(head.starts_with("GET / HTTP/1.1\r\n") && !head.contains(MARKER), "{head}");
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stderr));
}
