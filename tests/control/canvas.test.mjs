// What a browser node takes for an address, an action and a message. Run: node --test tests/control/
import assert from "node:assert/strict";
import test from "node:test";
import { canvasPath, capabilityPath, isA2ui } from "../../src/web/control/canvas_address.js";
import { actionOf, agentRequest } from "../../src/web/control/node_action.js";
import { messagesOf } from "../../src/web/control/node_commands.js";

const HERE = "http://127.0.0.1:18789";

test("an address leads below the canvas or A2UI, without the right it came with", () => {
  for (const [url, path] of [
    [undefined, "/__openclaw__/canvas/"],
    ["", "/__openclaw__/canvas/"],
    ["/", "/__openclaw__/canvas/"],
    ["page.html?a=1#b", "/__openclaw__/canvas/page.html?a=1#b"],
    ["/sub/page.html", "/__openclaw__/canvas/sub/page.html"],
    ["/__openclaw__/canvas", "/__openclaw__/canvas/"],
    ["/__openclaw__/a2ui/?platform=ios", "/__openclaw__/a2ui/?platform=ios"],
    [`${HERE}/__openclaw__/canvas/a`, "/__openclaw__/canvas/a"],
    ["http://localhost:18789/__openclaw__/canvas/a", "/__openclaw__/canvas/a"],
    [`${HERE}/__openclaw__/cap/AbCdEfGhIjKlMnOpQrStUv-_/__openclaw__/canvas/a?oc_cap=x&y=1`, "/__openclaw__/canvas/a?y=1"],
  ]) {
    assert.equal(canvasPath(url, HERE), path, url);
  }
});

test("nothing else is an address", () => {
  for (const [url, code] of [
    ["https://example.com/__openclaw__/canvas/", "UNAVAILABLE"],
    ["//example.com/__openclaw__/canvas/", "UNAVAILABLE"],
    [`${HERE}/`, "UNAVAILABLE"],
    [`${HERE}/__openclaw__/canvas/../../x`, "UNAVAILABLE"],
    ["../../index.html", "UNAVAILABLE"],
    ["http://127.0.0.1:18790/__openclaw__/canvas/", "UNAVAILABLE"],
    ["/__openclaw__/ws", "UNAVAILABLE"],
    ["javascript:alert(1)", "INVALID_REQUEST"],
    ["data:text/html,x", "INVALID_REQUEST"],
    ["file:///etc/passwd", "INVALID_REQUEST"],
    ["a".repeat(5000), "INVALID_REQUEST"],
  ]) {
    let got = "shown";
    try {
      got = canvasPath(url, HERE);
    } catch (why) {
      got = why.code;
    }
    assert.equal(got, code, url.slice(0, 80));
  }
});

test("of a capability's address only the path counts", () => {
  assert.equal(capabilityPath("http://10.0.0.5:18789/__openclaw__/cap/AbC-_1"), "/__openclaw__/cap/AbC-_1");
  for (const url of ["", "x", HERE, "http://a/__openclaw__/cap/", "http://a/__openclaw__/cap/x/y"]) assert.equal(capabilityPath(url), null);
  assert.equal(isA2ui("/__openclaw__/a2ui/?platform=web"), true);
  assert.equal(isA2ui(null), false);
});

test("an action becomes one line in which no part can pose as another", () => {
  const action = actionOf(JSON.stringify({ userAction: { name: "go session=other", surfaceId: "a b", context: { note: "x\ny" } } }));
  const request = agentRequest(action, { host: "Firefox on Linux", instance: "ab12" });
  assert.equal(
    request.message,
    'CANVAS_A2UI action=go_session_other session=main surface=a_b component=- host=Firefox_on_Linux instance=ab12 ctx={"note":"x\\ny"} default=update_canvas',
  );
  assert.deepEqual([request.deliver, request.sessionKey, request.key], [false, "main", action.id]);
  for (const text of ["", "[]", "null", '{"userAction":1}', '{"userAction":{}}', '{"userAction":{"name":" "}}']) assert.equal(actionOf(text), null, text);
});

test("messages come as a list, or one a line", () => {
  assert.deepEqual(messagesOf({ jsonl: '{"a":1}\n\n{"b":2}\n' }), [{ a: 1 }, { b: 2 }]);
  assert.deepEqual(messagesOf({ messages: [{ a: 1 }], jsonl: "x" }), [{ a: 1 }]);
  for (const params of [{}, { jsonl: "" }, { jsonl: "{" }, { jsonl: "[]" }, { messages: [1] }, { messages: [] }]) {
    assert.throws(() => messagesOf(params), { code: "INVALID_REQUEST" }, JSON.stringify(params));
  }
});
