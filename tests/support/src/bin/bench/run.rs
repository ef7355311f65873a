//! The order of things: build, then one group of measurements after the other.

use crate::flavours::{self, Flavours};
use crate::footprint;
use crate::options::Options;
use crate::peer::{self, Peer};
use crate::pin::Pinned;
use crate::report::{Line, Report, Unit};
use crate::requests::{self, Exchange};
use crate::stats::median;
use crate::swarm::Swarm;
use crate::{fanout, handshake, invoke};
use clawgate_proto::client::DeviceKey;
use clawgate_support::client::fresh_key;
use clawgate_support::usage::{Usage, raise_descriptor_limit, settled};
use clawgate_support::{Program, Settings, Stillness};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// A program on a driver.
#[derive(Clone, Copy, Debug)]
struct Subject<'paths> {
    name: &'static str,
    exe: &'paths Path,
    runtime: &'static str,
    /// Budgets of this driver, in bytes.
    idle_bytes: f64,
    client_bytes: f64,
    client_aim: &'static str,
}

pub(crate) fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(peer::ROLE) {
        return exit(peer::main().map(|()| true));
    }
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => exit(run(&options)),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn exit(result: io::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::from(2)
        }
    }
}

/// Measures everything that is asked for; whether all budgets are kept.
fn run(options: &Options) -> io::Result<bool> {
    let limit = raise_descriptor_limit(DESCRIPTORS);
    if limit < DESCRIPTORS {
        eprintln!("only {limit} descriptors are allowed; {DESCRIPTORS} are wanted");
    }
    let flavours = match (&options.program, &options.board) {
        (Some(full), Some(board)) => Flavours { full: full.canonicalize()?, board: board.canonicalize()? },
        _ => flavours::build()?,
    };
    let mut report = Report::new();
    let std_budgets = (4e6, 24.0 * 1024.0, "14 KiB");
    let subject = |name, exe, runtime, (idle_bytes, client_bytes, client_aim)| Subject {
        name,
        exe,
        runtime,
        idle_bytes,
        client_bytes,
        client_aim,
    };
    let board = subject(BOARD, flavours.board.as_path(), "std", std_budgets);
    let std = subject("std", flavours.full.as_path(), "std", std_budgets);
    let smol = subject("smol", flavours.full.as_path(), "smol", (5e6, 8.0 * 1024.0, "4 KiB"));
    let peer = Peer::start()?;
    if options.wants("size") {
        sizes(&flavours, &mut report)?;
    }
    let all = [board, std, smol].into_iter().filter(|subject| options.wants_on(subject.name));
    if options.wants("start") {
        for subject in all.clone() {
            start(options, subject, &mut report)?;
        }
    }
    if options.wants("memory") || options.wants("fan-out") {
        for subject in all.clone() {
            memory(options, subject, &peer, &mut report)?;
        }
    }
    // The board flavour's driver is measured as `std`.
    let drivers: Vec<Subject<'_>> = all.filter(|subject| subject.name != board.name).collect();
    for &subject in &drivers {
        if options.wants("requests") {
            requests(options, subject, &mut report)?;
        }
        if options.wants("invoke") {
            invoke(options, subject, &mut report)?;
        }
        if options.wants("handshake") {
            handshakes(options, subject, &mut report)?;
        }
    }
    if options.wants("idle") {
        idle(options, &drivers, &mut report)?;
    }
    drop(peer);
    if options.json {
        println!("{:#}", report.json());
    } else {
        println!("\n{}", report.table());
    }
    Ok(report.passes())
}

fn sizes(flavours: &Flavours, report: &mut Report) -> io::Result<()> {
    eprintln!("size");
    let size = |path: &Path| io::Result::Ok(std::fs::metadata(path)?.len() as f64);
    let board = Line::new("program, stripped", BOARD, size(&flavours.board)?, Unit::Megabytes);
    report.add(board.at_most(2e6));
    let full = Line::new("program, stripped", "both drivers", size(&flavours.full)?, Unit::Megabytes);
    report.add(full.at_most(6e6));
    Ok(())
}

fn start(options: &Options, subject: Subject<'_>, report: &mut Report) -> io::Result<()> {
    eprintln!("start, {}", subject.name);
    let settings = settings(subject);
    let times = footprint::start_times(&settings, subject.runtime, options.pick(15, 5))?;
    let slowest = times.iter().copied().fold(0.0, f64::max);
    report.add(
        Line::new("start to first answer", subject.name, median(&times), Unit::Millis)
            .at_most(20.0)
            .note(format!("median of {}; slowest {slowest:.1} ms", times.len())),
    );
    Ok(())
}

/// Memory idle and with clients, then an event to all of them.
fn memory(options: &Options, subject: Subject<'_>, peer: &Peer, report: &mut Report) -> io::Result<()> {
    eprintln!("memory and fan-out, {}", subject.name);
    let program = program(subject)?;
    let key = fresh_key();
    let found = {
        let before = settled(program.pid(), SETTLE)?;
        report.add(
            Line::new("resident memory, idle", subject.name, before.resident_bytes as f64, Unit::Megabytes)
                .at_most(subject.idle_bytes)
                .note(format!(
                    "{} threads; {:.2} MB of it are pages of files",
                    before.threads,
                    before.file_bytes as f64 / 1e6
                )),
        );
        // Once through every path, so that what is needed once is not counted as a client's.
        drop(client(&program, &key)?);
        footprint::memory(&program, &key, &[100, CLIENTS])?
    };
    let footprint::Memory { idle, with, mut crowd } = found;
    for (clients, usage) in with {
        add_memory(subject, clients, idle, usage, report);
    }
    // The board flavour is the same driver: its memory is what is of interest.
    if subject.name == BOARD {
        return Ok(());
    }
    let found = fanout::measure(&mut crowd, peer, options.pick(30, 5))?;
    report.add(
        Line::new("one event to 1,000 clients", subject.name, found.ratio, Unit::Times).at_most(2.0).note(
            format!(
                "{:.1} ms; 1,000 bare writes of its {} bytes {:.1} ms",
                found.gateway_micros / 1e3,
                found.event_bytes,
                found.bare_micros / 1e3
            ),
        ),
    );
    Ok(())
}

fn add_memory(subject: Subject<'_>, clients: usize, idle: Usage, usage: Usage, report: &mut Report) {
    let each = usage.resident_bytes.saturating_sub(idle.resident_bytes) as f64 / clients as f64;
    let threads = usage.threads.saturating_sub(idle.threads);
    let stacks = if threads == 0 {
        String::new()
    } else {
        format!("; beside it {KERNEL_STACK_KIB} KiB of kernel stack for each of {threads} threads")
    };
    report.add(
        Line::new(format!("resident memory a client, of {clients}"), subject.name, each, Unit::Kibibytes)
            .at_most(subject.client_bytes)
            .note(format!(
                "aim {}; {:.1} MB in all{stacks}",
                subject.client_aim,
                usage.resident_bytes as f64 / 1e6
            )),
    );
}

/// The gateway, the echo and the client share one processor.
fn requests(options: &Options, subject: Subject<'_>, report: &mut Report) -> io::Result<()> {
    eprintln!("requests, {}", subject.name);
    let _pinned = Pinned::here()?;
    let (program, peer) = (program(subject)?, Peer::start()?);
    let key = fresh_key();
    let mut one = client(&program, &key)?;
    let mut many = Swarm::new()?;
    for _ in 0..CONNECTIONS {
        many.add(client(&program, &key)?)?;
    }
    for method in ["last-heartbeat", "status"] {
        let exchange = Exchange::of(method, &mut one)?;
        let sizes = format!("{} bytes asked, {} answered", exchange.request_bytes, exchange.response_bytes);
        let effort = (options.pick(21, 5), options.pick(1_000, 200));
        let found = requests::round_trips(&exchange, &mut one, &peer, program.pid(), effort)?;
        report.add(
            Line::new(format!("round trip of {method}"), subject.name, found.ratio, Unit::Times)
                .at_most(1.5)
                .note(format!(
                    "{:.0} us; echo {:.0} us; processor time {:.2} x; {sizes}",
                    found.gateway, found.echo, found.processor
                )),
        );
        let effort = (options.pick(31, 5), options.pick(20_000, 10_000));
        let found = requests::pipelined(&exchange, &mut many, &peer, program.pid(), effort)?;
        report.add(
            Line::new(
                format!("{method}, pipelined on {CONNECTIONS}"),
                subject.name,
                found.ratio,
                Unit::Times,
            )
            .at_least(0.5)
            .note(format!(
                "{:.0} a second; echo {:.0}; {} on their way on each",
                found.gateway,
                found.echo,
                requests::WINDOW
            )),
        );
    }
    Ok(())
}

/// Operator, gateway, node and back; all, and the echo, share one processor.
fn invoke(options: &Options, subject: Subject<'_>, report: &mut Report) -> io::Result<()> {
    eprintln!("invoke, {}", subject.name);
    let _pinned = Pinned::here()?;
    let (program, peer) = (program(subject)?, Peer::start()?);
    let (key, node_key) = (fresh_key(), fresh_key());
    let operator = client(&program, &key)?;
    let mut pair = invoke::Pair::attach(&program, operator, [&key, &node_key])?;
    let effort = (options.pick(21, 5), options.pick(1_000, 200));
    let found = invoke::round_trips(&mut pair, &peer, program.pid(), effort)?;
    report.add(
        Line::new("round trip of node.invoke", subject.name, found.ratio, Unit::Times).at_most(2.0).note(
            format!(
                "{:.0} us; two trips to the echo {:.0} us; processor time {:.2} x; {} bytes in four messages",
                found.gateway, found.echo, found.processor, pair.bytes
            ),
        ),
    );
    Ok(())
}

fn handshakes(options: &Options, subject: Subject<'_>, report: &mut Report) -> io::Result<()> {
    eprintln!("handshake, {}", subject.name);
    let program = program(subject)?;
    let key = fresh_key();
    drop(client(&program, &key)?);
    let count = options.pick(500, 100);
    let quiet = handshake::measure(&program, &key, count)?;
    report.add(
        Line::new("handshake, p99", subject.name, quiet.p99, Unit::Millis)
            .note(format!("median {:.2} ms; of {}", quiet.median, quiet.count)),
    );
    let found = handshake::besieged(&program, &key, HALF_OPEN, count)?;
    report.add(
        Line::new("handshake under siege, p99", subject.name, found.times.p99, Unit::Millis).at_most(50.0).note(
            format!(
                "median {:.2} ms; of {}; {} half-open sockets to the end, {} requests flooded, a stalled reader",
                found.times.median, found.times.count, found.standing, found.flooded
            ),
        ),
    );
    report.add(Line::new(
        format!("resident memory a half-open socket, of {HALF_OPEN}"),
        subject.name,
        found.half_open_bytes,
        Unit::Kibibytes,
    ));
    if found.standing < HALF_OPEN * 95 / 100 {
        return Err(io::Error::other(format!("the siege broke: {} sockets left", found.standing)));
    }
    Ok(())
}

/// Both at a time, with a few clients each: two ticks and a refresh of the health snapshot fall into it.
fn idle(options: &Options, subjects: &[Subject<'_>], report: &mut Report) -> io::Result<()> {
    let time = Duration::from_secs(options.pick(65, 10));
    eprintln!("idle, {} s", time.as_secs());
    let mut programs = Vec::new();
    let mut crowd = Swarm::new()?;
    for &subject in subjects {
        let program = program(subject)?;
        let key = fresh_key();
        for _ in 0..3 {
            crowd.add(client(&program, &key)?)?;
        }
        programs.push((subject, program));
    }
    crowd.idle(Duration::from_secs(2))?;
    // The state folder, and the log beside it.
    let folder = |program: &Program| program.settings().temporary_dir().to_owned();
    let begin = |(_, program): &(_, Program)| Stillness::begin(program.pid(), &folder(program));
    let begun = programs.iter().map(begin).collect::<io::Result<Vec<_>>>()?;
    crowd.idle(time)?;
    for ((subject, _), begun) in programs.iter().zip(begun) {
        let stirred = begun.end()?;
        let (disk, any, changed) = (stirred.disk_bytes, stirred.any_bytes, stirred.changed.len());
        report.add(
            Line::new("written to disk while idle", subject.name, disk as f64, Unit::Bytes)
                .at_most(0.0)
                .note(format!("in {} s, 3 clients; {any} bytes to anything else", time.as_secs())),
        );
        report.add(
            Line::new("files changed while idle", subject.name, changed as f64, Unit::Count).at_most(0.0),
        );
    }
    Ok(())
}

fn settings(subject: Subject<'_>) -> Settings {
    // As people run it: the log level of tests would measure the log.
    Settings::new(subject.exe, subject.runtime).env("OPENCLAW_LOG_LEVEL", "info")
}

fn program(subject: Subject<'_>) -> io::Result<Program> {
    settings(subject).start().map_err(io::Error::other)
}

fn client(program: &Program, key: &DeviceKey) -> io::Result<clawgate_support::Wire> {
    handshake::client(program, key)
}

const BOARD: &str = "std, board flavour";
/// Two ends of 1,000 clients, 1,000 plain sockets and what the process needs itself.
const DESCRIPTORS: u64 = 8_192;
const CLIENTS: usize = 1_000;
const HALF_OPEN: usize = 1_000;
const CONNECTIONS: usize = 16;
const SETTLE: Duration = Duration::from_secs(15);
/// What Linux gives each thread on 64-bit machines, outside its resident memory.
const KERNEL_STACK_KIB: u64 = 16;
