// Filters and formats of the control page. Run: node --test tests/control/
import assert from "node:assert/strict";
import test from "node:test";
import { bounded, parseFilter, passes } from "../../src/web/control/event_filter.js";
import { ago, approvalTitle, browserName, bytes, clock, logLine, scopeNames, shortId, span } from "../../src/web/control/format.js";

test("every word of a filter must be there, and none with a minus", () => {
  const seen = (typed, text) => passes(parseFilter(typed), text);
  assert.equal(seen("", "anything"), true);
  assert.equal(seen("PAIR kitchen", 'node.pair.requested {"name":"Kitchen"}'), true);
  assert.equal(seen("pair bath", "node.pair.requested kitchen"), false);
  assert.equal(seen("-tick", "tick {}"), false);
  assert.equal(seen("-tick", "presence {}"), true);
  assert.equal(seen("- ", "tick"), true);
});

test("a list keeps its newest", () => {
  assert.deepEqual(bounded([1, 2, 3, 4], 2), [3, 4]);
  assert.deepEqual(bounded([1], 2), [1]);
});

test("spans of time", () => {
  const table = [[-5, "0 s"], [59_999, "59 s"], [60_000, "1 min"], [3_600_000, "1 h"], [5_400_000, "1 h 30 min"], [273_600_000, "3 d 4 h"], [Number.NaN, "unknown"]];
  for (const [ms, text] of table) assert.equal(span(ms), text);
  assert.equal(ago(1_000, 2_000), "just now");
  assert.equal(ago(0, 120_000), "2 min ago");
  assert.equal(ago(undefined, 1), "at an unknown time");
});

test("sizes", () => {
  const table = [[0, "0 B"], [1023, "1023 B"], [6_520_832, "6.22 MiB"], [268_435_456, "256 MiB"], [1020 * 1024, "1020 KiB"], [1024 ** 4 * 5, "5120 GiB"], [undefined, "unknown"]];
  for (const [count, text] of table) assert.equal(bytes(count), text);
});

test("names", () => {
  assert.equal(shortId("0123456789abcdef"), "0123456789ab…");
  assert.equal(shortId(undefined), "");
  assert.deepEqual(scopeNames(["operator.read", "x"]), ["read", "x"]);
  assert.deepEqual(scopeNames("operator.read"), []);
  assert.equal(clock(Number.NaN), "--:--:--");
  assert.equal(browserName("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"), "Chrome on Linux");
  assert.equal(browserName("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Safari/604"), "Safari on iPhone");
  assert.equal(browserName(""), "Browser on an unknown system");
});

test("what an approval is about", () => {
  assert.equal(approvalTitle({ id: "i", request: { command: "ls" } }), "ls");
  assert.equal(approvalTitle({ id: "i", request: { command: null, systemRunPlan: { commandText: "df -h" } } }), "df -h");
  assert.equal(approvalTitle({ id: "i", request: { commandArgv: ["a", "b"] } }), "a b");
  assert.equal(approvalTitle({ id: "i", approvalKind: "plugin", request: { title: "Send mail?" } }), "Send mail?");
  assert.equal(approvalTitle({ id: "i" }), "i");
});

test("lines of the log, and lines that are none", () => {
  const raw = JSON.stringify({
    0: '{"subsystem":"gateway/ws"}', 1: "peer.closed conn=c1", time: "2026-11-29T06:30:51.163+00:00",
    _meta: { name: '{"subsystem":"gateway/ws"}', logLevelName: "DEBUG" },
  });
  assert.deepEqual(logLine(raw), { ts: Date.parse("2026-11-29T06:30:51.163Z"), level: "DEBUG", subsystem: "gateway/ws", text: "peer.closed conn=c1" });
  assert.equal(logLine('{"0":{"a":1},"_meta":{}}').text, '{"a":1}');
  assert.equal(logLine("<b>not json").text, "<b>not json");
  assert.equal(logLine("null").text, "null");
});
