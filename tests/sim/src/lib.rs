//! The simulator: one seed drives many clients against real connections and one gateway, in memory and in virtual
//! time, with everything that goes wrong on a network, a disk and a clock.
//!
//! A [`Plan`] says what happens, [`play`] makes it happen, and a reference model watches every fact and every order.
//! Equal plans give equal transcripts, and at another start time the same transcript relative to it. A failing plan is
//! made as short as it gets by [`shortest`].
#![forbid(unsafe_code)]

mod engine;
mod model;
mod peer;
pub mod plan;
mod shrink;
pub mod transcript;

use clawgate_proto::Wall;
pub use engine::{Look, Report, play};
pub use plan::Plan;
pub use shrink::{Failure, shortest, try_play};

/// When a run starts, unless it is told otherwise: a day in 2027.
pub const START: Wall = Wall(1_800_000_000_000);
