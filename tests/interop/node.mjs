// Node hosts and gateways of both kinds: `clawgate node run` at the reference release 2026.3.13, and that release's node
// host at clawgate. Paired by a person, approved, invoked with and without an approval, killed and back again.
// Usage: node node.mjs PATH_OF_CLAWGATE PATH_OF_REFERENCE_FOLDER reference|reference-2026.9.6|std|smol   (whose gateway it is)
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  GatewayProcess, RawClient, TOKEN, check, clawgate, deviceKey, finish, freePort, fromElsewhere, gatewayEnv, readJson, sleep,
  tempDir, until, within, writeConfig,
} from "./lib.mjs";

const [binary, referenceDir, where] = process.argv.slice(2);
const entry = path.join(referenceDir, "node_modules", "openclaw", "openclaw.mjs");
const isReference = where.startsWith("reference");
const protocol = where === "reference" ? 3 : 4;
const stateDir = tempDir(`node-gateway-${where}`);
const port = await freePort();
writeConfig(stateDir);
if (isReference && protocol === 4) {
  // It refuses whoever comes through a proxy that it does not trust.
  const file = path.join(stateDir, "openclaw.json");
  const config = readJson(file);
  config.gateway.trustedProxies = ["127.0.0.1"];
  writeFileSync(file, JSON.stringify(config));
}
const start = () =>
  isReference
    ? new GatewayProcess(process.execPath, [entry, "gateway", "--port", String(port)], stateDir, port).grouped().start(240_000)
    : clawgate(binary, where, stateDir, port).grouped().start();

/** A node host in a home folder of its own. A supervised one is started again when it ends by itself: the reference's
 * leaves when its gateway does, and when it has to wait for a person. */
class NodeHost {
  constructor(name, command, args, isSupervised) {
    this.home = tempDir(`node-${name}`);
    mkdirSync(this.home, { recursive: true });
    Object.assign(this, { command, args, isSupervised, output: "" });
    process.once("exit", () => this.kill("SIGKILL"));
  }

  start() {
    this.isEnding = false;
    const env = { ...gatewayEnv(this.home), OPENCLAW_GATEWAY_TOKEN: TOKEN };
    // In a group of its own: the reference's program starts another process that is the host.
    this.child = spawn(this.command, this.args, { env, cwd: this.home, detached: true });
    this.exited = new Promise((resolve) => this.child.on("exit", (code, signal) => resolve({ code, signal })));
    const keep = (chunk) => (this.output = (this.output + chunk).slice(-100_000));
    this.child.stdout.on("data", keep);
    this.child.stderr.on("data", keep);
    this.exited.then(() => {
      if (this.isSupervised && !this.isEnding) setTimeout(() => this.start(), 500);
    });
    return this;
  }

  async says(text, boundMs = 60_000) {
    const until = Date.now() + boundMs;
    while (!this.output.includes(text)) {
      if (Date.now() > until) throw new Error(`the node host does not say ${text}: ${this.output.slice(-2000)}`);
      await sleep(50);
    }
  }

  kill(signal) {
    try {
      process.kill(-this.child.pid, signal);
    } catch {
      // it has ended
    }
  }

  async end(signal) {
    this.isEnding = true;
    this.kill(signal);
    return within(20_000, `exit after ${signal}`, this.exited);
  }
}

/** An operator with every scope, who also decides about approvals. */
async function operator() {
  const scopes = ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];
  const who = { client: { id: "cli", mode: "cli" }, caps: ["approvals"], key: deviceKey() };
  const come = async () => {
    const client = new RawClient(`ws://127.0.0.1:${port}`);
    return { client, answer: await client.connect({ protocol, token: TOKEN, scopes, ...who }) };
  };
  // A gateway may answer before it is ready, and says so.
  const { client, answer } = await until("an operator", come, ({ answer }) => answer.ok || answer.error?.retryable !== true);
  if (!answer.ok) throw new Error(`an operator is not let in: ${JSON.stringify(answer.error)}`);
  return client;
}

let host;
process.on("uncaughtExceptionMonitor", () => console.log(`the node host said:\n${host?.output.slice(-3000)}`));

let keys = 0;
class Desk {
  constructor(client) {
    this.client = client;
  }

  async node(connected = true, commands = 1) {
    const list = await until(
      `a node that is ${connected ? "" : "not "}connected`,
      () => this.client.request("node.list", {}),
      ({ payload }) => payload?.nodes?.some((n) => n.connected === connected && (!connected || n.commands.length >= commands)),
    );
    this.nodeId = list.payload.nodes.find((n) => n.connected === connected).nodeId;
    return list.payload.nodes.find((n) => n.connected === connected);
  }

  invoke(command, params, timeoutMs = 20_000) {
    keys += 1;
    return this.client.request(
      "node.invoke", { nodeId: this.nodeId, command, params, timeoutMs, idempotencyKey: `interop-${keys}` }, 40_000,
    );
  }

  /** Asks for an approval as an agent does, has another operator decide, and gives what the run needs. */
  async approved(command, decision, decider) {
    const prepared = await this.invoke("system.run.prepare", { command, agentId: "main" });
    const plan = prepared.payload?.payload?.plan;
    if (!plan) throw new Error(`no plan: ${JSON.stringify(prepared)}`);
    keys += 1;
    const id = `00000000-0000-4000-8000-${String(keys).padStart(12, "0")}`;
    const asking = this.client.request(
      "exec.approval.request",
      { id, host: "node", nodeId: this.nodeId, command: plan.commandText, systemRunPlan: plan, agentId: "main", timeoutMs: 30_000 },
      40_000,
    );
    await decider.frame("a request", (frame) => frame.event === "exec.approval.requested" && frame.payload.id === id, 20_000);
    const decided = await decider.request("exec.approval.resolve", { id, decision });
    if (!decided.ok) throw new Error(`not decided: ${JSON.stringify(decided)}`);
    await asking;
    return {
      command: plan.argv, rawCommand: plan.commandText, agentId: "main",
      runId: id, approved: true, approvalDecision: decision,
    };
  }
}

const outOf = (answer) => answer.payload?.payload?.stdout;
const whose = isReference ? "clawgate's node host at the reference" : `the reference's node host at clawgate, driver ${where}`;
console.log(whose);
let gateway = await start();
let desk = new Desk(await operator());
let decider = await operator();
const door = await fromElsewhere(port);
const args = isReference
  ? ["node", "run", "--host", "127.0.0.1", "--port", String(door), "--display-name", "Attic"]
  : [entry, "node", "run", "--host", "127.0.0.1", "--port", String(door), "--display-name", "Attic"];
host = new NodeHost(where, isReference ? binary : process.execPath, args, !isReference).start();

const waiting = await until(
  "a device that waits",
  () => desk.client.request("device.pair.list", {}),
  ({ payload }) => payload?.pending?.length > 0,
  120_000,
);
const request = waiting.payload.pending[0];
check("it waits for approval, as a node", (request.roles ?? [request.role]).includes("node"), request);
if (isReference) {
  await host.says("node.waits-for-approval");
  check("and says which command lets it in", host.output.includes(`devices approve ${request.requestId}`), host.output.slice(-800));
}
const approved = await desk.client.request("device.pair.approve", { requestId: request.requestId });
check("a person approves it", approved.ok === true, approved.error);
if (protocol === 4 && isReference) {
  const offered = await until(
    "an offer that waits",
    () => desk.client.request("node.pair.list", {}),
    ({ payload }) => payload?.pending?.length > 0,
  );
  const offer = await desk.client.request("node.pair.approve", { requestId: offered.payload.pending[0].requestId });
  check("and what it offers", offer.ok === true, offer.error);
}
const node = await desk.node();
check("it comes in, and offers commands", node.commands.includes("system.run") && node.displayName === "Attic", node);

const which = await desk.invoke("system.which", { bins: ["ls", "no-such-program"] });
const bins = which.payload?.payload?.bins ?? {};
check("system.which", Object.keys(bins).join() === "ls" && bins.ls.endsWith("/ls"), which);
const refused = await desk.invoke("system.run", { command: ["/bin/echo", "hi"], agentId: "main" });
check("system.run without an approval is denied", /SYSTEM_RUN_DENIED: approval required/.test(refused.error?.message), refused);
const forged = await desk.invoke("system.run", { command: ["/bin/echo", "hi"], agentId: "main", approved: true, approvalDecision: "allow-always" });
check("an approval that nobody gave is none", forged.ok === false, forged);
const once = await desk.approved(["echo", "hi there"], "allow-once", decider);
const ran = await desk.invoke("system.run", once);
check("with an approval it runs", outOf(ran) === "hi there\n" && ran.payload.payload.exitCode === 0, ran);
const again = await desk.invoke("system.run", once);
check("once", again.ok === false, again);
const always = await desk.approved(["uname", "-s"], "allow-always", decider);
check("and from now on", outOf(await desk.invoke("system.run", always)) === "Linux\n");
const listed = await desk.invoke("system.run", { command: always.command, agentId: "main" });
check("what was allowed from now on needs no approval", outOf(listed) === "Linux\n", listed);
const shell = await desk.invoke("system.run", { command: ["/bin/sh", "-c", "uname -s"], agentId: "main" });
check("a shell does", shell.ok === false, shell);

const read = await desk.client.request("exec.approvals.node.get", { nodeId: desk.nodeId }, 30_000);
check("its exec approvals are shown", read.payload?.exists === true && typeof read.payload.hash === "string", read);
const file = { ...read.payload.file, agents: { "*": { security: "full", ask: "off" } } };
const wrote = await desk.client.request("exec.approvals.node.set", { nodeId: desk.nodeId, file, baseHash: read.payload.hash }, 30_000);
check("and changed", wrote.ok === true, wrote);
const late = await desk.client.request("exec.approvals.node.set", { nodeId: desk.nodeId, file, baseHash: read.payload.hash }, 30_000);
check("but not from what they were", late.ok === false, late);
const free = await desk.invoke("system.run", { command: ["/bin/sh", "-c", "echo $0; exit 3"], cwd: "/", agentId: "main" });
check("then a shell runs too", outOf(free) === "/bin/sh\n" && free.payload.payload.exitCode === 3, free);
const slow = await desk.invoke("system.run", { command: ["/bin/sleep", "1000"], timeoutMs: 300, agentId: "main" });
check("a time limit ends a command", slow.payload?.payload?.timedOut === true, slow);

await host.end("SIGKILL");
const away = await desk.node(false);
check("a node that was killed is away", away.connected === false, away);
host.start();
await desk.node();
check("started again it is back", outOf(await desk.invoke("system.run", { command: ["/bin/echo", "back"], agentId: "main" })) === "back\n");

gateway.kill();
await gateway.exited;
await until("the gateway goes", () => fetch(`http://127.0.0.1:${port}/healthz`).then(() => true, () => false), (is) => !is);
gateway = await start();
desk = new Desk(await operator());
decider = await operator();
await desk.node();
check("it comes back by itself to a gateway that was killed", outOf(await desk.invoke("system.run", { command: ["/bin/echo", "again"], agentId: "main" })) === "again\n");

if (isReference) {
  const running = desk.invoke("system.run", { command: ["/bin/sleep", "1000"], agentId: "main" }, 30_000);
  await sleep(500);
  const end = await host.end("SIGTERM");
  check("SIGTERM ends it well, and what it runs", end.code === 0 && (await running).ok !== undefined, end);
  check("and it says so", host.output.includes("node.stopped"), host.output.slice(-800));
} else {
  await host.end("SIGKILL");
}
await gateway.stop();
finish();
