// The published GatewayClient (protocol 4) and a hand-made protocol 3 client, against one driver.
// Usage: node client.mjs PATH_OF_CLAWGATE std|smol
import { GatewayClient } from "@openclaw/gateway-client";
import { GatewayScopeUpgrade } from "@openclaw/gateway-client/scope-upgrade";
import {
  RawClient, RecordingProxy, TOKEN, check, clawgate, deviceKey, finish, freePort, identityOf, recordSecret, sleep,
  tempDir, within, writeConfig,
} from "./lib.mjs";
import { readFileSync } from "node:fs";
import { Schema } from "./schema.mjs";

/** Methods whose scope changed between the published registry and release 2026.9.6. */
const MOVED = ["users.self", "environments.list", "sessions.github.publish"];

const [binary, runtime] = process.argv.slice(2);
const stateDir = tempDir(`interop-${runtime}`);
const port = await freePort();
const url = `ws://127.0.0.1:${port}`;
writeConfig(stateDir);
const schema = new Schema();

/** A table of the specification: lines of columns, `#` before remarks. */
const table = (name) =>
  readFileSync(new URL(name, import.meta.url), "utf8").split("\n").filter((line) => line && !line.startsWith("#"))
    .map((line) => line.split("\t"));

/** A published client that keeps what happens to it. */
function publishedClient(target, key, tokens, options = {}) {
  const seen = { hellos: [], events: [], closes: [], errors: [], gaps: [], paused: [] };
  const wakers = [];
  const wake = () => wakers.splice(0).forEach((waker) => waker());
  const note = (list) => (...values) => {
    list.push(values.length === 1 ? values[0] : values);
    wake();
  };
  const client = new GatewayClient({
    url: target,
    clientName: "cli",
    mode: "cli",
    clientVersion: "1.0.0",
    platform: "linux",
    role: "operator",
    scopes: ["operator.admin"],
    ...identityOf(key, tokens),
    onHelloOk: note(seen.hellos),
    onEvent: note(seen.events),
    onClose: note(seen.closes),
    onConnectError: note(seen.errors),
    onGap: note(seen.gaps),
    onReconnectPaused: note(seen.paused),
    ...options,
  });
  const until = async (what, test, boundMs = 15_000) => {
    const limit = Date.now() + boundMs;
    while (!test()) {
      if (Date.now() > limit) throw new Error(`${what}: not within ${boundMs} ms; errors ${seen.errors.join("; ")}`);
      await Promise.race([new Promise((resolve) => wakers.push(resolve)), sleep(100)]);
    }
  };
  return { client, seen, until };
}

const gateway = await clawgate(binary, runtime, stateDir, port).start();
console.log(`published client, protocol 4, driver ${runtime}`);

const key = deviceKey();
const tokens = new Map();
const proxy = new RecordingProxy(url);
const proxied = await proxy.listen();

{
  const { client, seen, until } = publishedClient(proxied, key, tokens, { token: TOKEN });
  client.start();
  await until("hello-ok", () => seen.hellos.length > 0);
  const hello = seen.hellos[0];
  check("hello-ok speaks protocol 4", hello.protocol === 4, hello.protocol);
  check("the device was paired silently and got a token", typeof hello.auth?.deviceToken === "string");
  check("the client stored the token", tokens.get("operator")?.token === hello.auth.deviceToken);
  check("its scopes are what it asked for", hello.auth.scopes.join() === "operator.admin", hello.auth.scopes);
  const status = await client.request("status", {});
  check("status answers", typeof status.runtimeVersion === "string", status);
  const health = await client.request("health", {});
  check("health answers", health.ok === true, health);
  const presence = await client.request("system-presence", {});
  check("system-presence names the gateway", presence.some((entry) => entry.reason === "self"), presence);
  const info = await client.request("system.info", {});
  check("system.info answers", typeof info.hostname === "string", info);
  const identity = await client.request("gateway.identity.get", {});
  check("gateway.identity.get answers", /^[0-9a-f]{64}$/.test(identity.deviceId), identity);
  const list = await client.request("device.pair.list", {});
  check("device.pair.list shows this device", list.paired.some((row) => row.deviceId === key.deviceId));
  const unknown = await client.request("no.such.method", {}).catch((error) => error);
  check("an unknown method is refused by name", /unknown method: no\.such\.method/.test(String(unknown)), String(unknown));

  // Every method that is answered: its params fit the published schema, and so, at the end, do all results.
  const answers = table("answers.tsv").filter(([, protocols]) => protocols.includes("4"));
  const forNodes = new Set(table("v4.tsv").filter(([, scope]) => scope === "node").map(([name]) => name));
  let answered = 0;
  let defined = 0;
  for (const [method, , , text, outcome] of answers) {
    const params = JSON.parse(text);
    const definition = schema.definition(method, "Params");
    if (definition) {
      const wrong = schema.errors(definition, params);
      // Either name of a session will do, and the schema leaves it to the gateway to say so.
      if (outcome === "ok") check(`${method}: params fit ${definition}`, wrong.length === 0, wrong);
    }
    if (forNodes.has(method)) continue;
    const answer = await client.request(method, params).then(() => "ok", (error) => String(error.message ?? error));
    if (answer !== outcome) check(`${method} ${text} answers ${outcome}`, false, answer);
    else answered += 1;
    if (outcome === "ok" && schema.definition(method, "Result")) defined += 1;
  }
  check(`${answered} calls are answered as expected, ${defined} of them with a defined result`, answered > 90 && defined > 40);
  // The gateway takes what the published schema takes, and refuses what it refuses.
  const judged = { good: 0, bad: 0 };
  const wrongly = [];
  for (const [method, , , text] of answers) {
    if (method === "connect" || forNodes.has(method)) continue;
    for (const { params, fits } of schema.variants(method, JSON.parse(text))) {
      const message = await client.request(method, params).then(async (answer) => {
        // A gateway that was suspended for the question looks at nothing else until it is resumed.
        const suspensionId = method === "gateway.suspend.prepare" && answer.suspensionId;
        if (suspensionId) await client.request("gateway.suspend.resume", { suspensionId });
        return "ok";
      }, (error) => String(error.message ?? error));
      // Control-plane writes have a budget, and what is over it is not looked at.
      if (message.startsWith("rate limit exceeded")) continue;
      const refused = message.startsWith(`invalid ${method} params`);
      judged[fits ? "good" : "bad"] += 1;
      if (refused === fits) wrongly.push(`${method} ${JSON.stringify(params)}: ${message}`);
    }
  }
  check(`params are judged like the published schema: ${judged.good} good, ${judged.bad} bad`, wrongly.length === 0, wrongly);
  const named = new Set(hello.features.methods);
  const strange = [...named].filter((method) => !(method in schema.methods) && !table("v4.tsv").some(([name]) => name === method));
  check("every method named in hello-ok is one of the protocol", strange.length === 0, strange);

  // A ui-mode client is tracked, so that its coming and going moves presence.
  const other = new RawClient(url);
  await other.connect({ protocol: 4, key: deviceKey(), token: TOKEN });
  await other.close();
  const got = (name) => seen.events.some((event) => event.event === name);
  await until("presence event", () => got("presence"));
  await until("health event", () => got("health"));
  await until("tick event", () => got("tick"), 40_000);
  const numbers = seen.events.filter((event) => event.seq !== undefined).map((event) => event.seq);
  check("events are numbered 1, 2, 3, ...", numbers.every((seq, at) => seq === at + 1), numbers);
  check("no gap was seen", seen.gaps.length === 0, seen.gaps);
  await client.stopAndWait?.().catch(() => {});
  client.stop();
}

{
  console.log("approvals and questions between two published clients");
  const scopes = ["operator.admin"];
  const page = publishedClient(proxied, deviceKey(), new Map(), { token: TOKEN, scopes, caps: ["approvals"] });
  const tool = publishedClient(proxied, deviceKey(), new Map(), { token: TOKEN, scopes });
  for (const { client, seen, until } of [page, tool]) {
    client.start();
    await until("hello-ok", () => seen.hellos.length > 0);
  }
  const told = (name, id) => page.seen.events.find((event) => event.event === name && event.payload.id === id);
  const shown = (approval) => [approval.status, approval.decision, approval.reason].join(" ");
  for (const [id, decision, outcome] of [["a", "allow-once", "allowed allow-once user"], ["b", "deny", "denied deny user"]]) {
    const params = {
      id, command: "ls -l", host: "gateway", agentId: "main", sessionKey: "agent:main:main", warningText: "careful",
      scope: { kind: "external-post", target: "here", visibility: "public" }, timeoutMs: 30_000,
    };
    const asked = tool.client.request("exec.approval.request", params);
    await page.until("the request", () => told("exec.approval.requested", id));
    const pending = await page.client.request("approval.get", { id });
    check(`${id} is pending, with its session`, pending.approval.sourceSessionKey === "agent:main:main", pending);
    const resolved = await page.client.request("approval.resolve", { id, kind: "exec", decision });
    check(`${id} is ${outcome}`, resolved.applied && shown(resolved.approval) === outcome, resolved);
    check(`${id} is told its asker`, (await asked).decision === decision);
  }
  const soon = { id: "c", command: "ls", timeoutMs: 50, twoPhase: true };
  await tool.client.request("exec.approval.request", soon);
  await tool.client.request("exec.approval.waitDecision", { id: "c" });
  const expired = await page.client.request("approval.get", { id: "c" });
  check("c ends at its deadline", shown(expired.approval) === "expired  timeout", expired);
  const plugin = { title: "Send", description: "mail", detail: "to all", severity: "critical", pluginId: "mail", twoPhase: true };
  const { id } = await tool.client.request("plugin.approval.request", plugin);
  const allowed = await page.client.request("approval.resolve", { id, kind: "plugin", decision: "allow-always" });
  check("a plugin is allowed", shown(allowed.approval) === "allowed allow-always user", allowed);
  // The gateway must have seen it go, which it may after this client has.
  const openSockets = async () => (await tool.client.request("status", {})).gateway.sockets.open;
  const before = await openSockets();
  await page.client.stopAndWait?.().catch(() => {});
  page.client.stop();
  for (let tries = 0; tries < 100 && (await openSockets()) >= before; tries += 1) await sleep(50);
  const unrouted = await tool.client.request("exec.approval.request", { id: "d", command: "ls", twoPhase: true });
  check("d reaches nobody and ends at once", unrouted.decision === null && unrouted.status === undefined, unrouted);
  const history = await tool.client.request("approval.history", { limit: 4 });
  check("the history has all, in pages", history.items.length === 4 && history.items[0].id === "d" && !!history.nextCursor, history);
  const question = { questionId: "q", header: "Colour", question: "Which?", options: [{ label: "red" }] };
  await tool.client.request("question.request", { id: "q1", questions: [question] });
  await tool.client.request("question.waitAnswer", { id: "q1", timeoutMs: 20 });
  const answers = { answers: { q: ["red"] } };
  const answered = await tool.client.request("question.resolve", { id: "q1", answers });
  check("a question is answered", answered.status === "answered", answered);
  await tool.client.request("question.get", { id: "q1" });
  await tool.client.request("question.request", { id: "q2", questions: [question] });
  await tool.client.request("question.list", {});
  await tool.client.request("question.resolve", { id: "q2", cancel: true });
  await tool.until("question.resolved", () => tool.seen.events.some((event) => event.event === "question.resolved"));
  const file = await tool.client.request("exec.approvals.get", {});
  const rules = { version: 1, agents: { main: { allowlist: [{ pattern: "/bin/ls" }] } } };
  const base = file.exists ? { baseHash: file.hash } : {};
  const set = await tool.client.request("exec.approvals.set", { file: rules, ...base });
  check("the file of exec approvals is changed", set.file.agents.main.allowlist[0].pattern === "/bin/ls", set);
  await tool.client.stopAndWait?.().catch(() => {});
  tool.client.stop();
}

{
  console.log("setup codes, and more scopes");
  const { client: admin, seen: told, until: untilTold } = publishedClient(proxied, key, tokens);
  admin.start();
  await untilTold("hello-ok", () => told.hellos.length > 0);
  const name = (event) => told.events.filter((have) => have.event === event).map((have) => have.payload);
  const make = async (params) => {
    const answer = await admin.request("device.pair.setupCode", { publicUrl: proxied, ...params });
    const code = JSON.parse(Buffer.from(answer.setupCode, "base64url").toString("utf8"));
    recordSecret("other", code.bootstrapToken);
    check("a setup code names the gateway and when it ends", code.url === answer.gatewayUrl && code.expiresAtMs === answer.expiresAtMs);
    return { ...code, setupId: answer.setupId };
  };
  const phone = { clientName: "openclaw-ios", platform: "iOS 18.4", deviceFamily: "iPhone", mode: "node", role: "node", scopes: [] };
  const host = { clientName: "node-host", mode: "node", role: "node", scopes: [] };
  // How it ends for a client that has a code and nothing else.
  const redeem = async (code, device, who) => {
    const held = new Map();
    const { client, seen, until } = publishedClient(code.url, device, held, { ...who, bootstrapToken: code.bootstrapToken });
    client.start();
    await until("an end", () => seen.hellos.length > 0 || seen.paused.length > 0 || seen.errors.length > 0);
    const hello = seen.hellos[0];
    await client.stopAndWait?.().catch(() => {});
    client.stop();
    return { hello, held, why: seen.errors.join("; ") };
  };
  const code = await make({ bootstrapProfile: "limited" });
  const pocket = deviceKey();
  const first = await redeem(code, pocket, phone);
  check("a phone is let in by a setup code", first.hello?.auth.role === "node", first.why);
  const handed = first.hello?.auth.deviceTokens?.[0];
  recordSecret("device-token", handed?.deviceToken);
  const scopes = ["operator.approvals", "operator.questions", "operator.read", "operator.talk.secrets", "operator.write"];
  check("and is given the operator's token too", handed?.role === "operator" && handed.scopes.join() === scopes.join(), handed?.scopes);
  await untilTold("completion", () => name("device.pair.setup.completed").some((done) => done.setupId === code.setupId));
  const status = await admin.request("device.pair.setupStatus", { setupId: code.setupId });
  check("its use is known", status.completion?.deviceId === pocket.deviceId, status);
  for (const [who, device] of [["the same phone", pocket], ["another", deviceKey()]]) {
    const again = await redeem(code, device, phone);
    check(`a used code is none for ${who}`, !again.hello && /already used/.test(again.why), again.why);
  }
  const asOperator = { ...phone, role: "operator", scopes };
  const held = new Map([["operator", { token: handed?.deviceToken, role: "operator", scopes, updatedAtMs: Date.now() }]]);
  const operator = publishedClient(proxied, pocket, held, asOperator);
  operator.client.start();
  await operator.until("hello-ok with the handed token", () => operator.seen.hellos.length > 0);
  const denied = await operator.client.request("config.set", { raw: "{}" }).catch((error) => String(error.message ?? error));
  check("and never has more than the code was for", /operator\.admin/.test(String(denied)), denied);
  operator.client.stop();

  const forNodes = await make({ bootstrapProfile: "node" });
  const greedy = await redeem(forNodes, deviceKey(), { clientName: "cli", mode: "cli", role: "operator", scopes: ["operator.admin"] });
  check("a code for nodes makes no operator", !greedy.hello && /setup code invalid/.test(greedy.why), greedy.why);
  const node = await redeem(forNodes, deviceKey(), host);
  check("and still lets a node in", node.hello?.auth.role === "node" && !node.hello.auth.deviceTokens, node.why);

  const more = publishedClient(proxied, deviceKey(), new Map(), { token: TOKEN, scopes: ["operator.read"] });
  more.client.start();
  await more.until("hello-ok", () => more.seen.hellos.length > 0);
  let upgraded;
  const upgrade = new GatewayScopeUpgrade({
    request: (method, params, options) => more.client.request(method, params, options),
    tokenStore: { store: (stored) => { recordSecret("device-token", stored.token); upgraded = stored; } },
    reconnect: () => {},
  });
  const binding = { clientId: "cli", deviceId: "d", role: "operator" };
  const wanted = upgrade.requestScopeUpgrade({
    scopes: ["operator.write"],
    binding,
    onPending: (requestId) => admin.request("device.pair.approve", { requestId }),
  });
  const outcome = await within(15_000, "an upgrade", wanted);
  check("the published client waits for more scopes", outcome.status === "approved" && upgraded?.scopes.join() === "operator.read,operator.write", outcome);
  more.client.stop();
  admin.stop();
}

{
  console.log("reconnect with the stored device token, over a restart");
  const { client, seen, until } = publishedClient(url, key, tokens);
  client.start();
  await until("hello-ok by device token", () => seen.hellos.length > 0);
  check("the device token alone lets it in", seen.hellos[0].auth.role === "operator");
  const before = tokens.get("operator").token;
  const end = await gateway.stop();
  check("SIGTERM ends the gateway with status 0", end?.code === 0, end);
  await until("close", () => seen.closes.length > 0);
  check("the client saw shutdown", seen.events.some((event) => event.event === "shutdown"));
  check("the client was closed 1012 service restart", seen.closes[0][0] === 1012, seen.closes[0]);
  const again = await clawgate(binary, runtime, stateDir, port).start();
  await until("hello-ok after the restart", () => seen.hellos.length > 1, 40_000);
  check("it came back with the same device token", tokens.get("operator").token === before);
  check("and works", (await client.request("health", {})).ok === true);
  client.stop();

  console.log("protocol 3, by hand");
  const old = deviceKey();
  const first = new RawClient(url);
  const hello = await first.connect({ protocol: 3, key: old, token: TOKEN, client: { id: "cli", mode: "cli" } });
  check("hello-ok speaks protocol 3", hello.payload?.protocol === 3, hello.error);
  const deviceToken = hello.payload?.auth?.deviceToken;
  check("it got a device token", typeof deviceToken === "string");
  for (const method of ["status", "health", "system-presence"]) {
    const answer = await first.request(method, {});
    check(`${method} answers`, answer.ok === true, answer.error);
  }
  await first.event("health");
  const other = new RawClient(url);
  await other.connect({ protocol: 3, key: deviceKey(), token: TOKEN });
  await other.close();
  await first.event("presence");
  await first.event("tick", 40_000);
  const numbers = first.frames.filter((frame) => frame.seq !== undefined).map((frame) => frame.seq);
  check("events are numbered 1, 2, 3, ...", numbers.every((seq, at) => seq === at + 1), numbers);
  await again.stop();
  const closed = await within(5_000, "close", first.closed);
  check("it was closed 1012 service restart", closed.code === 1012 && closed.reason === "service restart", closed);
  check("after a shutdown event", first.frames.some((frame) => frame.event === "shutdown"));
  const third = await clawgate(binary, runtime, stateDir, port).start();
  const second = new RawClient(url);
  const back = await second.connect({ protocol: 3, key: old, deviceToken, client: { id: "cli", mode: "cli" } });
  check("it came back with its device token", back.ok === true, back.error);
  await second.close();
  await third.stop();
}

{
  console.log("the published registry");
  // 2026.9.6 has other scopes for these than the registry of 2026.9.1.
  const moved = new Set(MOVED);
  const differs = [];
  for (const [method, scope] of table("v4.tsv")) {
    const published = schema.methods[method]?.scope;
    if (!published || moved.has(method)) continue;
    const ours = { dyn: "dynamic", node: "node", none: published }[scope] ?? `operator.${scope}`;
    if (ours !== published) differs.push(`${method}: ${ours}, published ${published}`);
  }
  check("the table of scopes agrees with it", differs.length === 0, differs);
}

console.log("the published schema");
let frames = 0;
const wrong = new Set();
for (const connection of proxy.connections) {
  frames += connection.sent.length;
  for (const error of schema.connection(connection)) wrong.add(error);
}
check(`${frames} frames fit it`, frames > 10 && wrong.size === 0, [...wrong].slice(0, 20));
for (const [name, count] of schema.checked) console.log(`       ${name} x ${count}`);
proxy.close();
finish();
