#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::frame::apply_mask;
use super::*;
use proptest::prelude::*;

/// A frame as a peer may send it, right or wrong.
#[derive(Clone, Debug)]
struct Raw {
    first: u8,
    payload: Vec<u8>,
    mask: Option<[u8; 4]>,
    /// Declared length, when it is not the payload's.
    declared: Option<u64>,
    /// 0, 2 or 8 length bytes; `None` for the shortest form.
    length_bytes: Option<usize>,
}

impl Raw {
    fn new(first: u8, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        Self { first, payload, mask: Some([1, 2, 3, 4]), declared: None, length_bytes: None }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = self.declared.unwrap_or(self.payload.len() as u64);
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let shortest = if len < 126 {
            0
        } else if len < 65536 {
            2
        } else {
            8
        };
        let mut out = vec![self.first];
        match self.length_bytes.unwrap_or(shortest) {
            0 => out.push(masked | len as u8),
            2 => {
                out.push(masked | 126);
                out.extend((len as u16).to_be_bytes());
            }
            _ => {
                out.push(masked | 127);
                out.extend(len.to_be_bytes());
            }
        }
        let mut payload = self.payload.clone();
        if let Some(mask) = self.mask {
            out.extend(mask);
            for (i, byte) in payload.iter_mut().enumerate() {
                *byte ^= mask[i % 4];
            }
        }
        out.extend(payload);
        out
    }
}

fn text(payload: &str) -> Vec<u8> {
    Raw::new(0x81, payload).bytes()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    Raw::new(0x88, [&code.to_be_bytes(), reason].concat()).bytes()
}

fn server(message_bytes_max: usize) -> WebSocket {
    WebSocket::new(Role::Server, message_bytes_max, Budget::new(1 << 30))
}

/// What a peer's bytes led to, in words, and what went back.
fn run(socket: &mut WebSocket, bytes: &[u8], cuts: &[usize]) -> (Vec<String>, Vec<u8>) {
    let mut events = Vec::new();
    let mut rest = bytes;
    let mut cuts = cuts.iter().copied().cycle();
    while !rest.is_empty() {
        let n = cuts.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (mut piece, later) = rest.split_at(n);
        while !piece.is_empty() {
            let (taken, received) = socket.receive(piece);
            piece = &piece[taken..];
            match received {
                None => assert!(piece.is_empty(), "stopped early without a word"),
                Some(Received::Message(message)) => events.push(match message.into_data() {
                    Data::Text(text) => format!("text {text}"),
                    Data::Binary(bytes) => format!("binary {bytes:?}"),
                }),
                Some(Received::Closed(close)) => {
                    events.push(
                        close.map_or_else(|| "closed".into(), |c| format!("closed {} {}", c.code, c.reason)),
                    );
                }
                Some(Received::Fault(fault)) => events.push(format!("fault {}", fault.code())),
            }
        }
        rest = later;
    }
    (events, wire(socket))
}

fn wire(socket: &mut WebSocket) -> Vec<u8> {
    let mut out = Vec::new();
    while socket.wants_write() {
        socket.take_wire(&mut out);
    }
    out
}

fn faults(bytes: &[u8]) -> u16 {
    let (events, wire) = run(&mut server(1000), bytes, &[]);
    let code = events.last().unwrap().strip_prefix("fault ").unwrap().parse().unwrap();
    assert_eq!(
        wire,
        [&[0x88, 2][..], &u16::to_be_bytes(code)].concat(),
        "a close frame with the code, no reason"
    );
    code
}

#[test]
fn messages_pings_and_closes() {
    let bytes = [
        text("héllo"),
        Raw::new(0x01, "frag").bytes(),
        Raw::new(0x89, "ping").bytes(),
        Raw::new(0x00, "men").bytes(),
        Raw::new(0x8a, "unasked").bytes(),
        Raw::new(0x80, "ted").bytes(),
        Raw::new(0x82, [0xff, 0]).bytes(),
        text(""),
        close(1001, b"bye"),
        text("ignored"),
    ]
    .concat();
    let (events, wire) = run(&mut server(1000), &bytes, &[]);
    assert_eq!(events, ["text héllo", "text fragmented", "binary [255, 0]", "text ", "closed 1001 bye"]);
    assert_eq!(wire, [&[0x8a, 4][..], b"ping", &[0x88, 2], &1001u16.to_be_bytes()].concat());
}

#[test]
fn a_close_without_code_is_answered_without_code() {
    let (events, wire) = run(&mut server(1000), &Raw::new(0x88, "").bytes(), &[]);
    assert_eq!(events, ["closed"]);
    assert_eq!(wire, [0x88, 0]);
}

#[test]
fn rules_of_frames_are_kept() {
    let unmasked = Raw { mask: None, ..Raw::new(0x81, "x") };
    let long = |first, length_bytes| Raw { length_bytes: Some(length_bytes), ..Raw::new(first, "x") };
    for reserved_bits in [0xc1, 0xa1, 0x91, 0xf1] {
        assert_eq!(faults(&Raw::new(reserved_bits, "x").bytes()), 1002);
    }
    for reserved_opcode in [0x83, 0x84, 0x85, 0x86, 0x87, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f] {
        assert_eq!(faults(&Raw::new(reserved_opcode, "x").bytes()), 1002);
    }
    assert_eq!(faults(&unmasked.bytes()), 1002);
    assert_eq!(faults(&long(0x81, 2).bytes()), 1002);
    assert_eq!(faults(&long(0x81, 8).bytes()), 1002);
    assert_eq!(faults(&Raw { length_bytes: Some(8), ..Raw::new(0x81, [b'x'; 300]) }.bytes()), 1002);
    assert_eq!(faults(&Raw { declared: Some(u64::MAX), ..Raw::new(0x81, "x") }.bytes()), 1002);
    assert_eq!(faults(&Raw::new(0x09, "fragmented ping").bytes()), 1002);
    assert_eq!(faults(&Raw::new(0x89, [0; 126]).bytes()), 1002);
    assert_eq!(faults(&Raw::new(0x80, "nothing to continue").bytes()), 1002);
    assert_eq!(faults(&[Raw::new(0x01, "a").bytes(), text("b")].concat()), 1002);
}

#[test]
fn close_codes_are_checked() {
    for good in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4001, 4999]
    {
        let (events, wire) = run(&mut server(1000), &close(good, b""), &[]);
        assert_eq!(events, [format!("closed {good} ")]);
        assert_eq!(wire, [&[0x88, 2][..], &good.to_be_bytes()].concat());
    }
    for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(faults(&close(bad, b"")), 1002, "{bad}");
    }
    assert_eq!(faults(&Raw::new(0x88, "x").bytes()), 1002);
    assert_eq!(faults(&close(1000, b"\xff")), 1007);
}

#[test]
fn bad_utf8_is_refused_at_the_first_wrong_byte() {
    // The frame is far from complete, but no continuation can mend the third byte.
    let frame = Raw::new(0x81, b"ok\xf4\x90aaaaaaaaaaaaaaaa").bytes();
    let mut socket = server(1000);
    let (events, _) = run(&mut socket, &frame[..6 + 3], &[]);
    assert!(events.is_empty());
    let (events, _) = run(&mut socket, &frame[6 + 3..6 + 4], &[]);
    assert_eq!(events, ["fault 1007"]);
    // Cut inside a character, a message may still go on, but not end.
    assert_eq!(faults(&Raw::new(0x81, b"\xc3").bytes()), 1007);
    let split = [Raw::new(0x01, b"\xc3").bytes(), Raw::new(0x80, b"\xa9").bytes()].concat();
    assert_eq!(run(&mut server(1000), &split, &[]).0, ["text é"]);
}

#[test]
fn oversize_is_refused_from_the_head() {
    let (events, _) = run(&mut server(1000), &text(&"x".repeat(1000)), &[]);
    assert_eq!(events.len(), 1);
    let head_only = Raw { declared: Some(1001), payload: Vec::new(), ..Raw::new(0x81, "") };
    assert_eq!(faults(&head_only.bytes()), 1009);
    let second_fragment = Raw { declared: Some(1), payload: Vec::new(), ..Raw::new(0x80, "") };
    assert_eq!(faults(&[Raw::new(0x01, [b'x'; 1000]).bytes(), second_fragment.bytes()].concat()), 1009);
    let huge = Raw { declared: Some(i64::MAX as u64), payload: Vec::new(), ..Raw::new(0x82, "") };
    assert_eq!(faults(&huge.bytes()), 1009);
}

#[test]
fn memory_follows_the_bytes_and_the_budget() {
    let mib = 1024 * 1024;
    let budget = Budget::new(4 * mib);
    let mut socket = WebSocket::new(Role::Server, 25 * mib, budget.clone());
    let frame = Raw::new(0x82, vec![7; 3 * mib]).bytes();
    assert!(socket.receive(&frame[..20]).1.is_none());
    assert_eq!(budget.used(), 0, "a declared length takes nothing");
    assert!(socket.receive(&frame[20..64 * 1024]).1.is_none());
    assert_eq!(budget.used(), 0, "64 KiB are free");
    let (_, received) = socket.receive(&frame[64 * 1024..]);
    let Some(Received::Message(message)) = received else { panic!("{received:?}") };
    assert_eq!(message.len(), 3 * mib);
    assert_eq!(budget.used(), 3 * mib - 64 * 1024);
    drop(message);
    assert_eq!(budget.used(), 0);

    let (_, received) = socket.receive(&Raw::new(0x82, vec![7; 5 * mib]).bytes());
    assert!(matches!(received, Some(Received::Fault(Fault::Memory))), "{received:?}");
    assert_eq!(budget.used(), 0, "a refused message gives all back");
}

#[test]
fn after_our_close_only_the_peers_close_counts() {
    let mut socket = server(1000);
    assert!(socket.receive(&Raw::new(0x01, "half").bytes()).1.is_none());
    socket.close(CloseFrame::new(1012, "service restart"));
    socket.send_text("too late");
    let bytes = [Raw::new(0x89, "ping").bytes(), Raw::new(0x83, "odd").bytes(), text("late")].concat();
    let (events, sent) = run(&mut socket, &bytes, &[3]);
    assert!(events.is_empty());
    assert_eq!(sent, [&[0x88, 17][..], &1012u16.to_be_bytes(), b"service restart"].concat());
    assert!(!socket.is_finished());
    assert_eq!(run(&mut socket, &close(1012, b""), &[2]).0, ["closed"]);
    assert!(socket.is_finished());
}

#[test]
fn close_reasons_are_cut_between_characters() {
    let mut socket = server(1000);
    socket.close(CloseFrame { code: 1008, reason: "é".repeat(100).into() });
    let wire = wire(&mut socket);
    assert_eq!(wire.len(), 2 + 2 + 122);
    assert_eq!(core::str::from_utf8(&wire[4..]).unwrap(), "é".repeat(61));
}

#[test]
fn control_frames_pass_waiting_messages_but_not_a_message_in_progress() {
    let mut socket = server(1000);
    socket.send_binary(vec![1; 100_000]);
    socket.send_text("second");
    let mut first = Vec::new();
    socket.take_wire(&mut first);
    assert_eq!(first.len(), 64 * 1024, "taken in chunks");
    socket.ping();
    let rest = wire(&mut socket);
    let left = 10 + 100_000 - 64 * 1024;
    assert_eq!(rest[left..], [&[0x89, 0, 0x81, 6][..], b"second"].concat());
}

#[test]
fn a_client_masks_and_refuses_masks() {
    let mut client = WebSocket::new(Role::Client(Seed::new([9; 32])), 1000, Budget::new(1 << 20));
    client.send_text("hello over there");
    client.ping();
    client.close(CloseFrame::new(1000, "done"));
    let sent = wire(&mut client);
    assert!(!sent.windows(5).any(|window| window == b"hello"));
    let mut server = server(1000);
    assert_eq!(run(&mut server, &sent, &[1]).0, ["text hello over there", "closed 1000 done"]);
    let mut client = WebSocket::new(Role::Client(Seed::new([9; 32])), 1000, Budget::new(1 << 20));
    assert_eq!(run(&mut client, &text("masked"), &[]).0, ["fault 1002"]);
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        3 => ".{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..140),
        1 => Just(vec![b'x'; 400]),
    ];
    let frame = (first, payload, any::<[u8; 4]>(), 0..20u8).prop_map(|(first, payload, mask, odd)| {
        let mask = (odd != 0).then_some(mask);
        let length_bytes = (odd == 1).then_some(8);
        Raw { first, payload, mask, declared: None, length_bytes }.bytes()
    });
    (prop::collection::vec(frame, 1..8), prop::collection::vec(any::<u8>(), 0..20)).prop_map(
        |(frames, noise)| {
            let mut bytes = frames.concat();
            bytes.extend(noise);
            bytes
        },
    )
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        bytes in frames(),
        cuts in prop::collection::vec(1usize..50, 1..20),
        // Below and above what a short frame holds.
        max in prop::sample::select(vec![0, 20, 124, 125, 600]),
    ) {
        let whole = run(&mut server(max), &bytes, &[]);
        prop_assert_eq!(&run(&mut server(max), &bytes, &[1]), &whole);
        prop_assert_eq!(&run(&mut server(max), &bytes, &cuts), &whole);
    }

    #[test]
    fn masks_agree_with_the_definition(
        bytes in prop::collection::vec(any::<u8>(), 0..70), mask in any::<[u8; 4]>(), from in 0usize..9,
    ) {
        let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| b ^ mask[(from + i) % 4]).collect();
        let mut masked = bytes;
        apply_mask(&mut masked, mask, from);
        prop_assert_eq!(masked, expected);
    }
}
