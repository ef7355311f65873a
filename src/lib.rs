//! The clawgate program: command line, configuration, state on disk, and the choice of a driver. It knows no
//! protocol; that is `clawgate_proto`'s.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod audit;
mod child;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod entropy;
pub mod environment;
mod heap;
pub mod host;
pub mod identity;
pub mod instances;
pub mod interfaces;
pub mod listen;
pub mod lock;
pub mod log;
#[cfg(target_os = "linux")]
mod netlink;
pub mod node;
pub mod profile;
pub mod qr;
#[cfg(test)]
mod scratch;
pub mod service;
pub mod storage;
pub mod tailscale;
pub mod tls;
pub mod web;
