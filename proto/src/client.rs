//! The client side of one connection, without a socket.

pub mod identity;

pub use identity::DeviceKey;
