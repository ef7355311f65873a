// A protocol 4 node made with the published GatewayClient, against one driver: paired and approved by a person, invoked with
// and without an approval, and back by itself when the gateway was killed.
// Usage: node published-node.mjs PATH_OF_CLAWGATE std|smol
import { GatewayClient } from "@openclaw/gateway-client";
import {
  RawClient, TOKEN, check, clawgate, deviceKey, finish, freePort, fromElsewhere, identityOf, tempDir, until, writeConfig,
} from "./lib.mjs";

const [binary, runtime] = process.argv.slice(2);
const stateDir = tempDir(`published-node-${runtime}`);
const port = await freePort();
writeConfig(stateDir);

const SCOPES = ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];

/** An operator with every scope. */
async function operator() {
  const client = new RawClient(`ws://127.0.0.1:${port}`);
  const who = { client: { id: "cli", mode: "cli" }, caps: ["approvals"], key: deviceKey() };
  const answer = await client.connect({ protocol: 4, token: TOKEN, scopes: SCOPES, ...who });
  if (!answer.ok) throw new Error(`an operator is not let in: ${JSON.stringify(answer.error)}`);
  return client;
}

/** What this node does when it is asked. A program runs with an approval only, as on every node host. */
const runs = [];
function perform(command, params) {
  if (command === "system.which") return { bins: Object.fromEntries(params.bins.map((name) => [name, `/bin/${name}`])) };
  if (command === "system.run.prepare") {
    const text = params.command.join(" ");
    return { plan: { argv: params.command, cwd: null, commandText: text, commandPreview: null, agentId: "main", sessionKey: null } };
  }
  if (params.approved !== true) throw new Error("SYSTEM_RUN_DENIED: approval required");
  runs.push(params.command.join(" "));
  return { exitCode: 0, timedOut: false, success: true, stdout: `ran ${params.command.join(" ")}\n`, stderr: "", error: null };
}

const tokens = new Map();
const key = deviceKey();
const hellos = [];
const errors = [];

/** The published client as a node. */
function node(url) {
  const client = new GatewayClient({
    url,
    token: TOKEN,
    clientName: "node-host",
    clientDisplayName: "Published",
    mode: "node",
    clientVersion: "1.0.0",
    platform: "linux",
    role: "node",
    scopes: [],
    caps: ["system"],
    commands: ["system.run.prepare", "system.run", "system.which"],
    ...identityOf(key, tokens),
    onHelloOk: (hello) => hellos.push(hello),
    onConnectError: (error) => errors.push(String(error)),
    onEvent: async ({ event, payload }) => {
      if (event !== "node.invoke.request") return;
      const { id, nodeId, command, paramsJSON } = payload;
      let result;
      try {
        result = { ok: true, payloadJSON: JSON.stringify(perform(command, paramsJSON ? JSON.parse(paramsJSON) : {})) };
      } catch (why) {
        result = { ok: false, error: { code: "UNAVAILABLE", message: why.message } };
      }
      await client.request("node.invoke.result", { id, nodeId, ...result }).catch(() => {});
    },
  });
  client.start();
  return client;
}

console.log(`a node made with the published client, protocol 4, driver ${runtime}`);
let gateway = await clawgate(binary, runtime, stateDir, port).start();
let [desk, decider] = [await operator(), await operator()];
const door = await fromElsewhere(port);
let client = node(`ws://127.0.0.1:${door}`);

const pending = (method) =>
  until(`something that waits in ${method}`, () => desk.request(method, {}), ({ payload }) => payload?.pending?.length > 0);
const device = (await pending("device.pair.list")).payload.pending[0];
check("it waits for approval", device.deviceId === key.deviceId && hellos.length === 0, device);
const paired = await desk.request("device.pair.approve", { requestId: device.requestId });
check("a person lets it in", paired.ok === true, paired.error);
if (hellos.length === 0) {
  // The client gives up where a person is needed; whoever uses it starts it again.
  client.stop();
  client = node(`ws://127.0.0.1:${door}`);
}
await until("hello-ok", async () => hellos.length, (count) => count > 0);
check("it is a node of protocol 4", hellos[0].protocol === 4 && hellos[0].auth.role === "node", hellos[0].auth);

let keys = 0;
const invoke = (command, params) => {
  keys += 1;
  const rest = { timeoutMs: 10_000, idempotencyKey: `published-${runtime}-${keys}` };
  return desk.request("node.invoke", { nodeId: key.deviceId, command, params, ...rest }, 20_000);
};
const early = await invoke("system.which", { bins: ["ls"] });
check("what it offers counts for nothing yet", early.ok === false && early.error.details?.code === "PAIRING_CHANGED", early);
const surface = (await pending("node.pair.list")).payload.pending[0];
check("an admin must approve it", surface.requiredApproveScopes.includes("operator.admin"), surface);
const offered = await desk.request("node.pair.approve", { requestId: surface.requestId });
check("and does", offered.ok === true, offered.error);

const which = await invoke("system.which", { bins: ["ls"] });
check("system.which", which.payload?.payload?.bins?.ls === "/bin/ls", which);
const denied = await invoke("system.run", { command: ["echo", "hi"], agentId: "main" });
check("system.run without an approval is denied by the node", /approval required/.test(denied.error?.message), denied);
const forged = await invoke("system.run", { command: ["echo", "hi"], approved: true, approvalDecision: "allow-always" });
check("an approval that nobody gave is none", forged.error?.details?.code === "MISSING_RUN_ID" && runs.length === 0, forged);

const { plan } = (await invoke("system.run.prepare", { command: ["echo", "hi"] })).payload.payload;
const id = "00000000-0000-4000-8000-000000000001";
const asking = desk.request(
  "exec.approval.request",
  { id, host: "node", nodeId: key.deviceId, command: plan.commandText, systemRunPlan: plan, agentId: "main", timeoutMs: 20_000 },
  30_000,
);
await decider.frame("a request", (frame) => frame.event === "exec.approval.requested" && frame.payload.id === id, 10_000);
const decided = await decider.request("exec.approval.resolve", { id, decision: "allow-once" });
await asking;
const once = { command: plan.argv, rawCommand: plan.commandText, agentId: "main", runId: id, approved: true, approvalDecision: "allow-once" };
const ran = await invoke("system.run", once);
check("with one it runs", decided.ok && ran.payload?.payload?.stdout === "ran echo hi\n", ran);
const again = await invoke("system.run", once);
check("once", again.ok === false && runs.length === 1, again);

const before = hellos.length;
gateway.kill();
await gateway.exited;
gateway = await clawgate(binary, runtime, stateDir, port).start();
[desk, decider] = [await operator(), await operator()];
await until("hello-ok again", async () => hellos.length, (count) => count > before);
const back = await until("an answer", () => invoke("system.which", { bins: ["sh"] }), (answer) => answer.ok === true);
check("killed and started again, the gateway has it back", back.payload.payload.bins.sh === "/bin/sh", back);
client.stop();
await gateway.stop();
finish();
