// What every suite needs: a gateway process, device keys, a recording proxy, checks, bounded waits.
import { spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { createHash, generateKeyPairSync, createPrivateKey, randomInt, sign } from "node:crypto";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { WebSocket, WebSocketServer } from "ws";

export const TOKEN = "cLaWmArKeR-interop-gateway-token";

/** Secrets made at run time are written down with their kind, so that a scan of all output can look for them. */
export function recordSecret(kind, secret) {
  const file = process.env.CLAWGATE_TEST_SECRETS;
  if (file && secret) appendFileSync(file, `${kind}\t${secret}\n`);
}

let passed = 0;
let failed = 0;

export function check(what, ok, detail) {
  if (ok) {
    passed += 1;
    console.log(`  ok   ${what}`);
  } else {
    failed += 1;
    console.log(`  FAIL ${what}${detail === undefined ? "" : `: ${JSON.stringify(detail)}`}`);
  }
}

export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const given = new Set();

/**
 * A port of loopback that nobody has. It lies below those that a system hands out by itself: one of those may belong to
 * somebody else's connection by the time that a program which starts slowly listens there.
 */
export async function freePort() {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = randomInt(20_000, 32_000);
    if (given.has(port) || !(await isFree(port, "127.0.0.1")) || !(await isFree(port, "::1"))) continue;
    given.add(port);
    return port;
  }
  throw new Error("no free port found");
}

/** Whether it can be listened on, or would be if there were such addresses here. */
function isFree(port, host) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.on("error", (why) => resolve(why.code !== "EADDRINUSE"));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

export function tempDir(name) {
  const dir = mkdtempSync(path.join(os.tmpdir(), `clawgate-${name}-`));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function writeConfig(stateDir, token = TOKEN) {
  mkdirSync(stateDir, { recursive: true });
  const config = { gateway: { mode: "local", auth: { mode: "token", token } } };
  writeFileSync(path.join(stateDir, "openclaw.json"), JSON.stringify(config, null, 2));
}

export function gatewayEnv(stateDir) {
  const env = { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir };
  return { ...env, OPENCLAW_SKIP_CHANNELS: "1", OPENCLAW_SKIP_CRON: "1", NO_COLOR: "1" };
}

/** A gateway process; `command` and `args` start it on `port`. What our own says is searched for secrets later. */
export class GatewayProcess {
  constructor(command, args, stateDir, port, isOurs = false) {
    Object.assign(this, { command, args, stateDir, port, isOurs, output: "" });
  }

  async start(boundMs = 60_000) {
    const env = gatewayEnv(this.stateDir);
    if (this.isOurs) env.OPENCLAW_LOG_LEVEL = "trace";
    this.child = spawn(this.command, this.args, { env, cwd: this.stateDir, detached: this.hasGroup === true });
    this.exited = new Promise((resolve) => this.child.on("exit", (code, signal) => resolve({ code, signal })));
    const keep = (chunk) => {
      this.output = (this.output + chunk).slice(-200_000);
      const folder = process.env.CLAWGATE_TEST_OUTPUT;
      if (folder && this.isOurs) appendFileSync(path.join(folder, `interop-${this.child.pid}.log`), chunk);
    };
    this.child.stdout.on("data", keep);
    this.child.stderr.on("data", keep);
    const until = Date.now() + boundMs;
    while (Date.now() < until) {
      if (this.child.exitCode !== null) throw new Error(`the gateway ended: ${this.output.slice(-2000)}`);
      try {
        const answer = await fetch(`http://127.0.0.1:${this.port}/healthz`);
        // One that speaks TLS is ready when it says so.
        if (answer.ok || (answer.status === 400 && (await answer.text()).includes("speaks TLS"))) return this;
      } catch {
        // not listening yet
      }
      await sleep(50);
    }
    throw new Error(`the gateway is not ready: ${this.output.slice(-2000)}`);
  }

  /** The same in a process group of its own: the reference's program starts another one, which is the gateway. */
  grouped() {
    this.hasGroup = true;
    process.once("exit", () => this.kill());
    return this;
  }

  /** Kills it, with what it started when it has a group. */
  kill() {
    try {
      process.kill(this.hasGroup ? -this.child.pid : this.child.pid, "SIGKILL");
    } catch {
      // it has ended
    }
  }

  async stop() {
    this.child.kill("SIGTERM");
    const end = await within(15_000, "exit after SIGTERM", this.exited).catch(() => null);
    if (end === null) {
      this.child.kill("SIGKILL");
      await this.exited;
    }
    return end;
  }
}

export function clawgate(binary, runtime, stateDir, port, extra = []) {
  const args = ["gateway", "--port", String(port), "--runtime", runtime, ...extra];
  return new GatewayProcess(binary, args, stateDir, port, true);
}

const SPKI_PREFIX_BYTES = 12;

export function deviceKey() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(SPKI_PREFIX_BYTES);
  const privateKeyPem = privateKey.export({ type: "pkcs8", format: "pem" });
  recordSecret("private-key", privateKeyPem.split("\n")[1]);
  const bare = privateKey.export({ type: "pkcs8", format: "der" }).subarray(16);
  for (const form of ["base64", "base64url", "hex"]) recordSecret("private-key", bare.toString(form));
  return {
    deviceId: createHash("sha256").update(raw).digest("hex"),
    publicKeyPem: publicKey.export({ type: "spki", format: "pem" }),
    privateKeyPem,
    publicKeyRaw: raw.toString("base64url"),
  };
}

export function signPem(privateKeyPem, payload) {
  return sign(null, Buffer.from(payload, "utf8"), createPrivateKey(privateKeyPem)).toString("base64url");
}

/** What the published client proves itself with: this key, and device tokens that are kept by role in `tokens`. */
export function identityOf(key, tokens) {
  return {
    deviceIdentity: { deviceId: key.deviceId, publicKeyPem: key.publicKeyPem, privateKeyPem: key.privateKeyPem },
    hostDeps: {
      signDevicePayload: signPem,
      publicKeyRawBase64UrlFromPem: () => key.publicKeyRaw,
      loadDeviceAuthToken: ({ role }) => tokens.get(role) ?? null,
      storeDeviceAuthToken: ({ role, token, scopes }) => {
        recordSecret("device-token", token);
        tokens.set(role, { token, role, scopes, updatedAtMs: Date.now() });
      },
      clearDeviceAuthToken: ({ role }) => tokens.delete(role),
    },
  };
}

/** A hand-made client of either protocol, for what the published one does not do. */
export class RawClient {
  constructor(url, { headers } = {}) {
    this.frames = [];
    this.waiters = [];
    this.serial = 0;
    this.ws = new WebSocket(url, { headers, perMessageDeflate: false });
    this.closed = new Promise((resolve) => {
      this.ws.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.ws.on("error", () => {});
    this.ws.on("message", (data) => {
      this.frames.push(JSON.parse(data.toString()));
      this.waiters.splice(0).forEach((wake) => wake());
    });
  }

  async frame(what, test, boundMs = 10_000) {
    const until = Date.now() + boundMs;
    for (;;) {
      const found = this.frames.find(test);
      if (found) return found;
      if (Date.now() > until) throw new Error(`no ${what} within ${boundMs} ms`);
      await Promise.race([new Promise((resolve) => this.waiters.push(resolve)), sleep(100)]);
    }
  }

  event(name, boundMs) {
    return this.frame(`event ${name}`, (frame) => frame.type === "event" && frame.event === name, boundMs);
  }

  async request(method, params, boundMs) {
    this.serial += 1;
    const id = `r${this.serial}`;
    this.ws.send(JSON.stringify({ type: "req", id, method, params }));
    return this.frame(`answer to ${method}`, (frame) => frame.type === "res" && frame.id === id, boundMs);
  }

  /** Connects as `key`, or as nobody; `protocol` is 3 or 4. Gives the response frame. */
  async connect({ protocol, key, token, deviceToken, bootstrapToken, role = "operator", scopes = ["operator.admin"], caps = [], client = {} }) {
    const challenge = await this.event("connect.challenge");
    const { nonce, ts } = challenge.payload;
    const who = { id: "test", mode: "test", version: "1.0.0", platform: "linux", ...client };
    const auth = {};
    if (token) auth.token = token;
    if (deviceToken) auth.deviceToken = deviceToken;
    if (bootstrapToken) auth.bootstrapToken = bootstrapToken;
    const range = { minProtocol: protocol, maxProtocol: protocol };
    const params = { ...range, client: who, role, scopes, caps, auth };
    if (key) params.device = this.proof(key, who, role, scopes, auth, nonce, ts);
    const answer = await this.request("connect", params);
    recordSecret("device-token", answer.payload?.auth?.deviceToken);
    return answer;
  }

  /** The device, with its signature over what it says. */
  proof(key, who, role, scopes, auth, nonce, ts) {
    const signedToken = auth.token ?? auth.deviceToken ?? auth.bootstrapToken ?? "";
    const signed = ["v3", key.deviceId, who.id, who.mode, role, scopes.join(","), ts, signedToken, nonce, "linux", ""];
    return {
      id: key.deviceId,
      publicKey: key.publicKeyRaw,
      signature: signPem(key.privateKeyPem, signed.join("|")),
      signedAt: ts,
      nonce,
    };
  }

  close() {
    this.ws.close(1000);
    return this.closed;
  }
}

/** Passes every frame through and keeps what the server sent. */
export class RecordingProxy {
  constructor(targetUrl) {
    this.targetUrl = targetUrl;
    this.connections = [];
  }

  async listen() {
    this.server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
    await new Promise((resolve) => this.server.on("listening", resolve));
    this.server.on("connection", (down) => {
      const record = { methods: new Map(), sent: [] };
      this.connections.push(record);
      const up = new WebSocket(this.targetUrl, { perMessageDeflate: false });
      const early = [];
      down.on("message", (data) => {
        const text = data.toString();
        const frame = JSON.parse(text);
        if (frame.type === "req") record.methods.set(frame.id, frame.method);
        if (up.readyState === WebSocket.OPEN) up.send(text);
        else early.push(text);
      });
      up.on("open", () => early.splice(0).forEach((text) => up.send(text)));
      up.on("message", (data) => {
        const text = data.toString();
        record.sent.push(JSON.parse(text));
        down.send(text);
      });
      const endWith = (other) => (code, reason) => {
        const sendable = (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || code >= 3000;
        if (sendable) other.close(code, reason);
        else other.terminate();
      };
      up.on("close", endWith(down));
      down.on("close", endWith(up));
      up.on("error", () => down.terminate());
      down.on("error", () => up.terminate());
    });
    return `ws://127.0.0.1:${this.server.address().port}`;
  }

  close() {
    this.server.clients.forEach((client) => client.terminate());
    this.server.close();
  }
}

export function readJson(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

/** Makes whoever comes through it a client from elsewhere: nobody behind it is paired silently. */
export async function fromElsewhere(port) {
  const server = net.createServer((down) => {
    const up = net.connect(port, "127.0.0.1");
    down.once("data", (head) => {
      const text = head.toString("latin1").replace("\r\n", "\r\nX-Forwarded-For: 203.0.113.7\r\n");
      up.write(Buffer.from(text, "latin1"));
      down.pipe(up);
    });
    up.pipe(down);
    for (const socket of [down, up]) {
      socket.on("error", () => {});
      socket.on("close", () => [down, up].forEach((other) => other.destroy()));
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return server.address().port;
}

/** Asks until the answer satisfies; what takes a moment is waited for. */
export async function until(what, ask, test, boundMs = 60_000) {
  const bound = Date.now() + boundMs;
  for (;;) {
    const answer = await ask();
    if (test(answer)) return answer;
    if (Date.now() > bound) throw new Error(`${what}: ${JSON.stringify(answer).slice(0, 2000)}`);
    await sleep(200);
  }
}
