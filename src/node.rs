//! The node host: this machine as a node of a gateway, which runs commands on it that a person allowed
//! (`clawgate node run`).
//!
//! What is decided is pure and tested in tables: what an invocation asks for (`invoke`), what a command line is
//! (`argv`), what an approval was given for (`plan`), whether it may run (`policy`), with which variables (`env`), and
//! when a lost gateway is tried again (`fate`). Around it is ordinary blocking code: one thread for the connection
//! (`link`), one for each invocation (`desk`), and the processes they start (`run`).
//!
//! It lives here and not in the core: its decisions are about files, processes and people of this machine, and an
//! embedder's node offers something else.

pub mod approvals;
pub mod argv;
pub mod desk;
pub mod device;
pub mod env;
pub mod fate;
pub mod files;
pub mod host;
pub mod invoke;
pub mod jobs;
pub mod plan;
pub mod policy;
pub mod run;
pub mod state;
pub mod wake;

/// Invocations that run at once; one more is told to come again.
pub const INVOKES_MAX: usize = 16;
/// Bytes of output that a command may give, both streams together; the rest is read and dropped.
pub const OUTPUT_BYTES_MAX: usize = 200_000;
/// Characters of output in an `exec.finished` event, from its end.
pub const EVENT_OUTPUT_CHARS_MAX: usize = 20_000;
/// How long a command may run that names no limit, milliseconds.
pub const RUN_MS_DEFAULT: u64 = 30 * 60 * 1_000;
/// How long a command may run, whatever it names, milliseconds.
pub const RUN_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Arguments of a command.
pub const ARGS_MAX: usize = 1_024;
/// Variables that a caller may set for a command.
pub const VARIABLES_MAX: usize = 64;
/// Names in one `system.which`.
pub const BINS_MAX: usize = 256;
/// Folders that one `fs.listDir` tells of.
pub const ENTRIES_MAX: usize = 2_000;
/// Bytes of a script that an approval can be bound to.
pub const SCRIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;
