//! A thousand pages that load themselves again, and a canvas of ten thousand files in more folders than are watched,
//! against the built program on both drivers: what a page costs, how many watches there are, one word for each burst of
//! changes, and the page too many is refused by the name of the limit.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::usage::{raise_descriptor_limit, settled};
use clawgate_support::{Program, Settings};
use serde_json::json;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const PAGES: usize = 1_000;
/// `limits.reloadSocketsMax`.
const PAGES_MAX: usize = 1_024;
const FOLDERS: usize = 400;
const FILES_IN_EACH: usize = 25;
/// As many folders as are watched at most, the canvas itself among them, and the one of the configuration.
const WATCHES_MAX: usize = 256 + 1;
const BOUND: Duration = Duration::from_secs(30);
/// The word of a change, as a frame.
const RELOAD: &[u8] = b"\x81\x06reload";

/// The most that a page may cost, in bytes: the budget of an idle connection.
fn page_bytes_max(runtime: &str) -> u64 {
    1024 * if runtime == "smol" { 8 } else { 24 }
}

#[cfg(feature = "std")]
#[test]
fn a_thousand_pages_on_std() {
    a_thousand_pages("std");
}

#[cfg(feature = "smol")]
#[test]
fn a_thousand_pages_on_smol() {
    a_thousand_pages("smol");
}

fn a_thousand_pages(runtime: &str) {
    raise_descriptor_limit(4_096);
    let settings = Settings::new(env!("CARGO_BIN_EXE_clawgate"), runtime);
    let canvas = settings.state_dir().join("canvas");
    for folder in 0..FOLDERS {
        let folder = canvas.join(format!("f{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..FILES_IN_EACH {
            fs::write(folder.join(format!("{file}.txt")), "x").unwrap();
        }
    }
    // These pages answer no pings, as browsers do by themselves: none is sent while they are here.
    let limits = json!({ "limits": { "pingIntervalMs": 3_600_000 } });
    fs::write(settings.state_dir().join("clawgate.json"), limits.to_string()).unwrap();
    let mut program: Program = settings.start().unwrap();
    // One page first: what watching itself takes is no page's.
    let mut pages = vec![page(program.addr()).unwrap()];
    // What changed before anybody looked is not told.
    let end = Instant::now() + BOUND;
    while watches(program.pid()) < WATCHES_MAX {
        assert!(Instant::now() < end, "only {} folders are watched", watches(program.pid()));
        std::thread::sleep(Duration::from_millis(20));
    }
    one_word_for_a_burst(&canvas, &mut pages);
    let before = settled(program.pid(), BOUND).unwrap();
    pages.extend((1..PAGES).map(|_| page(program.addr()).unwrap()));
    let after = settled(program.pid(), BOUND).unwrap();
    let each = after.resident_bytes.saturating_sub(before.resident_bytes) / (PAGES as u64 - 1);
    println!("{runtime}: {each} bytes a page, {} watches", watches(program.pid()));
    assert!(each <= page_bytes_max(runtime), "{each} bytes a page");
    assert_eq!(watches(program.pid()), WATCHES_MAX, "no more than the bound, however many pages");

    one_word_for_a_burst(&canvas, &mut pages);
    pages.extend((PAGES..PAGES_MAX).map(|_| page(program.addr()).unwrap()));
    let refusal = page(program.addr()).unwrap_err();
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("limits.reloadSocketsMax"), "{refusal}");
    drop(pages);
    program.stop().unwrap();
}

/// Somebody writes many files in a moment, and every page is told once. On a busy machine a moment may be cut in two: then
/// pages are told of both, and it is tried again.
fn one_word_for_a_burst(canvas: &Path, pages: &mut [TcpStream]) {
    for attempt in 0..5 {
        for file in 0..FILES_IN_EACH {
            fs::write(canvas.join(format!("f0/{file}.txt")), attempt.to_string()).unwrap();
            fs::write(canvas.join(format!("{file}.txt")), attempt.to_string()).unwrap();
        }
        if words(pages).iter().all(|count| *count == 1) {
            return;
        }
    }
    panic!("never one word for a burst");
}

/// How often each page is told, until nothing more comes.
fn words(pages: &mut [TcpStream]) -> Vec<usize> {
    let mut frame = [0; RELOAD.len()];
    for page in pages.iter_mut() {
        page.set_read_timeout(Some(BOUND)).unwrap();
        page.read_exact(&mut frame).unwrap();
        assert_eq!(frame, RELOAD);
    }
    // Several times as long as changes take to come to rest.
    std::thread::sleep(Duration::from_secs(1));
    let more = |page: &mut TcpStream| {
        page.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut count = 1;
        loop {
            match page.read_exact(&mut frame) {
                Ok(()) => count += 1,
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return count;
                }
                Err(why) => panic!("{why}"),
            }
        }
    };
    pages.iter_mut().map(more).collect()
}

/// Opens the socket of a page, or gives the answer that was none.
fn page(addr: SocketAddr) -> Result<TcpStream, String> {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(BOUND)).unwrap();
    let head = format!(
        "GET /__openclaw__/ws HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "it ended: {}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    if answer.starts_with(b"HTTP/1.1 101 ") {
        return Ok(socket);
    }
    socket.read_to_end(&mut answer).unwrap();
    Err(String::from_utf8(answer).unwrap())
}

/// Folders that the kernel watches for a process.
fn watches(pid: u32) -> usize {
    let kept = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = kept.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    texts.map(|text| text.lines().filter(|line| line.starts_with("inotify wd:")).count()).sum()
}
