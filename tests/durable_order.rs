//! The system calls of the program while it promises something: the new documents are written, fsynced and
//! renamed, their folder is fsynced, and only then do the first bytes of the answer go into the client's socket.
//! Seen with strace, which is attached while the program runs.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::client::{ANSWER_BOUND, Credential, device, fresh_key};
use clawgate_support::{Program, TempDir, TestClient, temp_dir};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A tracer at work. Dropping it ends it.
struct Strace {
    child: Child,
    output: PathBuf,
    _folder: TempDir,
}

/// One finished system call.
#[derive(Debug)]
struct Call {
    name: String,
    /// Arguments as strace shows them, without the bytes of buffers.
    text: String,
    result: i64,
    /// Lines of the trace on which it began and ended: calls of several threads overlap.
    began: usize,
    ended: usize,
}

impl Strace {
    /// Attaches to a process and all its threads; `None` when this machine does not let us.
    fn attach(pid: u32) -> Option<Self> {
        let folder = temp_dir();
        let output = folder.path().join("trace");
        let mut child = match Command::new("strace")
            // Paths and addresses beside descriptors (-yy), and no byte of any buffer (-s 0): they are secrets.
            .args(["-f", "-yy", "-s", "0", "-e", TRACED, "-o"])
            .arg(&output)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(why) => {
                println!("SKIPPED: the order of system calls: strace cannot be started: {why}");
                return None;
            }
        };
        let stderr = child.stderr.take().unwrap();
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let strace = Self { child, output, _folder: folder };
        match heard.recv_timeout(ANSWER_BOUND) {
            Ok(line) if line.contains("attached") => {
                // It says so before it has reached every thread, and what an unreached one does is not seen.
                let until = Instant::now() + ANSWER_BOUND;
                while !is_traced(pid) {
                    assert!(Instant::now() < until, "strace does not reach every thread of {pid}");
                    std::thread::sleep(Duration::from_millis(10));
                }
                Some(strace)
            }
            Ok(line) => {
                println!("SKIPPED: the order of system calls: {line}");
                None
            }
            Err(_) => {
                println!("SKIPPED: the order of system calls: strace says nothing");
                None
            }
        }
    }

    /// Detaches once the tracer has seen the answer leave, and gives every call that was finished. The client may
    /// have the answer in hand while the call that carried it has not returned.
    fn finish(mut self, client: u16) -> Vec<Call> {
        let calls = |output: &Path| parse(&std::fs::read_to_string(output).unwrap());
        let until = Instant::now() + ANSWER_BOUND;
        while !has_answer(&calls(&self.output), client) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        calls(&self.output)
    }
}

/// Whether something went to the client behind the last fsync of the folder.
fn has_answer(calls: &[Call], client: u16) -> bool {
    let synced = calls.iter().filter(|call| call.is_sync_of_folder()).map(|call| call.ended).max();
    calls.iter().any(|call| call.sends_to(client) && synced.is_some_and(|synced| call.began > synced))
}

impl Call {
    fn is_sync_of_folder(&self) -> bool {
        self.name == "fsync" && self.text.trim_end().trim_end_matches(')').ends_with("/devices>")
    }

    fn is_about(&self, client: u16) -> bool {
        self.text.contains(&format!("->127.0.0.1:{client}]"))
    }

    fn sends_to(&self, client: u16) -> bool {
        ["write", "writev", "sendto", "sendmsg"].contains(&&*self.name) && self.is_about(client)
    }
}

/// Whether every thread of a process has a tracer.
fn is_traced(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map_while(Result::ok).all(|task| {
        // A thread that ended meanwhile has no status left.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { return true };
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
    })
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads `strace -f -o`: `PID name(args) = result`, where calls that overlap are cut in two.
fn parse(trace: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            open.insert(pid, (number, start.trim_end().to_owned()));
            continue;
        }
        let (began, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((began, start)) = open.remove(pid) else { continue };
                let Some((_, end)) = resumed.split_once("resumed>") else { continue };
                (began, format!("{start}{end}"))
            }
            None => (number, rest.to_owned()),
        };
        let Some((call, result)) = whole.rsplit_once(" = ") else { continue };
        let Some((name, text)) = call.split_once('(') else { continue };
        let result = result.split([' ', '<']).next().and_then(|text| text.parse().ok());
        calls.push(Call {
            name: name.to_owned(),
            text: text.to_owned(),
            result: result.unwrap_or(-1),
            began,
            ended: number,
        });
    }
    calls
}

/// The steps of one durable write of `devices/paired.json`, each after the one before, and then the answer.
fn assert_order(calls: &[Call], client: u16) {
    let shown = || {
        let lines =
            calls.iter().map(|call| format!("{}..{} {}({}", call.began, call.ended, call.name, call.text));
        lines.collect::<Vec<_>>().join("\n")
    };
    let first = |after: usize, what: &str, is_it: &dyn Fn(&Call) -> bool| -> &Call {
        let found = calls.iter().find(|call| call.began >= after && call.result >= 0 && is_it(call));
        found.unwrap_or_else(|| panic!("no {what} after line {after} of\n{}", shown()))
    };
    let temporary = |call: &Call| call.text.contains("/devices/paired.json.cg");
    let create = first(0, "new temporary file", &|call| call.name == "openat" && temporary(call));
    let write = first(create.ended, "write", &|call| call.name == "write" && temporary(call));
    let sync = first(write.ended, "fsync of the file", &|call| call.name == "fsync" && temporary(call));
    let rename = first(sync.ended, "rename", &|call| {
        call.name.starts_with("rename") && temporary(call) && call.text.contains("/devices/paired.json\"")
    });
    let folder = first(rename.ended, "fsync of the folder", &Call::is_sync_of_folder);
    let sends = |call: &Call| call.sends_to(client);
    let reads = |call: &Call| {
        ["read", "readv", "recvfrom", "recvmsg"].contains(&&*call.name) && call.is_about(client)
    };
    let asked = calls
        .iter()
        .filter(|call| reads(call) && call.result > 0 && call.ended <= create.began)
        .map(|call| call.ended)
        .max()
        // A read that was under way when the tracer came has no beginning: then everything sent counts.
        .unwrap_or(0);
    // A send that began before the request was read (the challenge, still on its way) cannot answer it.
    let early = calls.iter().find(|call| sends(call) && call.began > asked && call.began < folder.ended);
    assert!(early.is_none(), "bytes went out before the change was durable: {early:?} in\n{}", shown());
    let answer = first(folder.ended, "answer", &sends);
    assert!(answer.result > 0, "the answer had no bytes");
}

/// One promise in each of its forms: a device is paired, and a token is rotated.
fn promises_in_order(runtime: &str) {
    let program = Program::start(env!("CARGO_BIN_EXE_clawgate"), runtime);
    let (addr, key) = (program.addr(), fresh_key());
    let token = program.token();

    let Some(strace) = Strace::attach(program.pid()) else { return };
    let mut client = TestClient::connect(addr, device(addr, &key, Credential::Shared(&token))).unwrap();
    let port = client.stream().local_addr().unwrap().port();
    assert!(client.device_token().is_some());
    let calls = strace.finish(port);
    assert_order(&calls, port);

    let Some(strace) = Strace::attach(program.pid()) else { panic!("it could be attached a moment ago") };
    let params = json!({ "deviceId": key.device_id(), "role": "operator" });
    client.call("device.token.rotate", params).unwrap();
    let calls = strace.finish(port);
    assert_order(&calls, port);
    println!("{} calls of a rotation on {runtime} are in order", calls.len());
}

#[cfg(feature = "std")]
#[test]
fn a_promise_leaves_after_the_folder_is_synced_on_std() {
    promises_in_order("std");
}

#[cfg(feature = "smol")]
#[test]
fn a_promise_leaves_after_the_folder_is_synced_on_smol() {
    promises_in_order("smol");
}

#[test]
fn overlapping_calls_are_put_together() {
    let calls = parse(
        "7 fsync(3</d/devices> <unfinished ...>\n\
         8  recvfrom(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"\"..., 64, 0, NULL, NULL) = 9\n\
         7 <... fsync resumed>) = 0\n\
         8 write(5<x>, \"\"..., 3) = -1 EAGAIN (Resource temporarily unavailable)\n\
         9 openat(AT_FDCWD</>, \"/d/x\", O_RDONLY) = 4</d/x>\n",
    );
    let seen: Vec<_> = calls.iter().map(|call| (&*call.name, call.result, call.began, call.ended)).collect();
    let want = [("recvfrom", 9, 1, 1), ("fsync", 0, 0, 2), ("write", -1, 3, 3), ("openat", 4, 4, 4)];
    assert_eq!(seen, want);
}

/// What a durable write and an answer are made of, on any kernel.
const TRACED: &str = "trace=openat,read,readv,write,writev,fsync,fdatasync,rename,renameat,renameat2,\
                      recvfrom,recvmsg,sendto,sendmsg";
