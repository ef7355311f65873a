//! The two shapes of one protocol. Authority is decided elsewhere, once; this file only changes shapes, and
//! [`EXCEPTIONS`] lists the few places where the dialects behave differently.

/// The shapes a connection understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Protocol 3, as in release 2026.3.13.
    V3,
    /// Protocol 4.
    V4,
}
