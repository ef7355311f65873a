//! Facts for the gateway, in the past tense. A connection makes most of them; the driver adds the rest.

use crate::connect::ConnectRequest;
use crate::host::HostAnswer;
use crate::http::HttpRequest;
use crate::id::{ConnId, Ticket};
use crate::request::Request;
use crate::tls;

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// A complete, valid request head asks to become a WebSocket.
    Upgrade {
        /// The socket.
        conn: ConnId,
        /// The request, without body.
        request: Box<HttpRequest>,
    },
    /// A complete HTTP request that is not an upgrade.
    Http {
        /// The socket.
        conn: ConnId,
        /// The request with its body.
        request: Box<HttpRequest>,
    },
    /// A well-formed `connect`; its device proof has been checked.
    Connect {
        /// The socket.
        conn: ConnId,
        /// What the peer claims, and whether it proved its key.
        request: Box<ConnectRequest>,
    },
    /// A well-formed request from an admitted peer.
    Request {
        /// The socket.
        conn: ConnId,
        /// Method and parsed params.
        request: Request,
    },
    /// Bytes queued towards the peer have left; they no longer count against it.
    Drained {
        /// The socket.
        conn: ConnId,
        /// In the unit of [`crate::output::Order::cost`].
        bytes: usize,
    },
    /// The connection began to end for a reason of its own (a fault of the peer, a timeout, a close frame).
    /// [`Input::Closed`] follows when the socket is gone.
    Ending {
        /// The socket.
        conn: ConnId,
        /// Why.
        why: End,
    },
    /// The socket is gone.
    Closed {
        /// The socket.
        conn: ConnId,
    },
    /// The host answered.
    Answered {
        /// The request's ticket; a stale one is ignored.
        ticket: Ticket,
        /// What it said.
        answer: HostAnswer,
    },
    /// The configuration file, or one that belongs to it, may have been changed.
    ConfigTouched,
    /// The process was asked to stop.
    Stop,
    /// The process was asked to stop, and will start again.
    Restart,
    /// A deadline passed.
    Tick,
}

/// Why a connection ended, named for the log and for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed the WebSocket, or the HTTP connection between requests.
    PeerClosed,
    /// The peer's TCP went away without a close frame.
    PeerGone,
    /// The driver could not read or write.
    SocketError,
    /// The request head did not come in time.
    HeadTimeout,
    /// The request body did not come in time.
    BodyTimeout,
    /// An idle HTTP connection was closed.
    HttpIdle,
    /// The peer did not take the rest of an answer in time.
    SendTimeout,
    /// TLS failed below everything else.
    TlsFault(tls::Fault),
    /// A malformed or refused HTTP request, with the status that was answered.
    HttpFault(u16),
    /// No valid `connect` in time.
    HandshakeTimeout,
    /// The first frame was refused by the connection itself (frame, method or params).
    HandshakeFault,
    /// A WebSocket fault, with the close code that was sent.
    WebSocketFault(u16),
    /// No byte came after a keepalive ping.
    KeepaliveTimeout,
    /// The process-wide byte budget had no room for this message.
    MemoryBudget,
    /// The peer did not answer our close frame in time.
    CloseTimeout,
    /// The gateway ordered it.
    Ordered,
}

impl End {
    /// A stable name for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer-closed",
            Self::PeerGone => "peer-gone",
            Self::SocketError => "socket-error",
            Self::HeadTimeout => "head-timeout",
            Self::BodyTimeout => "body-timeout",
            Self::HttpIdle => "http-idle",
            Self::SendTimeout => "send-timeout",
            Self::TlsFault(_) => "tls-fault",
            Self::HttpFault(_) => "http-fault",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::HandshakeFault => "handshake-fault",
            Self::WebSocketFault(_) => "websocket-fault",
            Self::KeepaliveTimeout => "keepalive-timeout",
            Self::MemoryBudget => "memory-budget",
            Self::CloseTimeout => "close-timeout",
            Self::Ordered => "ordered",
        }
    }
}
