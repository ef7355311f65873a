// What the control page says on the wire, and what a refusal makes it do. Run: node --test tests/control/
import assert from "node:assert/strict";
import test from "node:test";
import {
  GatewayError, OWNER_SCOPES, PAGE_CLIENT, afterRefusal, connectParams, nextStep, retryAfter, signedSecret, signedText, takeLink, tokenIsDead,
} from "../../src/web/control/protocol.js";

import { socketUrl } from "../../src/web/control/client.js";

const challenge = { nonce: "n-1", ts: 1_700_000_000_000 };

test("a device signs the payload of version 3, with platform and family in lower case", () => {
  const client = { id: "openclaw-control-ui", mode: "webchat", platform: " WEB ", deviceFamily: "Desk" };
  const text = signedText({ deviceId: "d1", client, role: "operator", scopes: ["operator.read", "operator.write"], auth: { token: "t" }, challenge });
  assert.equal(text, "v3|d1|openclaw-control-ui|webchat|operator|operator.read,operator.write|1700000000000|t|n-1|web|desk");
});

test("what is missing is signed as nothing, and letters beyond ASCII stay as they are", () => {
  const client = { id: "a", mode: "b", platform: "ÄX" };
  assert.equal(signedText({ deviceId: "d", client, role: "node", scopes: [], auth: {}, challenge }), "v3|d|a|b|node||1700000000000||n-1|Äx|");
});

test("the signed secret is the first of token, device token, bootstrap token; never a password", () => {
  assert.equal(signedSecret({ token: "t", deviceToken: "d", bootstrapToken: "b" }), "t");
  assert.equal(signedSecret({ deviceToken: "d", bootstrapToken: "b" }), "d");
  assert.equal(signedSecret({ bootstrapToken: "b" }), "b");
  assert.equal(signedSecret({ password: "p" }), "");
});

test("connect has the keys that the gateway's closed schema knows, and commands for a node only", () => {
  const device = { id: "d", publicKey: "k", signature: "s", signedAt: 1, nonce: "n" };
  const said = { client: PAGE_CLIENT, role: "operator", scopes: OWNER_SCOPES, auth: {}, device, commands: ["x"] };
  assert.deepEqual(Object.keys(connectParams(said)), ["minProtocol", "maxProtocol", "client", "role", "scopes", "caps", "auth", "device"]);
  assert.deepEqual(connectParams({ ...said, role: "node" }).commands, ["x"]);
  assert.equal(connectParams({ ...said, userAgent: "u".repeat(999) }).userAgent.length, 256);
});

test("the page asks for the owner's scopes, in the order that is signed", () => {
  assert.deepEqual(OWNER_SCOPES, [...OWNER_SCOPES].sort());
  assert.equal(OWNER_SCOPES.length, 7);
  assert.ok(OWNER_SCOPES.every((scope) => scope.startsWith("operator.")));
});

test("the link's secret is taken out of the fragment, and the rest stays", () => {
  assert.deepEqual(takeLink("#bootstrapToken=a%2Bb"), { bootstrapToken: "a+b", rest: "" });
  assert.deepEqual(takeLink("#pairing&bootstrapToken=abc"), { bootstrapToken: "abc", rest: "#pairing" });
  assert.deepEqual(takeLink("#bootstrapToken=%E0%A4"), { bootstrapToken: "%E0%A4", rest: "" });
  assert.deepEqual(takeLink("#events"), { rest: "#events" });
  assert.deepEqual(takeLink(""), { rest: "" });
});

test("an error carries the code of its details, where there is one", () => {
  const error = new GatewayError({ code: "NOT_PAIRED", message: "pairing required", details: { code: "PAIRING_REQUIRED" } });
  assert.equal(error.code, "PAIRING_REQUIRED");
  assert.equal(new GatewayError({ code: "UNAVAILABLE", message: "m" }).code, "UNAVAILABLE");
  assert.equal(new GatewayError(undefined).message, "the gateway gave no reason");
  assert.equal(new GatewayError({ retryAfterMs: "soon" }).retryAfterMs, undefined);
});

test("what comes after a refusal", () => {
  const after = (code) => afterRefusal(new GatewayError({ details: { code } }));
  assert.equal(after("PAIRING_REQUIRED"), "pairing");
  for (const code of ["AUTH_TOKEN_MISMATCH", "AUTH_BOOTSTRAP_TOKEN_INVALID", "AUTH_DEVICE_TOKEN_MISMATCH", "CONTROL_UI_ORIGIN_NOT_ALLOWED"]) {
    assert.equal(after(code), "ask", code);
  }
  for (const code of ["AUTH_RATE_LIMITED", "DEVICE_AUTH_SIGNATURE_EXPIRED", undefined]) assert.equal(after(code), "retry", code);
});

test("a device token dies with its device, not with a wrong password", () => {
  assert.equal(tokenIsDead(new GatewayError({ details: { code: "AUTH_DEVICE_TOKEN_MISMATCH" } })), true);
  assert.equal(tokenIsDead(new GatewayError({ details: { code: "AUTH_PASSWORD_MISMATCH" } })), false);
});

test("the wait grows, is spread, has an end, and is never less than what was asked for", () => {
  assert.deepEqual([0, 1, 2, 3].map((attempt) => retryAfter(attempt, 0.5)), [1_000, 2_000, 4_000, 8_000]);
  assert.equal(retryAfter(1_000, 0.5), 30_000);
  assert.equal(retryAfter(0, 0), 750);
  assert.ok(retryAfter(1_000, 1) <= 37_500);
  assert.equal(retryAfter(0, 0, 9_000), 9_000);
  assert.equal(retryAfter(1_000, 0.5, 0, true), 5_000);
});

test("each refusal that asks a person says what to do", () => {
  for (const recommendedNextStep of ["update_auth_configuration", "update_auth_credentials", "review_auth_configuration", "retry_with_device_token"]) {
    assert.match(nextStep(new GatewayError({ details: { code: "X", recommendedNextStep } })), /clawgate (dashboard|doctor)/);
  }
  assert.match(nextStep(new GatewayError({ details: { code: "AUTH_BOOTSTRAP_TOKEN_INVALID" } })), /works once/);
  assert.equal(nextStep(new GatewayError({ message: "m" })), "");
});

test("the page's own gateway is the one beside it, whatever else its address says", () => {
  const before = globalThis.location;
  try {
    for (const [href, want] of [
      ["http://127.0.0.1:18789/", "ws://127.0.0.1:18789/"],
      ["https://gw.example/desk/?gatewayUrl=wss://evil.example/&token=t#nodes", "wss://gw.example/desk/"],
      ["http://gw.local:1/index.html?url=//evil.example/#gateway=ws://evil.example", "ws://gw.local:1/"],
    ]) {
      globalThis.location = { href };
      assert.equal(socketUrl(), want);
    }
  } finally {
    globalThis.location = before;
  }
});
