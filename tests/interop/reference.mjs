// One state folder, two gateways: the reference release 2026.3.13 and clawgate, in both directions.
// Usage: node reference.mjs PATH_OF_CLAWGATE PATH_OF_REFERENCE_FOLDER std|smol
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import path from "node:path";
import {
  GatewayProcess, RawClient, TOKEN, check, clawgate, deviceKey, finish, freePort, gatewayEnv, readJson,
  recordSecret, tempDir, within, writeConfig,
} from "./lib.mjs";

const [binary, referenceDir, runtime] = process.argv.slice(2);
const entry = path.join(referenceDir, "node_modules", "openclaw", "openclaw.mjs");
const stateDir = tempDir(`reference-${runtime}`);
const port = await freePort();
const url = `ws://127.0.0.1:${port}`;
writeConfig(stateDir);

const reference = () =>
  new GatewayProcess(process.execPath, [entry, "gateway", "--port", String(port)], stateDir, port).start(240_000);
const ours = () => clawgate(binary, runtime, stateDir, port).start();
/** The lock of this configuration, where the reference keeps it. */
function readLock() {
  const hash = createHash("sha256").update(path.join(stateDir, "openclaw.json")).digest("hex").slice(0, 8);
  return readJson(path.join("/tmp", `openclaw-${process.getuid()}`, `gateway.${hash}.lock`));
}
const cli = { id: "cli", mode: "cli" };

/** Runs the reference's own command line against whatever listens. */
const referenceCli = (...args) => runIn(stateDir, process.execPath, entry, ...args);
const run = (...args) => runIn(stateDir, ...args);

async function runIn(dir, program, ...args) {
  const child = spawn(program, args, { env: gatewayEnv(dir), cwd: dir });
  let text = "";
  child.stdout.on("data", (chunk) => (text += chunk));
  child.stderr.on("data", (chunk) => (text += chunk));
  const code = await within(90_000, args.join(" "), new Promise((resolve) => child.on("exit", resolve)));
  return { code, text };
}

/** Starts a gateway that the one that runs should keep out, and waits for its end. */
async function second(command, ...args) {
  const child = spawn(command, args, { env: gatewayEnv(stateDir), cwd: stateDir });
  let text = "";
  child.stdout.on("data", (chunk) => (text += chunk));
  child.stderr.on("data", (chunk) => (text += chunk));
  try {
    const code = await within(240_000, "a second gateway", new Promise((resolve) => child.on("exit", resolve)));
    return { code, text };
  } finally {
    child.kill("SIGKILL");
  }
}

/** Whether it was kept out by the lock, and named who has it (compatibility row lock-owner-alive). */
const isKeptOut = ({ code, text }, by) =>
  code === 1 && text.includes(`gateway already running (pid ${by}); lock timeout after 5000ms`);

async function connectOnce(options) {
  const client = new RawClient(url);
  const answer = await client.connect({ protocol: 3, client: cli, ...options });
  const closed = client.close();
  await closed;
  return answer;
}

console.log("paired at the reference");
const theirs = deviceKey();
let gateway = await reference();
const paired = await connectOnce({ key: theirs, token: TOKEN });
check("the reference pairs a device", paired.ok === true, paired.error);
const theirToken = paired.payload?.auth?.deviceToken;
check("and gives it a token", typeof theirToken === "string");
const codeIn = (text) => {
  const line = text.split("\n").map((part) => part.trim()).findLast((part) => /^[A-Za-z0-9_-]{60,}$/.test(part));
  const code = line ? JSON.parse(Buffer.from(line, "base64url").toString("utf8")) : {};
  recordSecret("other", code.bootstrapToken);
  return code.bootstrapToken;
};
const printed = await referenceCli("qr", "--setup-code-only", "--url", url);
const theirCode = codeIn(printed.text);
check("the reference makes a setup code", printed.code === 0 && typeof theirCode === "string", printed.text.length);
const theirLock = readLock();
const locked = await second(binary, "gateway", "--runtime", runtime, "--port", String(await freePort()));
check("clawgate sees its lock", isKeptOut(locked, theirLock.pid), locked.text.slice(-600));
await gateway.stop();

console.log(`the same folder at clawgate, driver ${runtime}`);
gateway = await ours();
const known = await connectOnce({ key: theirs, deviceToken: theirToken });
check("the device token from the reference lets it in", known.ok === true, known.error);
const mine = deviceKey();
const fresh = await connectOnce({ key: mine, token: TOKEN });
check("clawgate pairs another device", fresh.ok === true, fresh.error);
const myToken = fresh.payload?.auth?.deviceToken;
const bearer = deviceKey();
const asking = await connectOnce({ key: bearer, bootstrapToken: theirCode, role: "node", scopes: [] });
check("a code of the reference lets its bearer ask (setup-codes)", asking.error?.details?.code === "PAIRING_REQUIRED", asking.error);
const maker = new RawClient(url);
await maker.connect({ protocol: 4, client: cli, key: mine, token: TOKEN });
const approved = await maker.request("device.pair.approve", { requestId: asking.error?.details?.requestId });
check("and a person approves it", approved.ok === true, approved.error);
const admitted = await connectOnce({ key: bearer, bootstrapToken: theirCode, role: "node", scopes: [] });
check("then it still works, once", admitted.ok === true, admitted.error);
const spent = await connectOnce({ key: bearer, bootstrapToken: theirCode, role: "node", scopes: [] });
check("and no more", spent.error?.details?.code === "AUTH_BOOTSTRAP_TOKEN_INVALID", spent.error);
const made = await maker.request("device.pair.setupCode", { publicUrl: url, bootstrapProfile: "node" });
const myCode = codeIn(made.payload?.setupCode ?? "");
const named = await maker.request("device.pair.rename", { deviceId: bearer.deviceId, label: "Attic" });
check("a code and a name are made", typeof myCode === "string" && named.ok === true, made.error);
await maker.close();
const store = readJson(path.join(stateDir, "devices", "paired.json"));
check("both are in the one store", theirs.deviceId in store && mine.deviceId in store);

console.log("the reference's command line against clawgate");
const target = ["--url", url, "--token", TOKEN];
const health = await referenceCli("gateway", "call", "health", "--json", ...target);
check("gateway call health", health.code === 0 && /"ok": true/.test(health.text), health.text.slice(-600));
const status = await referenceCli("gateway", "call", "status", "--json", ...target);
check("gateway call status", status.code === 0 && /runtimeVersion/.test(status.text), status.text.slice(-600));
const devices = await referenceCli("devices", "list", "--json", ...target);
check("devices list", devices.code === 0 && devices.text.includes(mine.deviceId), devices.text.slice(-600));
const presence = await referenceCli("system", "presence", "--json", ...target);
check("system presence", presence.code === 0 && /"reason": "self"/.test(presence.text), presence.text.slice(-600));
const ourLock = readLock();
check("its lock is ours now", ourLock.pid === gateway.child.pid && ourLock.startTime > 0, ourLock);
const refused = await second(process.execPath, entry, "gateway", "--port", String(port));
check("the reference sees our lock", isKeptOut(refused, ourLock.pid), refused.text.slice(-600));

console.log("the configuration, changed by clawgate");
const configPath = path.join(stateDir, "openclaw.json");
const admin = new RawClient(url);
await admin.connect({ protocol: 3, client: cli, key: mine, deviceToken: myToken });
const shown = await admin.request("config.get", {});
const patch = { gateway: { trustedProxies: ["10.0.0.0/8"], reload: { mode: "hybrid" } }, ui: { seamColor: "#12ab9f" } };
const patched = await admin.request("config.patch", { raw: JSON.stringify(patch), baseHash: shown.payload?.hash });
check("config.patch", patched.ok === true, patched.error);
await admin.close();
await gateway.stop();
for (const [name, value] of [["gateway.controlUi.allowedOrigins", '["https://desk.example"]'], ["hooks.path", "/in"]]) {
  const set = await run(binary, "config", "set", name, value);
  check(`clawgate config set ${name}`, set.code === 0, set.text);
}
const written = readJson(configPath);
check("the token is still there", written.gateway.auth.token === TOKEN);
const valid = await referenceCli("config", "validate", "--json");
check("the reference finds the file valid", valid.code === 0 && /"valid":true/.test(valid.text), valid.text.slice(-600));

for (const name of ["gateway.controlUi.allowedOrigins", "hooks"]) {
  const unset = await run(binary, "config", "unset", name);
  check(`clawgate config unset ${name}`, unset.code === 0, unset.text);
}

console.log("and back at the reference");
gateway = await reference();
const there = await connectOnce({ key: mine, deviceToken: myToken });
check("the device token from clawgate lets it in", there.ok === true, there.error);
const still = await connectOnce({ key: theirs, deviceToken: theirToken });
check("and the older one still does", still.ok === true, still.error);
const byCode = await connectOnce({ key: deviceKey(), bootstrapToken: myCode, role: "node", scopes: [] });
check("a setup code from clawgate lets a node in", byCode.ok === true, byCode.error);
const listed = await referenceCli("devices", "list", "--json", "--url", url, "--token", TOKEN);
check("and the device that was named is there", listed.text.includes(bearer.deviceId), listed.text.slice(-600));
await gateway.stop();

console.log("every way in which clawgate writes a configuration: both gateways start with it");
/** A gateway of ours in this folder, for as long as an admin works there. */
async function whileOurs(dir, work) {
  const port = await freePort();
  const ours = await clawgate(binary, runtime, dir, port).start();
  try {
    const admin = new RawClient(`ws://127.0.0.1:${port}`);
    await admin.connect({ protocol: 3, client: cli, key: deviceKey(), token: tokenIn(dir) });
    await work(admin);
    await admin.close();
  } finally {
    await ours.stop();
  }
}

/** The token that clients are to show, wherever the file came from. */
function tokenIn(dir) {
  const { token } = readJson(path.join(dir, "openclaw.json")).gateway.auth;
  recordSecret("gateway-token", token);
  return token;
}

/** Starts each of the two with what was written and lets a client in with the token of the file. */
async function bothStart(what, dir) {
  for (const [whose, make] of [
    ["the reference", (port) => new GatewayProcess(process.execPath, [entry, "gateway", "--port", String(port)], dir, port)],
    ["clawgate", (port) => clawgate(binary, runtime, dir, port)],
  ]) {
    const port = await freePort();
    const gateway = make(port);
    try {
      await gateway.start(240_000);
      const client = new RawClient(`ws://127.0.0.1:${port}`);
      const answer = await client.connect({ protocol: 3, client: cli, key: deviceKey(), token: tokenIn(dir) });
      check(`${what}: ${whose} starts and lets a client in`, answer.ok === true, answer.error);
      await client.close();
    } catch (why) {
      check(`${what}: ${whose} starts and lets a client in`, false, String(why).slice(-1500));
    } finally {
      await gateway.stop();
    }
  }
}

const setupDir = tempDir(`reference-setup-${runtime}`);
const setUp = await runIn(setupDir, binary, "setup", "--non-interactive", "--port", String(await freePort()));
check("clawgate setup without a terminal", setUp.code === 0, setUp.text);
await bothStart("setup", setupDir);

const firstDir = tempDir(`reference-first-${runtime}`);
await (await clawgate(binary, runtime, firstDir, await freePort()).start()).stop();
await bothStart("a first start", firstDir);

const bareDir = tempDir(`reference-bare-${runtime}`);
writeFileSync(path.join(bareDir, "openclaw.json"), "// mine\n{gateway: {mode: 'local'}, ui: {seamColor: '#12ab9f'}}\n");
await (await clawgate(binary, runtime, bareDir, await freePort()).start()).stop();
await bothStart("a token for a file without one", bareDir);

const shellDir = tempDir(`reference-shell-${runtime}`);
const shell = (...args) => runIn(shellDir, binary, "config", ...args);
for (const [name, value] of [
  ["gateway.port", String(await freePort())],
  ["gateway.auth", '{mode: "token", token: "cLaWmArKeR-set-in-a-shell"}'],
  ["gateway.bind", "auto"],
  ["agents.list[0]", '{id: "main", default: true, name: "Ann"}'],
  ["agents.list[1].id", "second"],
  ["hooks", '{enabled: true, token: "cLaWmArKeR-of-hooks", allowedSessionKeyPrefixes: ["hook:"]}'],
  ["logging", '{level: "debug", maxFileBytes: 200000}'],
]) {
  const set = await shell("set", name, value);
  check(`clawgate config set ${name}, from nothing`, set.code === 0, set.text);
}
check("clawgate config unset", (await shell("unset", "agents.list[0].name")).code === 0);
for (const [name, value] of [
  ["gateway.auth.mode", "password"],
  ["gateway.bind", "custom"],
  ["gateway.mode", "null"],
  ["gateway.tailscale.mode", "serve"], // with the bind "auto" of above
  ["gateway.tailscale.mode", "funnel"],
  ["gateway", '{mode: "local", auth: {token: "cLaWmArKeR-set-in-a-shell"}, tailscale: {mode: "funnel"}}'],
  ["hooks", '{enabled: true, token: "cLaWmArKeR-set-in-a-shell"}'],
  ["hooks", "{enabled: true}"],
  ["hooks", '{enabled: true, token: "cLaWmArKeR-of-hooks", path: "/"}'],
  ["hooks", '{enabled: true, token: "cLaWmArKeR-of-hooks", allowedSessionKeyPrefixes: ["a:"]}'],
]) {
  const refused = await shell("set", name, value);
  // What is printed here is searched for secrets.
  const shown = value.replace(/"cLaWmArKeR[^"]*"/g, '"..."');
  check(`clawgate config set ${name} ${shown} is refused`, refused.code === 1, refused.text);
}
await bothStart("config set and unset", shellDir);

for (const method of ["config.set", "config.apply", "config.patch"]) {
  const dir = tempDir(`reference-${method}-${runtime}`);
  writeConfig(dir);
  await whileOurs(dir, async (client) => {
    const { payload } = await client.request("config.get", {});
    const change = {
      gateway: { reload: { mode: "hot", debounceMs: 500 }, nodes: { denyCommands: ["camera.snap"] } },
      logging: { level: "warn" }, discovery: { mdns: { mode: "off" } }, canvasHost: { enabled: false },
      session: { scope: "per-sender" }, env: { vars: { KILN: "hot" } },
    };
    const whole = { ...payload.parsed, ...change, gateway: { ...payload.parsed.gateway, ...change.gateway } };
    const raw = JSON.stringify(method === "config.patch" ? change : whole);
    const answer = await client.request(method, { raw, baseHash: payload.hash });
    check(`${method} over the wire`, answer.ok === true, answer.error);
  });
  await bothStart(method, dir);
}

const wizardDir = tempDir(`reference-wizard-${runtime}`);
writeConfig(wizardDir);
const wizardPort = String(await freePort());
await whileOurs(wizardDir, async (client) => {
  let at = (await client.request("wizard.start", { mode: "local" })).payload;
  const { sessionId } = at;
  while (at && !at.done) {
    const value = at.step.id === "port" ? wizardPort : "";
    at = (await client.request("wizard.next", { sessionId, answer: { stepId: at.step.id, value } })).payload;
  }
  check("a set-up over the wire", at?.status === "done", at);
  check("and what the gateway keeps beside it", (await client.request("voicewake.set", { triggers: ["hey"] })).ok);
});
await bothStart("wizard and voicewake", wizardDir);
finish();
