//! Shapes of params that are only checked (spec: the published protocol 4 schema, and what protocol 3 adds).
//!
//! Params are judged by what either protocol allows.
