// nginx and Caddy in front of the gateway, configured as docs/guides/reverse-proxy.md says: WebSocket and HTTP, trusted and
// not, with right and forged headers, with users, and with every credential of the matrix. Usage: node proxy.mjs CLAWGATE GUIDE RUNTIME NAME=BINARY...
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { credentials, furnish, playAll } from "./credentials.mjs";
import {
  GatewayProcess, RawClient, TOKEN, check, clawgate, deviceKey, finish, freePort, gatewayEnv, recordSecret, sleep, tempDir,
  within,
} from "./lib.mjs";

const [binary, guidePath, runtime, ...proxies] = process.argv.slice(2);
const guide = readFileSync(guidePath, "utf8");
const PROOF = "cLaWmArKeR-interop-proxy-proof";
const PASSWORD = "cLaWmArKeR-interop-ada";
const IN_GUIDE = "what `openssl rand -hex 24` prints";
const ORIGIN = "https://gw.example.com";

/** The block of the guide with this name. */
function block(name) {
  const found = new RegExp("^```" + name + "\\n([\\s\\S]*?)^```", "m").exec(guide);
  if (!found) throw new Error(`the guide has no block ${name}`);
  return found[1];
}

/** Replaces what must be there. */
function swap(text, from, to) {
  if (!text.includes(from)) throw new Error(`the guide does not say ${from}`);
  return text.replaceAll(from, to);
}

/** The guide's lines with this proof in them, or without the one that sends it. */
function proven(text, proof) {
  if (proof === undefined) return text.replace(/^.*X-Clawgate-Proof.*\n/m, "");
  return swap(text, IN_GUIDE, proof);
}

/** Each proxy: its files from the guide, without TLS, and the command that runs it in the foreground. */
const KINDS = {
  nginx(program, folder, port, gatewayPort, users) {
    let site = swap(block("nginx"), "listen 443 ssl;", `listen 127.0.0.1:${port};`);
    site = swap(site, "[::1]:18789", `[::1]:${gatewayPort}`).replaceAll(/^ *ssl_.*\n/gm, "");
    if (users) {
      const lines = swap(proven(block("nginx-users"), users.proof), "/etc/nginx/clawgate.users", `${folder}/users`);
      site = swap(site, "    location / {\n", `    location / {\n${lines}`);
      // A clear password in a file that only this test sees: `openssl passwd` may be missing.
      writeFileSync(path.join(folder, "users"), `ada:{PLAIN}${PASSWORD}\n`);
    }
    const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    const temporary = places.map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
    writeFileSync(path.join(folder, "nginx.conf"), `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
      events {} http { access_log off; ${temporary} ${site} }`);
    return [program, ["-p", folder, "-c", "nginx.conf", "-e", "stderr"]];
  },
  caddy(program, folder, port, gatewayPort, users) {
    let site = swap(block(users ? "caddyfile-users" : "caddyfile"), "gw.example.com {", `http://127.0.0.1:${port} {`);
    site = swap(site, "[::1]:18789", `[::1]:${gatewayPort}`);
    if (users) {
      const hash = execFileSync(program, ["hash-password", "--plaintext", PASSWORD], { encoding: "utf8" }).trim();
      site = proven(swap(site, "HASH_THAT_CADDY_HASH_PASSWORD_PRINTS", hash), users.proof);
    }
    // The site is called by its address here, whatever Host says.
    site = site.replace(`http://127.0.0.1:${port} {`, `http://:${port} {\n    bind 127.0.0.1`);
    writeFileSync(path.join(folder, "Caddyfile"), `{\n    admin off\n    auto_https off\n}\n${site}`);
    return [program, ["run", "--config", path.join(folder, "Caddyfile"), "--adapter", "caddyfile"]];
  },
};

/** A proxy in front of a gateway, with its own users and this proof if need be; it is up when something answers. */
async function proxy(kind, program, gatewayPort, users) {
  const folder = tempDir(`proxy-${kind}`);
  const port = await freePort();
  const [command, args] = KINDS[kind](program, folder, port, gatewayPort, users);
  const env = { PATH: process.env.PATH, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const child = spawn(command, args, { env, cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output = (output + chunk).slice(-20_000)));
  process.on("exit", () => child.kill("SIGKILL"));
  for (let tries = 0; tries < 200; tries += 1) {
    if (child.exitCode !== null) break;
    if (await get(port, "/healthz").then(() => true, () => false)) return { port, child };
    await sleep(50);
  }
  throw new Error(`${kind} does not answer: ${output}`);
}

/** A request with exactly these headers. */
function get(port, target, headers = {}) {
  return within(10_000, `GET ${target}`, new Promise((resolve, reject) => {
    const asked = http.get({ host: "127.0.0.1", port, path: target, headers, agent: false }, (answer) => {
      let body = "";
      answer.on("data", (chunk) => (body += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode, body }));
    });
    asked.on("error", reject);
  }));
}

async function gateway(config, own, cases = []) {
  const stateDir = tempDir(`proxied-${runtime}`);
  mkdirSync(stateDir, { recursive: true });
  const file = path.join(stateDir, "openclaw.json");
  writeFileSync(file, JSON.stringify(config));
  chmodSync(file, 0o600);
  if (own) writeFileSync(path.join(stateDir, "clawgate.json"), JSON.stringify(own));
  if (cases.length > 0) furnish(stateDir, cases);
  return clawgate(binary, runtime, stateDir, await freePort()).start();
}

/** A command of the program beside this gateway. */
function command(at, ...args) {
  const env = { ...gatewayEnv(at.stateDir), OPENCLAW_GATEWAY_PORT: String(at.port) };
  return execFileSync(binary, args, { env, encoding: "utf8", timeout: 30_000 });
}

/** Connects through a port and gives the answer and the socket. */
async function attempt(port, options = {}) {
  const { headers = {}, protocol = 4, key = deviceKey(), host = "127.0.0.1", ...rest } = options;
  const socket = new RawClient(`ws://${host}:${port}/`, { headers });
  const answer = await socket.connect({ protocol, key, ...rest });
  return { socket, answer, code: answer.error?.details?.code };
}

const ADA = { Authorization: `Basic ${Buffer.from(`ada:${PASSWORD}`).toString("base64")}` };
const TRUSTED_PROXY = {
  mode: "trusted-proxy",
  trustedProxy: { userHeader: "X-Forwarded-User", requiredHeaders: ["X-Forwarded-Proto"], allowUsers: ["ada"] },
};
const ASKED_PROOF = { trustedProxy: { proofHeader: "X-Clawgate-Proof", proof: PROOF } };

/** Situations in which every credential is shown: the column of the table, and what differs from the others. */
const SITUATIONS = [
  { what: "through a trusted proxy", column: "proxied", trustedProxies: ["::1"] },
  { what: "through a proxy that nobody trusts", column: "proxied" },
  { what: "with the right proof", column: "proved", trustedProxies: ["::1"], users: { proof: PROOF } },
  { what: "with a wrong proof", column: "unproved", trustedProxies: ["::1"], users: { proof: "cLaWmArKeR-other-proof" } },
  { what: "without the proof", column: "unproved", trustedProxies: ["::1"], users: {} },
];

async function playCredentials(kind, program) {
  for (const { what, column, trustedProxies, users } of SITUATIONS) {
    const cases = credentials(column);
    // All of them come from one address, and the wrong ones are guesses.
    const rateLimit = { maxAttempts: 10_000 };
    const auth = users ? { ...TRUSTED_PROXY, rateLimit } : { mode: "token", token: TOKEN, rateLimit };
    const config = { gateway: { mode: "local", auth, trustedProxies, controlUi: { allowedOrigins: [ORIGIN] } } };
    const at = await gateway(config, users && ASKED_PROOF, cases);
    const front = await proxy(kind, program, at.port, users);
    const wrong = await playAll(front.port, cases, users ? ADA : {}, ORIGIN);
    check(`${cases.length} credentials ${what}`, cases.length === 120 && wrong.length === 0, wrong);
    if (!users) {
      const direct = await attempt(at.port, { token: TOKEN });
      const { proxies: seen } = (await direct.socket.request("status", {})).payload.gateway;
      const expected = trustedProxies ? "trusted" : "proxied-untrusted";
      check(`and the gateway took the proxy for ${expected}`, seen.state === expected, seen);
      await direct.socket.close();
    }
    front.child.kill("SIGTERM");
    await at.stop();
  }
}

/** What a client might send to be taken for somebody else. */
const FORGED = {
  "X-Forwarded-For": "127.0.0.1, ::1", "X-Real-IP": "127.0.0.1", Forwarded: "for=127.0.0.1",
  "X-Forwarded-User": "ada", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost", "X-Clawgate-Proof": PROOF,
};

recordSecret("shared-token", TOKEN);
process.setMaxListeners(0);
for (const entry of proxies) {
  const [kind, program] = entry.split("=");
  console.log(`${kind} in front, driver ${runtime}`);
  const tokenAuth = { mode: "token", token: TOKEN };
  {
    const at = await gateway({ gateway: { mode: "local", auth: tokenAuth, trustedProxies: ["::1"] } });
    const front = await proxy(kind, program, at.port);
    const health = await get(front.port, "/healthz");
    check("a probe goes through", health.status === 200 && JSON.parse(health.body).ok === true, health);
    const plain = await get(front.port, "/readyz", FORGED);
    check("forged headers show no details", plain.status === 200 && !("failing" in JSON.parse(plain.body)), plain);
    const bearer = await get(front.port, "/readyz", { Authorization: `Bearer ${TOKEN}` });
    check("the secret does", "failing" in JSON.parse(bearer.body), bearer);
    for (const protocol of [3, 4]) {
      for (const [what, headers] of [["a client", {}], ["a forger", FORGED]]) {
        const { code, socket } = await attempt(front.port, { protocol, headers, token: TOKEN });
        check(`${what} behind the proxy is remote, protocol ${protocol}`, code === "PAIRING_REQUIRED", code);
        await socket.closed;
      }
      const wrong = await attempt(front.port, { protocol, token: "cLaWmArKeR-wrong" });
      check(`a wrong secret is refused, protocol ${protocol}`, wrong.code === "AUTH_TOKEN_MISMATCH", wrong.code);
      const direct = await attempt(at.port, { protocol, token: TOKEN });
      check(`a direct client is local, protocol ${protocol}`, direct.answer.ok, direct.answer.error);
      direct.socket.close();
    }
    const key = deviceKey();
    const asks = await attempt(front.port, { key, token: TOKEN });
    command(at, "devices", "approve", asks.answer.error.details.requestId);
    const admitted = await attempt(front.port, { key, token: TOKEN });
    check("an approved device is let in through the proxy", admitted.answer.ok, admitted.answer.error);
    const { deviceToken } = admitted.answer.payload.auth;
    const health2 = await admitted.socket.request("health", {});
    check("and is answered", health2.ok, health2.error);
    const status = await admitted.socket.request("status", {});
    check("the proxy is known as trusted", status.payload?.gateway?.proxies?.state === "trusted", status.payload?.gateway);
    const large = "x".repeat(60_000);
    const told = await admitted.socket.request("wake", { mode: "now", text: large });
    check("a large message goes through", told.ok, told.error);
    const again = await attempt(front.port, { key, deviceToken, scopes: ["operator.admin"] });
    check("its own token lets it in again", again.answer.ok, again.answer.error);
    again.socket.close();
    const page = await attempt(front.port, { headers: { Origin: ORIGIN }, token: TOKEN });
    const { origin, setting } = page.answer.error?.details ?? {};
    check("a page that is not listed is told what to list",
      page.code === "CONTROL_UI_ORIGIN_NOT_ALLOWED" && origin === ORIGIN && setting === "gateway.controlUi.allowedOrigins",
      page.answer.error);
    front.child.kill("SIGTERM");
    await within(10_000, "the end of the socket", admitted.socket.closed);
    check("the gateway outlives its proxy", (await get(at.port, "/healthz")).status === 200);
    await at.stop();
  }
  {
    const at = await gateway({ gateway: { mode: "local", auth: tokenAuth } });
    const front = await proxy(kind, program, at.port);
    const { code } = await attempt(front.port, { token: TOKEN });
    check("behind a proxy that nobody trusts a client is remote", code === "PAIRING_REQUIRED", code);
    const direct = await attempt(at.port, { token: TOKEN });
    const { proxies: state } = (await direct.socket.request("status", {})).payload.gateway;
    check("the state has a name and a setting",
      state.state === "proxied-untrusted" && state.untrusted === 1 && state.setting === "gateway.trustedProxies", state);
    check("the log says so", at.output.includes("peer.proxied-untrusted"));
    direct.socket.close();
    for (let tries = 0; tries < 10; tries += 1) await attempt(front.port, { token: "cLaWmArKeR-wrong" });
    const locked = await attempt(front.port, { token: TOKEN });
    check("guesses through it are counted although it sits on loopback", locked.code === "AUTH_RATE_LIMITED", locked.code);
    front.child.kill("SIGTERM");
    await at.stop();
  }
  {
    const config = { gateway: {
      mode: "local", trustedProxies: ["::1"], controlUi: { allowedOrigins: [ORIGIN] }, auth: TRUSTED_PROXY,
    } };
    const refused = new GatewayProcess(binary, ["gateway", "--port", String(await freePort())], tempDir("refused"), 0, true);
    writeFileSync(path.join(refused.stateDir, "openclaw.json"), JSON.stringify(config));
    const why = await refused.start(10_000).then(() => "", (fault) => String(fault));
    check("on loopback it does not start without a proof", why.includes("trustedProxy.proofHeader"), why);
    const at = await gateway(config, ASKED_PROOF);
    const front = await proxy(kind, program, at.port, { proof: PROOF });
    check("strangers stay outside the proxy", (await get(front.port, "/healthz")).status === 401);
    const client = { id: "openclaw-control-ui", mode: "webchat" };
    const page = (port, headers, host) => attempt(port, { client, host, headers: { Origin: ORIGIN, ...headers } });
    const admitted = await page(front.port, ADA);
    check("the proxy's user is let in with a page", admitted.answer.ok, admitted.answer.error);
    check("with its scopes and without a token",
      admitted.answer.payload?.auth?.scopes?.includes("operator.admin") && !admitted.answer.payload.auth.deviceToken,
      admitted.answer.payload?.auth);
    const list = await admitted.socket.request("device.pair.list", {});
    check("and nothing is paired", list.ok && list.payload.paired.length === 0, list);
    admitted.socket.close();
    const both = await page(front.port, { ...ADA, ...FORGED, "X-Forwarded-User": "eve" });
    check("what a client says about itself does not come through", both.answer.ok, both.answer.error);
    both.socket.close();
    const without = { ...FORGED };
    delete without["X-Clawgate-Proof"];
    const guess = { ...FORGED, "X-Clawgate-Proof": "cLaWmArKeR-guess" };
    for (const [what, headers, host, reason] of [
      ["without the proof", without, "[::1]", "trusted_proxy_proof_mismatch"],
      ["with a guess", guess, "[::1]", "trusted_proxy_proof_mismatch"],
      ["from another address", FORGED, "127.0.0.1", "trusted_proxy_untrusted_source"],
    ]) {
      const { answer } = await page(at.port, headers, host);
      check(`a local program is not the proxy ${what}`, answer.error?.details?.authReason === reason, answer);
    }
    check("the log says what to mend", at.output.includes("peer.proxy-refused"));
    const ready = await get(front.port, "/readyz", ADA);
    check("over HTTP the user counts too", "failing" in JSON.parse(ready.body), ready);
    const forged = await get(at.port, "/readyz", { Host: "gw.example.com", ...without });
    check("and a forger does not", forged.status === 200 && !("failing" in JSON.parse(forged.body)), forged);
    front.child.kill("SIGTERM");
    await at.stop();
  }
  await playCredentials(kind, program);
}
finish();
