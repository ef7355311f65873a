// The reference's own command line, unmodified, against clawgate and against its own gateway: the same exit codes, and
// the same output apart from data. Usage: node cli.mjs PATH_OF_CLAWGATE PATH_OF_REFERENCE_FOLDER RELEASE [std|smol ...]
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { GatewayProcess, RawClient, TOKEN, check, clawgate, deviceKey, finish, freePort, gatewayEnv, tempDir, within }
  from "./lib.mjs";

const [binary, referenceDir, release, ...drivers] = process.argv.slice(2);
const runtimes = drivers.length > 0 ? drivers : ["std", "smol"];
const entry = path.join(referenceDir, "node_modules", "openclaw", "openclaw.mjs");

/**
 * What is run with each release. `json`: the output is JSON, and its shape is compared; else its lines are, with what stands for data
 * taken out. `explicit`: it also takes `--url` and `--token`; `"only"`: nothing else is asked of it. `differs`: rows of docs/compatibility.md, each with what
 * it may change: members of the JSON by their path, or lines. `data`: the same, where it depends on who did what before.
 */
const COMMANDS_OF = {
  "2026.3.13": [
    { args: ["gateway", "call", "health"], explicit: true, json: true },
    { args: ["gateway", "status", "--json"], explicit: true, json: true },
    { args: ["gateway", "probe", "--json"], explicit: true, json: true },
    { args: ["gateway", "probe"], explicit: true },
    { args: ["health", "--json"], json: true },
    { args: ["health"], differs: { "no-agent": [/^Heartbeat interval:/] } },
    { args: ["status", "--json"], json: true },
    { args: ["status"] },
    { args: ["devices", "list", "--json"], explicit: true, json: true },
    { args: ["devices", "list"] },
    { args: ["nodes", "status"], explicit: true },
    { args: ["nodes", "pending"], explicit: true },
    { args: ["nodes", "list"], explicit: true },
    { args: ["system", "presence"], explicit: true, json: true },
    { args: ["system", "event", "--text", "hello", "--mode", "now"], explicit: true },
    { args: ["system", "heartbeat", "last"], explicit: true, differs: { "no-agent": [/./] } },
    { args: ["system", "heartbeat", "enable"], explicit: true, json: true },
    { args: ["logs", "--limit", "5", "--json"], explicit: true, ndjson: true },
    { args: ["cron", "list"], explicit: true },
    { args: ["cron", "status"], explicit: true, json: true },
    {
      args: ["approvals", "get", "--gateway", "--json"],
      explicit: true,
      json: true,
      differs: { "exec-approvals-read": [/^file\.socket\.path: missing/] },
    },
    { args: ["config", "get", "gateway.port"] },
  ],
  // What traces v4/cli-* recorded, as far as it needs no node.
  "2026.9.6": [
    {
      args: ["gateway", "call", "health"],
      explicit: "only",
      json: true,
      differs: { "fewer-members": [/^modelRuntime: missing/, /^eventLoop\.cpuBreakdown: missing/] },
    },
    { args: ["gateway", "status"], explicit: "only", differs: { "bind-never-widens": [/^Listening:/] } },
    { args: ["gateway", "probe"], explicit: "only" },
    { args: ["devices", "list"], explicit: "only" },
    { args: ["devices", "list", "--json"], explicit: "only", json: true },
    { args: ["nodes", "status"], explicit: "only" },
    { args: ["nodes", "pending", "--json"], explicit: "only", json: true },
    // Who else was there lately is data, and entries of clients have more members than the gateway's own.
    { args: ["system", "presence"], explicit: "only", json: true, data: [/^\[\]\.(onlineSince|roles): new/] },
    { args: ["system", "event", "--text", "hello", "--mode", "now"], explicit: "only" },
    {
      args: ["approvals", "get", "--gateway"],
      explicit: "only",
      differs: { "exec-approvals-read": [/^State /, /^Socket /] },
    },
  ],
};
const COMMANDS = COMMANDS_OF[release];

/** The ways a command is run: with what is configured, and with an address of its own. */
function variants({ args, explicit }) {
  const name = args.join(" ");
  const [usual, named] = [{ name, more: () => [] }, { name: `${name} --url`, more: (url) => ["--url", url, "--token", TOKEN] }];
  if (explicit === "only") return [named];
  return explicit ? [usual, named] : [usual];
}

/** A gateway of either kind in a fresh folder, and everything its command line says there. */
async function record(kind, runtime) {
  const port = await freePort();
  const stateDir = tempDir(`cli-${runtime ?? "reference"}`);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const config = { gateway: { mode: "local", port, auth: { mode: "token", token: TOKEN } } };
  writeFileSync(path.join(stateDir, "openclaw.json"), JSON.stringify(config, null, 2), { mode: 0o600 });
  const gateway =
    kind === "reference"
      ? new GatewayProcess(process.execPath, [entry, "gateway", "--port", String(port)], stateDir, port)
      : clawgate(binary, runtime, stateDir, port);
  await gateway.start(240_000);
  const url = `ws://127.0.0.1:${port}`;
  // Once, so that whatever a first connection makes is made for all.
  await run(stateDir, ["gateway", "call", "health"]);
  const said = new Map();
  for (const command of COMMANDS) {
    for (const { name, more } of variants(command)) {
      said.set(name, await run(stateDir, [...command.args, ...more(url)]));
    }
  }
  if (release === "2026.3.13") said.set("devices approve", await approve(stateDir, url));
  await gateway.stop();
  return said;
}

/** A device from elsewhere waits, and the command line lets it in. */
async function approve(stateDir, url) {
  const key = deviceKey();
  const waiting = new RawClient(url, { headers: { "x-forwarded-for": "203.0.113.9" } });
  const refused = await waiting.connect({ protocol: 3, key, token: TOKEN, scopes: ["operator.read"] });
  await waiting.closed;
  const request = refused.error?.details?.requestId;
  const approved = await run(stateDir, ["devices", "approve", String(request), "--json"]);
  return { ...approved, text: approved.text.replaceAll(key.deviceId, "").replaceAll(String(request), "") };
}

async function run(stateDir, args) {
  const child = spawn(process.execPath, [entry, ...args], { env: gatewayEnv(stateDir), cwd: stateDir });
  let [text, said] = ["", ""];
  child.stdout.on("data", (chunk) => (text += chunk));
  child.stderr.on("data", (chunk) => (said += chunk));
  const code = await within(120_000, args.join(" "), new Promise((resolve) => child.on("exit", resolve)));
  return { code, text, said };
}

/** Keys and types; lists by what they may hold. */
function shape(value) {
  if (Array.isArray(value)) return value.length === 0 ? "list" : { "[]": value.map(shape).reduce(merge) };
  if (value === null || typeof value !== "object") return value === null ? "null" : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner)]));
}

function merge(a, b) {
  if (typeof a !== "object" || typeof b !== "object") return a;
  return { ...a, ...b };
}

/** Where two shapes differ. An empty list and `null` say nothing about what they could hold. */
function differences(want, got, at = "") {
  if (want === undefined || got === undefined) return [`${at}: ${want === undefined ? "new" : "missing"}`];
  if (["list", "null"].includes(want) || ["list", "null"].includes(got)) return [];
  if (typeof want !== "object" || typeof got !== "object") return want === got ? [] : [`${at}: ${JSON.stringify(want)} became ${JSON.stringify(got)}`];
  const keys = new Set([...Object.keys(want), ...Object.keys(got)]);
  return [...keys].flatMap((key) => differences(want[key], got[key], at === "" ? key : `${at}.${key}`));
}

/** The lines of a text without what is data: numbers, ids, times, paths, what a table's cells hold. */
function skeleton(text) {
  const plain = text
    .replaceAll(/[│┌┐└┘├┤┬┴┼─]+/g, " ")
    .replaceAll(/~?\/[^\s)]+/g, "PATH")
    .replaceAll(/\b[0-9a-f]{8,}\b/g, "ID")
    .replaceAll(/\d+/g, "N");
  return plain.split("\n").map((line) => line.replaceAll(/\s+/g, " ").trim()).filter((line) => line !== "");
}

function parse(text) {
  const start = text.search(/[[{]/);
  return JSON.parse(text.slice(start));
}

function compare(name, command, want, got) {
  check(`${name}: exit code`, got.code === want.code, { want: want.code, got: got.code, said: got.said.slice(-400) });
  if (command.json) {
    let found;
    try {
      found = differences(shape(parse(want.text)), shape(parse(got.text)));
    } catch (why) {
      found = [`no JSON: ${why.message}`];
    }
    const left = found.filter((difference) => !allowed(command, difference));
    check(`${name}: shape`, left.length === 0, left.slice(0, 12));
  } else if (command.ndjson) {
    // A notice says that there was more than was asked for, which is data.
    const types = (text) => text.split("\n").filter(Boolean).map((line) => JSON.parse(line).type);
    const kinds = (text) => new Set(types(text).filter((type) => type !== "notice"));
    const missing = [...kinds(want.text)].filter((kind) => !kinds(got.text).has(kind));
    check(`${name}: kinds of lines`, missing.length === 0, missing);
  } else {
    const [before, after] = [skeleton(want.text), skeleton(got.text)];
    const left = [
      ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
      ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
    ].filter((line) => !allowed(command, line.slice(2)));
    check(`${name}: lines`, left.length === 0, left.slice(0, 12));
  }
}

function allowed(command, difference) {
  const patterns = [...Object.values(command.differs ?? {}).flat(), ...(command.data ?? [])];
  return patterns.some((pattern) => pattern.test(difference));
}

console.log(`the command line of ${release} at its own gateway`);
const want = await record("reference");
for (const runtime of runtimes) {
  console.log(`the same at clawgate, driver ${runtime}`);
  const got = await record("clawgate", runtime);
  for (const command of COMMANDS) {
    for (const { name } of variants(command)) {
      check(`${name}: succeeds at its own gateway`, want.get(name).code === 0, want.get(name).said.slice(-300));
      compare(name, command, want.get(name), got.get(name));
    }
  }
  const approved = "devices approve";
  if (want.has(approved)) compare(approved, { json: true }, want.get(approved), got.get(approved));
}
finish();
