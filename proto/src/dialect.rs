//! The two shapes of one protocol. Authority is decided elsewhere, once, by protocol 4's rules; this file only
//! changes shapes, and [`Exceptions`] holds the few places where the dialects behave differently.

pub(crate) mod approvals;
pub(crate) mod config;
mod devices;
mod errors;
mod events;
mod health;
mod hello;
pub(crate) mod invoke;
pub(crate) mod lists;
pub(crate) mod nodes;
mod presence;
pub(crate) mod surfaces;

pub(crate) use devices::{approved, device_list, pair_resolved, rotated, setup_code};
pub(crate) use errors::{ALLOWED_ORIGINS, connect_error, request_error};
pub(crate) use events::{has_voice_routing, own_events, shutdown};
pub(crate) use health::{event_loop, health, status, status_with};
pub use hello::hello_ok;
pub(crate) use presence::presence_head;

/// The shapes a connection understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Protocol 3, as in release 2026.3.13.
    V3,
    /// Protocol 4.
    V4,
}

/// Both, for tables.
pub const BOTH: &[Dialect] = &[Dialect::V3, Dialect::V4];

/// Where a dialect behaves differently, rather than only looking differently. One row a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceptions {
    /// A `health` event follows every hello-ok (protocol 3 clients show it as their first state).
    pub health_after_hello: bool,
    /// A `presence` event follows every hello-ok.
    pub presence_after_hello: bool,
    /// The approval of a node's device covers what the node declares for the first time; what comes later asks.
    pub pairing_covers_surface: bool,
    /// Control-plane writes that share one budget; each other one has its own (see [`crate::limits::Limits`]).
    pub shared_writes: &'static [&'static str],
    /// How many of those a window takes.
    pub shared_writes_max: u32,
    /// Whoever may decide a command's approval is asked, the asker too (protocol 3 has no word by which a client says
    /// that it shows such requests to people).
    pub asks_every_approver: bool,
    /// Operators are told where the canvas is, without a capability of their own; `plugin.surface.refresh` is not theirs.
    pub plain_surface_for_operators: bool,
    /// The connection that asked for a command may allow it (protocol 3, which asks it too, has clients that are alone).
    pub asker_allows: bool,
}

impl Dialect {
    /// Chooses by the range a client sent (spec: v4 section 16); `None` is a protocol mismatch.
    pub fn choose(min: u64, max: u64) -> Option<Self> {
        if max >= 4 && min <= 4 {
            Some(Self::V4)
        } else if max >= 3 && min <= 3 {
            Some(Self::V3)
        } else {
            None
        }
    }

    /// `hello-ok.protocol`.
    pub fn protocol(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// Index into per-dialect arrays.
    pub fn index(self) -> usize {
        match self {
            Self::V3 => 0,
            Self::V4 => 1,
        }
    }

    /// The table of exceptions.
    pub fn exceptions(self) -> Exceptions {
        match self {
            Self::V3 => Exceptions {
                health_after_hello: true,
                presence_after_hello: false,
                pairing_covers_surface: true,
                shared_writes: &["config.apply", "config.patch", "update.run"],
                shared_writes_max: 3,
                asks_every_approver: true,
                plain_surface_for_operators: true,
                asker_allows: true,
            },
            Self::V4 => Exceptions {
                health_after_hello: false,
                presence_after_hello: true,
                pairing_covers_surface: false,
                shared_writes: &[],
                shared_writes_max: 0,
                asks_every_approver: false,
                plain_surface_for_operators: false,
                asker_allows: false,
            },
        }
    }
}
