//! Runs the core.
