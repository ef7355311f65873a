//! What clawgate's tests share: a blocking client and a bare one, peers that mean no good, a host in memory, the
//! built program as a child process and what it uses, and the book of secrets that no output may contain.
//!
//! Waits are bounded so that a broken gateway fails a test instead of hanging it; no bound is an assertion about
//! speed. A helper that finds the test itself impossible (no free port, no temporary folder) panics.
#![forbid(unsafe_code)]

pub mod client;
pub mod echo;
pub mod exposition;
pub mod frame;
pub mod fuzz_targets;
pub mod host;
pub mod ledger;
pub mod loopback;
pub mod needles;
pub mod net;
pub mod program;
pub mod scratch;
#[cfg(feature = "tls")]
pub mod sealed;
pub mod secrets;
pub mod siege;
pub mod small_disk;
pub mod stage;
pub mod state;
pub mod stillness;
pub mod supervisor;
pub mod systemctl;
pub mod usage;
pub mod wire;
pub mod world;

pub use client::{Refusal, TestClient};
pub use frame::raw_frame;
pub use host::MemoryHost;
pub use ledger::{Change, Ledger};
pub use program::{Program, Settings};
pub use scratch::{TempDir, free_port, temp_dir};
pub use small_disk::SmallDisk;
pub use stage::{Actor, Place, Stage};
pub use stillness::Stillness;
pub use supervisor::Supervisor;
pub use systemctl::FakeSystemctl;
pub use wire::Wire;
pub use world::World;
