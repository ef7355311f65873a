//! The upgrade request, and every answer to it.

use super::*;

#[test]
fn the_upgrade_request_carries_what_was_asked_for() {
    let mut config = config();
    config.path = "/ws?x=1".to_owned();
    config.origin = Some("https://page.example".to_owned());
    config.headers.push(("X-Forwarded-For".to_owned(), "10.0.0.1".to_owned()));
    let mut wire = Vec::new();
    Client::new(config, Seed::new([1; 32]), at(0)).take_wire(&mut wire);
    let head = String::from_utf8(wire).unwrap();
    assert!(head.starts_with("GET /ws?x=1 HTTP/1.1\r\nHost: 127.0.0.1:18789\r\n"));
    assert!(head.ends_with("\r\n\r\n"));
    assert_eq!(header(&head, "Origin"), "https://page.example");
    assert_eq!(header(&head, "X-Forwarded-For"), "10.0.0.1");
    assert_eq!(header(&head, "Sec-WebSocket-Version"), "13");
    assert_eq!(header(&head, "Sec-WebSocket-Key").len(), 24);
}

#[test]
fn a_plain_response_is_told_with_its_body() {
    let refused = |parts: &[&str], end: bool, wait: bool| {
        let mut client = Client::new(config(), Seed::new([1; 32]), at(0));
        for part in parts {
            client.receive(at(0), part.as_bytes());
        }
        if end {
            client.receive_end(at(0));
        }
        if wait {
            client.handle_timeout(at(999));
            assert!(client.next_event().is_none());
            client.handle_timeout(at(1_000));
        }
        let Some(ClientEvent::HttpRefused { status, body }) = client.next_event() else {
            panic!("{parts:?}")
        };
        assert!(matches!(client.next_event(), Some(ClientEvent::Closed { by: ClosedBy::Transport, .. })));
        assert!(client.is_finished());
        (status, String::from_utf8(body).unwrap())
    };
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(refused(&[head, "fu", "llmore"], false, false), (503, "full".to_owned()));
    assert_eq!(refused(&[head, "fu"], true, false), (503, "fu".to_owned()));
    assert_eq!(refused(&[head, "fu"], false, true), (503, "fu".to_owned()));
    let endless = "HTTP/1.1 403 Forbidden\r\n\r\n";
    assert_eq!(refused(&[endless, "abc"], true, false), (403, "abc".to_owned()));
    assert_eq!(refused(&[endless, &"x".repeat(5_000)], false, false).1.len(), 2_048);
}

#[test]
fn an_upgrade_that_is_not_ours_is_refused() {
    let right =
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";
    let cases = [
        right.replace("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        right.replace("Upgrade: websocket\r\n", ""),
        right.replace("Connection: Upgrade", "Connection: close"),
        right.replace("Sec-WebSocket-Accept: ACCEPT\r\n", ""),
        right.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        right.replace("\r\n\r\n", "\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"),
        "SSH-2.0-x\r\n".to_owned(),
        format!("HTTP/1.1 101 S\r\nX: {}", "x".repeat(17_000)),
    ];
    for response in cases {
        let mut client = Client::new(config(), Seed::new([1; 32]), at(0));
        let mut wire = Vec::new();
        client.take_wire(&mut wire);
        let head = String::from_utf8(wire).unwrap();
        let accept = accept_key(header(&head, "Sec-WebSocket-Key"));
        client.receive(at(0), response.replace("ACCEPT", &accept).as_bytes());
        let event = client.next_event();
        assert!(matches!(event, Some(ClientEvent::Closed { code: 1006, .. })), "{response}: {event:?}");
        assert!(client.is_finished());
    }
}
