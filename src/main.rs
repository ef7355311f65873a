//! Starts clawgate.
fn main() {}
