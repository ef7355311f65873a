//! The sans-IO core of the clawgate OpenClaw gateway.
//!
//! A [`Connection`] turns one socket's bytes into typed [`Input`]s and typed [`Order`]s back into bytes. The
//! [`Gateway`] takes inputs and gives [`Output`]s. A driver owns sockets, clocks and threads and carries values
//! between the two; it decides nothing.
#![forbid(unsafe_code)]

pub mod admission;
pub mod budget;
pub mod client;
pub mod config;
pub mod conn;
pub mod connect;
pub mod dialect;
pub(crate) mod error;
pub mod frame;
pub mod gateway;
pub mod host;
pub mod http;
pub mod id;
pub mod inbound;
pub mod input;
pub mod limits;
pub mod log;
pub mod methods;
pub mod net;
pub mod output;
pub mod request;
pub mod scope;
pub mod secret;
pub mod seed;
pub mod store;
pub mod time;
mod validate;

pub use conn::{Connection, Next, ws};
pub use gateway::{Gateway, Peer, Refused};
pub use host::Host;
pub use input::Input;
pub use output::{Order, Output};
pub use time::{Mono, Now, Wall};
