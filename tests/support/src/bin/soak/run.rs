//! The order of things at each gateway: everybody in once, rounds of coming and going with a pause after each, and then
//! nothing at all.

use crate::comers::{CREST, asker, comer, crest, glutton, node, pair};
use crate::ground::{Ground, NODES, Outcome};
use crate::options::Options;
use crate::standing::Standing;
use crate::strangers::{half_open, quitter, stalled, stranger};
use crate::web::{CHANGING, FILES, browser, pages};
use clawgate_support::usage::{Usage, descriptors, raise_descriptor_limit, settled, usage};
use clawgate_support::{Program, Settings, Stillness};
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A gateway of the soak.
#[derive(Clone, Copy, Debug)]
struct Subject {
    name: &'static str,
    runtime: &'static str,
    is_sealed: bool,
}

const SUBJECTS: &[Subject] = &[
    Subject { name: "std, clear", runtime: "std", is_sealed: false },
    Subject { name: "smol, clear", runtime: "smol", is_sealed: false },
    #[cfg(feature = "tls")]
    Subject { name: "std, tls", runtime: "std", is_sealed: true },
    #[cfg(feature = "tls")]
    Subject { name: "smol, tls", runtime: "smol", is_sealed: true },
];

/// One who comes, and how many of them there are at each gateway.
type Actor = fn(&Ground, usize, Instant) -> Outcome;
const ACTORS: [(&str, Actor, usize); 10] = [
    ("comer", comer, 4),
    ("asker", asker, 2),
    ("node", node, NODES),
    ("pair", pair, 1),
    ("glutton", glutton, 1),
    ("stranger", stranger, 2),
    ("half-open", half_open, 1),
    ("stalled", stalled, 1),
    ("quitter", quitter, 1),
    ("browser", browser, 2),
];

pub(crate) fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let limit = raise_descriptor_limit(DESCRIPTORS);
    if limit < DESCRIPTORS {
        eprintln!("only {limit} descriptors are allowed; {DESCRIPTORS} are wanted");
    }
    let is_wanted =
        |subject: &&Subject| options.only.as_ref().is_none_or(|word| subject.name.contains(word.as_str()));
    let subjects: Vec<&Subject> = SUBJECTS.iter().filter(is_wanted).collect();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let soaks: Vec<_> =
            subjects.iter().map(|subject| scope.spawn(|| told(subject, soak(subject, &options)))).collect();
        let outcomes = soaks.into_iter().map(|soak| soak.join().unwrap_or(Err("it panicked".to_owned())));
        let named = outcomes.zip(&subjects);
        named.filter_map(|(outcome, subject)| Some(format!("{}: {}", subject.name, outcome.err()?))).collect()
    });
    for failure in &failures {
        println!("FAILED {}", failure.lines().next().unwrap_or_default());
    }
    if subjects.is_empty() {
        eprintln!("no gateway has that name");
        return ExitCode::from(2);
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says at once what went wrong: the others go on for minutes.
fn told(subject: &Subject, outcome: Outcome) -> Outcome {
    if let Err(why) = &outcome {
        say(subject, why);
    }
    outcome
}

fn say(subject: &Subject, what: impl Display) {
    println!("{:<11}  {what}", subject.name);
}

fn soak(subject: &Subject, options: &Options) -> Outcome {
    let settings = settings(subject, options)?;
    let mut program = settings.start()?;
    let outcome = serve(subject, options, &program);
    if program.has_ended() {
        return Err(format!("the gateway has ended:\n{}", tail(&program.output())));
    }
    let ending = program.stop()?;
    let said = program.output();
    outcome.map_err(|why| format!("{why}\nthe gateway's last words:\n{}", tail(&said)))?;
    if !ending.success() {
        return Err(format!("the gateway ended with {ending}:\n{}", tail(&said)));
    }
    match said.lines().find(|line| line.contains(" error ") || line.contains("panicked")) {
        None => Ok(()),
        Some(line) => Err(format!("the gateway said: {line}")),
    }
}

/// As people run it: the log level of tests would measure the log.
fn settings(subject: &Subject, options: &Options) -> Outcome<Settings> {
    let settings = Settings::new(&options.program, subject.runtime).env("OPENCLAW_LOG_LEVEL", "info");
    let failed = |why: std::io::Error| why.to_string();
    let canvas = settings.state_dir().join("canvas");
    std::fs::create_dir_all(&canvas).map_err(failed)?;
    for (name, bytes) in FILES {
        std::fs::write(canvas.join(name), "x".repeat(bytes)).map_err(failed)?;
    }
    std::fs::write(canvas.join(CHANGING), "0").map_err(failed)?;
    if subject.is_sealed { sealed(settings) } else { Ok(settings) }
}

/// With the certificate that our clients trust.
#[cfg(feature = "tls")]
fn sealed(settings: Settings) -> Outcome<Settings> {
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |why: std::io::Error| why.to_string();
    let paths = ["certificate.pem", "key.pem"].map(|name| settings.state_dir().join(name));
    for (path, text) in paths.iter().zip(clawgate_support::sealed::pem()) {
        std::fs::write(path, text).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    let text = std::fs::read_to_string(settings.config_path()).map_err(failed)?;
    let mut config: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    config["gateway"]["tls"] = json!({ "enabled": true, "certPath": paths[0], "keyPath": paths[1] });
    Ok(settings.with_config(&config))
}

/// Nobody is asked to be sealed here.
#[cfg(not(feature = "tls"))]
fn sealed(settings: Settings) -> Outcome<Settings> {
    Ok(settings)
}

fn serve(subject: &Subject, options: &Options, program: &Program) -> Outcome {
    let ground = Arc::new(Ground::new(program, subject.is_sealed));
    ground.settle()?;
    let standing = Standing::attach(&ground)?;
    let before = Level::read(program)?;
    say(subject, format!("at the start: {before}"));
    let (rounds, length) = options.rounds();
    let mut resident = Vec::new();
    // What the crowd needs once belongs to the first minute.
    drop(crest(&ground)?);
    for round in 1..=rounds {
        come_and_go(&ground, Instant::now() + length)?;
        let clients = crest(&ground)?;
        let crowded = Level::read(program)?;
        drop(clients);
        resident.push(crowded.usage.resident_bytes);
        let quiet = Level::quiet(program, &before)?;
        let megabytes = crowded.usage.resident_bytes as f64 / 1e6;
        say(
            subject,
            format!(
                "round {round}: {megabytes:.2} MB resident with {CREST} clients, then {quiet}; {}",
                ground.tally.take()
            ),
        );
    }
    let percent = growth_percent(&resident);
    say(
        subject,
        format!(
            "resident memory at the end {percent:+.1} % of that after the first round (at most +{GROWTH_PERCENT_MAX} %)"
        ),
    );
    let idle = be_idle(subject, options, program, &ground);
    standing.leave()?;
    idle?;
    if percent > GROWTH_PERCENT_MAX {
        return Err(format!("resident memory grew by {percent:.1} %: {resident:?}"));
    }
    Ok(())
}

/// From the first reading to the lowest of the last three: a megabyte that a queue had, and that the C library gives back in
/// one round and not in another, is no growth; what grows is in all of them.
fn growth_percent(resident: &[u64]) -> f64 {
    let last = resident.get(resident.len().saturating_sub(3).max(1)..).unwrap_or_default();
    match (resident.first(), last.iter().min()) {
        (Some(&first), Some(&end)) => 100.0 * end as f64 / first as f64 - 100.0,
        (None, _) | (_, None) => 0.0,
    }
}

/// Everybody at once, until then.
fn come_and_go(ground: &Ground, until: Instant) -> Outcome {
    std::thread::scope(|scope| {
        let start = |(name, actor, count): (&'static str, Actor, usize)| {
            (0..count).map(move |number| (name, scope.spawn(move || actor(ground, number, until))))
        };
        // One thread changes files: two would hear of each other's changes.
        let all = ACTORS.into_iter().chain([("page", pages as Actor, 1)]);
        let threads: Vec<_> = all.flat_map(start).collect();
        let ends = threads.into_iter().map(|(name, thread)| (name, thread.join()));
        let failed = ends.filter_map(|(name, end)| match end {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(format!("{name}: {why}")),
            Err(_) => Some(format!("{name}: it panicked")),
        });
        let failed: Vec<String> = failed.collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
    })
}

/// What a gateway holds at one moment.
#[derive(Clone, Copy, Debug)]
struct Level {
    usage: Usage,
    descriptors: usize,
}

impl Level {
    /// Now, as soon as it stays the same.
    fn read(program: &Program) -> Outcome<Self> {
        let failed = |why| format!("the gateway cannot be looked at: {why}");
        let usage = settled(program.pid(), SETTLE).map_err(failed)?;
        Ok(Self { usage, descriptors: descriptors(program.pid()).map_err(failed)? })
    }

    /// Once everybody has gone: no more descriptors and threads than before they came.
    fn quiet(program: &Program, before: &Self) -> Outcome<Self> {
        let end = Instant::now() + BACK;
        loop {
            let failed = |why| format!("the gateway cannot be looked at: {why}");
            let threads = usage(program.pid()).map_err(failed)?.threads;
            let open = descriptors(program.pid()).map_err(failed)?;
            if threads <= before.usage.threads && open <= before.descriptors {
                return Self::read(program);
            }
            if Instant::now() > end {
                return Err(format!(
                    "{open} descriptors and {threads} threads are left; before there were {before}"
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { usage, descriptors } = self;
        let megabytes = usage.resident_bytes as f64 / 1e6;
        write!(f, "{megabytes:.2} MB resident, {descriptors} descriptors, {} threads", usage.threads)
    }
}

/// Nothing happens, with a page and clients there: nothing is written.
fn be_idle(subject: &Subject, options: &Options, program: &Program, ground: &Ground) -> Outcome {
    let page = if subject.is_sealed { None } else { Some(Standing::page(ground)?) };
    // What the page's coming led to.
    std::thread::sleep(COMES);
    let failed = |why| format!("the gateway cannot be looked at: {why}");
    let folder = program.settings().temporary_dir();
    let still = Stillness::begin(program.pid(), folder).map_err(failed)?;
    std::thread::sleep(options.idle);
    let stirred = still.end().map_err(failed)?;
    page.map_or(Ok(()), Standing::leave)?;
    say(
        subject,
        format!(
            "idle for {} s: {} bytes to a disk, {} files changed, {} bytes to anything else",
            options.idle.as_secs(),
            stirred.disk_bytes,
            stirred.changed.len(),
            stirred.any_bytes
        ),
    );
    if stirred.disk_bytes > 0 || !stirred.changed.is_empty() {
        return Err(format!("something was written while nothing happened: {stirred:?}"));
    }
    Ok(())
}

/// The last lines of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// By how much memory may be above that after the first round.
const GROWTH_PERCENT_MAX: f64 = 5.0;
/// Two ends of everything at four gateways.
const DESCRIPTORS: u64 = 4_096;
/// Longest wait for memory to stay the same.
const SETTLE: Duration = Duration::from_secs(15);
/// Longest wait for those who have gone to be noticed: longer than any timeout of a handshake.
const BACK: Duration = Duration::from_secs(60);
/// The gateway's own threads that have nothing to do end within this.
const COMES: Duration = Duration::from_secs(3);
const TAIL_LINES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_the_end_shows() {
        let is = |resident: &[u64], percent: f64| (growth_percent(resident) - percent).abs() < 0.01;
        assert!(is(&[100, 120], 20.0));
        assert!(is(&[100, 150, 100, 120, 110, 104], 4.0), "the lowest of three");
        assert!(is(&[100, 101, 102, 103, 104, 105, 106, 107, 108, 109], 7.0), "what grows is seen");
    }
}
