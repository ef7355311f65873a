//! The sans-IO core of the clawgate OpenClaw gateway: bytes and facts in, bytes and orders out.
//!
//! A [`Connection`] turns one socket's bytes into typed [`Input`]s and typed [`Order`]s back into bytes. The
//! [`Gateway`] takes inputs and gives [`Output`]s. A driver owns sockets, clocks and threads and carries values
//! between the two; it decides nothing. The core opens no socket and no file, starts no thread, and reads neither a
//! clock nor entropy: it gets [`Now`] with every call, and one [`Seed`](seed::Seed) at the start. So the same inputs
//! give the same bytes, under any driver.
//!
//! # The contract
//!
//! - Orders for one connection are carried out in the order in which they came out of the gateway.
//! - A [`Output::Host`] is answered by [`Input::Answered`] with its ticket, or not at all.
//! - Bytes that were written are reported with [`Connection::wrote`]; the facts that follow keep a peer's queue honest.
//! - A panic in a [`Connection`] concerns that socket. After one in the [`Gateway`] the process must end.
//!
//! # The run loop
//!
//! This is all that a driver does with one socket; the rest is waiting for the right moment to do it.
//!
//! ```
//! use clawgate_proto::{Connection, Gateway, Next, Now, Output};
//!
//! /// Gives received bytes to a connection; what must be written is appended to `wire`. Says how many bytes were taken.
//! fn turn(gateway: &mut Gateway, conn: &mut Connection, now: Now, bytes: &[u8], wire: &mut Vec<u8>) -> usize {
//!     conn.handle_timeout(now); // harmless before `conn.next_deadline()`
//!     let taken = if conn.wants_read() { conn.receive(now, bytes) } else { 0 };
//!     let mut outputs = Vec::new();
//!     while let Next::Event(input) = conn.next_event(now) {
//!         gateway.handle(now, input, &mut outputs);
//!         for output in outputs.drain(..) {
//!             match output {
//!                 Output::To(id, order) if id == conn.id() => conn.apply(now, order),
//!                 Output::To(_, _order) => { /* into the mailbox of that connection */ }
//!                 Output::Host(_ticket, _request) => { /* to the pool: `host::perform`, then `Input::Answered` */ }
//!                 Output::Log(_record) => { /* to the log */ }
//!                 Output::Accept(_) | Output::Stopped => { /* to whoever owns the listeners */ }
//!                 Output::Beat => { /* to whoever watches this process */ }
//!             }
//!         }
//!     }
//!     while conn.wants_write() {
//!         let before = wire.len();
//!         conn.take_wire(now, wire);
//!         conn.wrote(now, wire.len() - before); // once they are written, that is
//!     }
//!     taken
//! }
//!
//! # use clawgate_proto::{Mono, Peer, Wall};
//! # use clawgate_proto::config::{AuthConfig, AuthMode, Config};
//! # let auth = AuthConfig::new(AuthMode::None);
//! # let config = Config::new(auth, 18789);
//! # let now = Now { mono: Mono(0), wall: Wall(1_800_000_000_000) };
//! # let seed = clawgate_proto::seed::Seed::new([7; 32]);
//! let mut gateway = Gateway::new(config, seed, now);
//! # let loopback = ([127, 0, 0, 1], 40_000).into();
//! # let peer = Peer { remote: loopback, local: loopback };
//! let mut conn = gateway.open(now, peer, &mut Vec::new()).expect("the first socket finds room");
//! let mut wire = Vec::new();
//! let bytes = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
//! assert_eq!(turn(&mut gateway, &mut conn, now, bytes, &mut wire), bytes.len());
//! assert!(wire.starts_with(b"HTTP/1.1 200 OK\r\n"));
//! ```
//!
//! Two examples are whole gateways: `examples/slices.rs` leads a client to hello-ok by byte slices alone, and
//! `examples/sockets.rs` serves on plain non-blocking `std::net` sockets in under 200 lines.
#![forbid(unsafe_code)]

pub mod admission;
pub mod approvals;
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
pub mod invokes;
pub mod limits;
pub mod log;
pub mod mdns;
pub mod methods;
pub mod net;
pub mod output;
pub mod pending;
pub mod request;
pub mod scope;
pub mod secret;
pub mod seed;
pub mod store;
pub mod system_run;
pub mod time;
pub mod tls;
mod validate;
pub mod wizard;

pub use conn::{Connection, Next, ws};
pub use gateway::{Gateway, Peer, Refused};
pub use host::Host;
pub use input::Input;
pub use output::{Order, Output};
pub use time::{Mono, Now, Wall};
