// The published GatewayClient over TLS with a pinned certificate, against one driver.
// Usage: node tls.mjs PATH_OF_CLAWGATE std|smol
import { GatewayClient } from "@openclaw/gateway-client";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import tls from "node:tls";
import {
  TOKEN, check, clawgate, deviceKey, finish, freePort, gatewayEnv, identityOf, sleep, tempDir, writeConfig,
} from "./lib.mjs";

const [binary, runtime] = process.argv.slice(2);
const stateDir = tempDir(`interop-tls-${runtime}`);
const port = await freePort();
writeConfig(stateDir);
const file = path.join(stateDir, "openclaw.json");
const config = JSON.parse(readFileSync(file, "utf8"));
config.gateway.tls = { enabled: true };
writeFileSync(file, JSON.stringify(config));
const gateway = await clawgate(binary, runtime, stateDir, port).start();
const shown = JSON.parse(execFileSync(binary, ["gateway", "tls", "--json"], { env: gatewayEnv(stateDir) }));
const fingerprint = shown.sha256;

/** What comes of a client with this fingerprint, until something does. */
async function attempt(tlsFingerprint) {
  const seen = { hellos: [], closes: [], errors: [] };
  const client = new GatewayClient({
    url: `wss://127.0.0.1:${port}`,
    tlsFingerprint,
    clientName: "cli",
    mode: "cli",
    clientVersion: "1.0.0",
    platform: "linux",
    role: "operator",
    scopes: ["operator.admin"],
    ...identityOf(deviceKey(), new Map()),
    token: TOKEN,
    onHelloOk: (hello) => seen.hellos.push(hello),
    onClose: (...values) => seen.closes.push(values),
    onConnectError: (error) => seen.errors.push(String(error)),
  });
  client.start();
  for (let waited = 0; waited < 15_000; waited += 50) {
    if (seen.hellos.length + seen.closes.length + seen.errors.length > 0) break;
    await sleep(50);
  }
  return { client, seen };
}

{
  console.log("a pinned certificate");
  const { client, seen } = await attempt(fingerprint);
  check("the client is let in", seen.hellos.length === 1, seen);
  if (seen.hellos.length === 1) {
    const health = await client.request("health", {});
    check("and is answered", health.ok === true, health);
    const big = await client.request("health", { pad: "x".repeat(200_000) }).catch((error) => error);
    check("large requests arrive whole", big.ok === true || /INVALID|unexpected|properties/i.test(String(big)), String(big).slice(0, 200));
  }
  client.stop();
}
{
  const { client, seen } = await attempt(fingerprint.toUpperCase().match(/../g).join(":"));
  check("the fingerprint may have colons", seen.hellos.length === 1, seen);
  client.stop();
}
{
  const { client, seen } = await attempt("0".repeat(64));
  check("another one is refused by the client", seen.hellos.length === 0, seen);
  console.log(`       it says: ${JSON.stringify([...seen.errors, ...seen.closes]).slice(0, 200)}`);
  client.stop();
}
{
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`);
  check("plain HTTP is told to use TLS", answer.status === 400 && (await answer.text()).includes("https://"));
  const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] });
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  check("node speaks TLS 1.3 with it", socket.getProtocol() === "TLSv1.3", socket.getProtocol());
  const bare = socket.getPeerCertificate().fingerprint256.replaceAll(":", "").toLowerCase();
  check("and sees the fingerprint that is shown", bare === fingerprint, bare);
  check("ALPN is http/1.1", socket.alpnProtocol === "http/1.1", socket.alpnProtocol);
  socket.end();
}
await gateway.stop();
check("nothing was sent in the clear", !gateway.output.includes("ws://127"));
finish();
