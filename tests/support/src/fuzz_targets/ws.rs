//! The target `ws_frames`: any bytes where frames are read, in either role; what is said in return must be what the
//! other role accepts; and what one role sends, the other must receive.

use super::source::Source;
use clawgate_proto::budget::Budget;
use clawgate_proto::frame::CloseFrame;
use clawgate_proto::seed::Seed;
use clawgate_proto::ws::{Data, Received, Role, WebSocket};

/// The target `ws_frames`. The first byte chooses role and bound.
pub fn ws_frames(data: &[u8]) {
    let mut source = Source(data);
    let choice = source.byte();
    let is_server = choice & 1 == 0;
    let bytes_max = [0, 125, 1_000, 70_000][usize::from(choice >> 1 & 3)];
    read_anything(source.0, is_server, bytes_max);
    send_and_receive(source.0, is_server);
}

fn read_anything(bytes: &[u8], is_server: bool, bytes_max: usize) {
    let budget = Budget::new(BUDGET_BYTES);
    let mut socket = WebSocket::new(role(is_server), bytes_max, budget.clone());
    let mut peer = WebSocket::new(role(!is_server), REPLY_BYTES_MAX, Budget::new(BUDGET_BYTES));
    let mut wire = Vec::new();
    let (mut is_faulty, mut is_closed, mut at) = (false, false, 0);
    while at < bytes.len() {
        let (taken, received) = socket.receive(&bytes[at..]);
        assert!(taken <= bytes.len() - at, "it takes what there is");
        assert!(taken > 0 || received.is_some(), "it moves on or says something");
        at += taken;
        match received {
            None => {}
            Some(Received::Message(message)) => {
                assert!(!is_faulty && !is_closed, "a message behind the end");
                assert!(message.len() <= bytes_max, "longer than allowed");
            }
            Some(Received::Closed(close)) => {
                // It may still come behind a fault: that is how the peer says that it has understood.
                assert!(!is_closed, "closed twice");
                is_closed = true;
                let valid =
                    |close: &CloseFrame| matches!(close.code, 1000..=4999) && close.reason.len() <= 123;
                assert!(close.as_ref().is_none_or(valid), "a close that must not be sent: {close:?}");
            }
            Some(Received::Fault(fault)) => {
                assert!(!is_faulty && !is_closed, "a fault behind the end");
                is_faulty = true;
                assert!(matches!(fault.code(), 1002 | 1007 | 1009 | 1013));
            }
        }
        answer(&mut socket, &mut peer, &mut wire);
    }
    drop(socket);
    assert_eq!(budget.used(), 0, "what was claimed is given back");
}

/// The other role reads the answers: pongs and one close, nothing that is wrong.
fn answer(socket: &mut WebSocket, peer: &mut WebSocket, wire: &mut Vec<u8>) {
    while socket.wants_write() {
        wire.clear();
        socket.take_wire(wire);
        assert!(!wire.is_empty(), "a socket that wants to write has something to say");
        let mut at = 0;
        while at < wire.len() {
            let (taken, received) = peer.receive(&wire[at..]);
            assert!(taken > 0, "an answer must be readable");
            at += taken;
            match received {
                None | Some(Received::Closed(_)) => {}
                Some(Received::Message(message)) => panic!("a message nobody sent: {message:?}"),
                Some(Received::Fault(fault)) => panic!("an answer that breaks a rule: {fault:?}"),
            }
        }
    }
}

/// One role sends these bytes as a message, the other receives them in pieces.
fn send_and_receive(bytes: &[u8], from_server: bool) {
    let bytes_max = bytes.len().max(1);
    let mut from = WebSocket::new(role(from_server), bytes_max, Budget::new(BUDGET_BYTES));
    let mut to = WebSocket::new(role(!from_server), bytes_max, Budget::new(BUDGET_BYTES));
    let text = core::str::from_utf8(bytes).ok();
    match text {
        Some(text) => from.send_text(text.to_owned()),
        None => from.send_binary(bytes.to_vec()),
    }
    from.ping();
    from.close(CloseFrame::new(1000, "done"));
    let mut wire = Vec::new();
    while from.wants_write() {
        from.take_wire(&mut wire);
    }
    let mut got = Vec::new();
    for piece in wire.chunks(1 + bytes.len() % 7) {
        let mut at = 0;
        while at < piece.len() {
            let (taken, received) = to.receive(&piece[at..]);
            at += taken;
            got.extend(received);
            assert!(taken > 0 || at == piece.len(), "it moves on");
        }
    }
    let [Received::Message(message), Received::Closed(Some(close))] = got.as_slice() else {
        panic!("not what was sent: {got:?}")
    };
    match (message.data(), text) {
        (Data::Text(have), Some(text)) => assert_eq!(have, text),
        (Data::Binary(have), None) => assert_eq!(have, bytes),
        (data, _) => panic!("another kind: {data:?}"),
    }
    assert_eq!((close.code, &*close.reason), (1000, "done"));
}

fn role(is_server: bool) -> Role {
    if is_server { Role::Server } else { Role::Client(Seed::new([3; 32])) }
}

const BUDGET_BYTES: usize = 1024 * 1024;
/// Longer than any answer.
const REPLY_BYTES_MAX: usize = 1024;
