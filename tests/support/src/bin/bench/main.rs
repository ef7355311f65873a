//! Measures clawgate on this machine, beside its budgets: `cargo run --release -p clawgate-support --bin bench`.
//!
//! Where a time is meant, the budget is a ratio to something bare that is measured in the same run, turn by turn
//! with the gateway; so a busy machine makes the numbers noisy, not wrong. Everything is bounded, servers listen on
//! loopback only, and every child is ended by its own handle.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod fanout;
#[cfg(target_os = "linux")]
mod flavours;
#[cfg(target_os = "linux")]
mod footprint;
#[cfg(target_os = "linux")]
mod handshake;
#[cfg(target_os = "linux")]
mod invoke;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod pin;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod requests;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod stats;
#[cfg(target_os = "linux")]
mod swarm;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("the bench reads /proc and binds to all of 127.0.0.0/8: it runs on Linux only");
    std::process::ExitCode::from(2)
}
