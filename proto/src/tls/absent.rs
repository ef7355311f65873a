//! What stands for TLS in a build without it: types that have no value.

/// Cannot be made: this build has no TLS.
#[derive(Clone, Debug)]
pub enum Acceptor {}

/// Cannot be made: this build has no TLS.
#[derive(Clone, Debug)]
pub enum Connector {}
