//! A soak: gateways on both drivers, in the clear and by TLS, under clients that come, work, misbehave and go, for ten
//! minutes; then clients that do nothing. `.ci/soak` builds what it needs and runs it.
//!
//! Every minute ends with the same crowd, in whose presence the resident memory is read, and with a pause in which only a few
//! clients are left. In one of the last three minutes memory must be at most 5 % above what it was after the first; in each pause
//! descriptors and threads must be back to what they were before anybody came; a client that behaves must never be told
//! anything but what it asked for; and while nothing happens nothing may be written. Times are not judged, so a busy
//! machine makes it do less, not fail.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod comers;
#[cfg(target_os = "linux")]
mod ground;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod standing;
#[cfg(target_os = "linux")]
mod strangers;
#[cfg(target_os = "linux")]
mod web;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("the soak reads /proc and binds to all of 127.0.0.0/8: it runs on Linux only");
    std::process::ExitCode::from(2)
}
