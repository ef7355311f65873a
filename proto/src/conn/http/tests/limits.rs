//! Every limit of the reader, reached and passed by one.

use super::*;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n";
const CHUNKED: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn filler(count: usize) -> Vec<u8> {
    vec![b'x'; count]
}

#[test]
fn head_bytes_max() {
    let limits = Limits { head_bytes_max: 100, ..Limits::default() };
    let head = |count: usize| joined(&[HEAD, b"X: ", &filler(count - HEAD.len() - 7), b"\r\n\r\n"]);
    assert_eq!(head(100).len(), 100);
    assert_eq!(outcome_under_every_cut(&limits, &head(100)), "GET / keep | idle");
    assert_eq!(outcome_under_every_cut(&limits, &head(101)), "431 HeadTooLarge");
    assert_eq!(outcome_under_every_cut(&limits, &joined(&[HEAD, b"X: ", &filler(200)])), "431 HeadTooLarge");
    // Still in the target, or in a method that never ends.
    assert_eq!(outcome_under_every_cut(&limits, &joined(&[b"GET /", &filler(96)])), "414 TargetTooLong");
    assert_eq!(outcome_under_every_cut(&limits, &filler(101)), "431 HeadTooLarge");
}

#[test]
fn target_bytes_max() {
    let limits = Limits { target_bytes_max: 20, ..Limits::default() };
    let request = |count: usize| joined(&[b"GET /", &filler(count - 1), b" HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert!(outcome_under_every_cut(&limits, &request(20)).ends_with("keep | idle"));
    assert_eq!(outcome_under_every_cut(&limits, &request(21)), "414 TargetTooLong");
}

#[test]
fn header_count_max() {
    let limits = Limits { header_count_max: 3, ..Limits::default() };
    assert_eq!(outcome_under_every_cut(&limits, &joined(&[HEAD, b"a:\r\nb:\r\n\r\n"])), "GET / keep | idle");
    assert_eq!(outcome_under_every_cut(&limits, &joined(&[HEAD, b"a:\r\nb:\r\nc"])), "431 TooManyHeaders");
    let trailers = |lines: &[u8]| joined(&[CHUNKED, b"0\r\n", lines, b"\r\n"]);
    assert_eq!(outcome_under_every_cut(&limits, &trailers(b"a:\r\nb:\r\nc:\r\n")), "PUT / keep | idle");
    assert_eq!(
        outcome_under_every_cut(&limits, &trailers(b"a:\r\nb:\r\nc:\r\nd:\r\n")),
        "431 TooManyHeaders"
    );
}

#[test]
fn body_bytes_max() {
    let limits = Limits { body_bytes_max: 9, ..Limits::default() };
    let sized = |count: usize| {
        let line = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {count}\r\n\r\n");
        joined(&[line.as_bytes(), &filler(count)])
    };
    assert_eq!(outcome_under_every_cut(&limits, &sized(9)), "PUT / keep body=xxxxxxxxx | idle");
    assert_eq!(outcome_under_every_cut(&limits, &sized(10)), "413 BodyTooLarge");
    let chunks = |tail: &[u8]| joined(&[CHUNKED, b"5\r\nxxxxx\r\n", tail]);
    assert_eq!(
        outcome_under_every_cut(&limits, &chunks(b"4\r\nxxxx\r\n0\r\n\r\n")),
        "PUT / keep body=xxxxxxxxx | idle"
    );
    assert_eq!(outcome_under_every_cut(&limits, &chunks(b"5\r\n")), "413 BodyTooLarge");
}

#[test]
fn chunk_line_bytes_max() {
    let limits = Limits { chunk_line_bytes_max: 12, ..Limits::default() };
    let chunk = |count: usize| joined(&[CHUNKED, b"1;", &filler(count - 2), b"\r\nx\r\n0\r\n\r\n"]);
    assert_eq!(outcome_under_every_cut(&limits, &chunk(12)), "PUT / keep body=x | idle");
    assert_eq!(outcome_under_every_cut(&limits, &chunk(13)), "400 ChunkSize");
}

#[test]
fn chunk_extensions_have_a_bound_in_all() {
    let limits = Limits { head_bytes_max: 80, ..Limits::default() };
    let chunks = |count: usize| joined(&[CHUNKED, &b"1;23456789\r\nx\r\n".repeat(count), b"0\r\n\r\n"]);
    assert_eq!(outcome_under(&limits, &chunks(8), &[]), "PUT / keep body=xxxxxxxx | idle");
    assert_eq!(outcome_under(&limits, &chunks(9), &[]), "400 ChunkSize");
}

#[test]
fn trailers_are_bounded_like_a_head() {
    let limits = Limits { head_bytes_max: 80, ..Limits::default() };
    let trailers = |count: usize| joined(&[CHUNKED, b"0\r\nX:", &filler(count - 6), b"\r\n\r\n"]);
    assert_eq!(outcome_under_every_cut(&limits, &trailers(80)), "PUT / keep | idle");
    assert_eq!(outcome_under_every_cut(&limits, &trailers(81)), "431 HeadTooLarge");
}

#[test]
fn pipelined_bytes_are_bounded() {
    let limits = Limits { head_bytes_max: 400, ..Limits::default() };
    let mut reader = HttpReader::new(&limits);
    let flood = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let mut sent = reader.receive(&flood);
    assert!(sent <= 401, "{sent}");
    assert_eq!(reader.receive(&flood[sent..]), 0);
    assert!(!reader.has_room());
    let mut requests = 0;
    loop {
        match reader.next().unwrap() {
            HttpNext::Request { .. } => requests += 1,
            HttpNext::NeedData if sent == flood.len() => break,
            HttpNext::NeedData => sent += reader.receive(&flood[sent..]),
            HttpNext::Continue => panic!("nobody waits"),
        }
    }
    assert_eq!(requests, 1000);
}

#[test]
fn a_chunk_line_may_be_longer_than_a_head() {
    // Limits that make no sense together must not make the reader stand still.
    let limits = Limits { head_bytes_max: 60, chunk_line_bytes_max: 300, ..Limits::default() };
    assert_eq!(outcome_under(&limits, &joined(&[CHUNKED, b"1;", &filler(299)]), &[]), "400 ChunkSize");
    let limits = Limits { head_bytes_max: 0, chunk_line_bytes_max: 0, ..Limits::default() };
    assert_eq!(outcome_under(&limits, HEAD, &[]), "431 HeadTooLarge");
}
