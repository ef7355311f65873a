//! The bodies of the fuzz targets: ordinary functions, so that a normal test can replay the seeds without libFuzzer.
//!
//! Each takes any bytes, drives the public interface of the core with them, and panics when something that must
//! hold does not. `fuzz/fuzz_targets/NAME.rs` and `tests/corpora.rs` call them; seeds lie in `fuzz/corpus/NAME/`.

mod config;
mod dns;
mod files;
mod gateway_ops;
mod http;
mod model;
mod params;
mod socket;
mod source;
mod ws;

pub use config::config_json5;
pub use dns::dns;
pub use files::file_targets;
pub use gateway_ops::gateway_ops;
pub use http::{http_body, http_head};
pub use params::connect_params;
pub use socket::chunking;
pub use ws::ws_frames;

/// The body of a fuzz target.
pub type Body = fn(&[u8]);

/// Every fuzz target: its name, which is that of its corpus too, and its body.
pub const TARGETS: &[(&str, Body)] = &[
    ("http_head", http_head),
    ("http_body", http_body),
    ("ws_frames", ws_frames),
    ("connect_params", connect_params),
    ("chunking", chunking),
    ("gateway_ops", gateway_ops),
    ("config_json5", config_json5),
    ("file_targets", file_targets),
    ("dns", dns),
];
