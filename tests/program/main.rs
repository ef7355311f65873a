//! The built program from outside: what it writes, prints and answers the shell, on a first start, on a refused
//! one, as a client, and when it is told to stop.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod approvals;
mod canvas;
mod commands;
mod config;
mod credentials;
mod daemon;
mod dashboard;
mod devices;
mod doctor;
mod first_run;
mod logs;
mod probe;
mod pty;
mod qr;
mod restarts;
mod running;
mod serve;
mod settings;
mod setup;
mod shell;
#[cfg(feature = "tls")]
mod tls;
mod tui;
mod writers;

/// The drivers that were compiled in.
const RUNTIMES: &[&str] = &[
    #[cfg(feature = "std")]
    "std",
    #[cfg(feature = "smol")]
    "smol",
];
