//! `clawgate-sim --seed N --steps N [--start-wall MS] [--print] [--reached]`: one run, and the hash of its transcript.
//!
//! Its first line is `begin`. From there on it reads no clock, no entropy and no file, and opens no socket: it only
//! writes what it has to say.
#![forbid(unsafe_code)]

use clawgate_proto::Wall;
use clawgate_sim::{Plan, START, play, shortest, try_play};
use std::process::ExitCode;

struct Arguments {
    seed: u64,
    steps: usize,
    start: Wall,
    prints: bool,
    reached: bool,
    shrinks: bool,
}

fn main() -> ExitCode {
    println!("begin");
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!(
                "{why}\nusage: clawgate-sim --seed N --steps N [--start-wall MS] [--print] [--reached] [--shrink]"
            );
            return ExitCode::from(2);
        }
    };
    let plan = Plan::random(arguments.seed, arguments.steps, arguments.start);
    if arguments.shrinks {
        return match try_play(&plan, false) {
            Ok(_) => ExitCode::SUCCESS,
            Err(failure) => {
                println!("{}", shortest(failure));
                ExitCode::FAILURE
            }
        };
    }
    let report = play(&plan, arguments.prints);
    for line in &report.lines {
        println!("{line}");
    }
    for (what, count) in report.reached.iter().filter(|_| arguments.reached) {
        println!("reached {count:>6} {what}");
    }
    let end = clawgate_sim::transcript::show(report.ended_at);
    println!("end {end}, {} events, {} lines", report.events, report.line_count);
    println!("transcript {}", report.hashes.transcript);
    println!("wire {}", report.hashes.wire);
    match report.violation {
        None => ExitCode::SUCCESS,
        Some(what) => {
            println!("seed {}: {what}", arguments.seed);
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments =
        Arguments { seed: 1, steps: 200, start: START, prints: false, reached: false, shrinks: false };
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, String> {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            value.parse().map_err(|_| format!("{word} needs a number, not {value}"))
        };
        match word.as_str() {
            "--seed" => arguments.seed = number()?,
            "--steps" => arguments.steps = number()? as usize,
            "--start-wall" => arguments.start = Wall(number()?),
            "--print" => arguments.prints = true,
            "--reached" => arguments.reached = true,
            "--shrink" => arguments.shrinks = true,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(arguments)
}
