// Every credential of the matrix: the lines of credentials.tsv, each with a device of its own, in both protocols.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { RawClient, TOKEN, deviceKey, recordSecret } from "./lib.mjs";

const lines = readFileSync(new URL("credentials.tsv", import.meta.url), "utf8").split("\n");
const heading = lines.find((line) => line.startsWith("# client\t")).slice(2).split("\t");

/** A secret that the search of all output knows by its marker. */
function chosen(name) {
  const secret = `cLaWmArKeR-${name}`;
  recordSecret("chosen", secret);
  return secret;
}

/** The lines in both protocols, with the outcome of this column. */
export function credentials(column) {
  const at = heading.indexOf(column);
  if (at < 3) throw new Error(`credentials.tsv has no column ${column}`);
  return lines.filter((line) => line && !line.startsWith("#")).flatMap((line) => [3, 4].map((protocol) => {
    const columns = line.split("\t");
    const [client, device, shown] = columns;
    const key = deviceKey();
    const name = key.deviceId.slice(0, 24);
    const [role, scopes] = client === "node" ? ["node", []] : ["operator", ["operator.admin"]];
    const [deviceToken, code] = [chosen(`token-of-${name}`), chosen(`code-for-${name}`)];
    return { client, device, shown, expected: columns[at], protocol, key, role, scopes, deviceToken, code };
  }));
}

/** Puts their devices and setup codes into a state folder, as a gateway keeps them. */
export function furnish(stateDir, cases) {
  const [devices, codes] = [{}, {}];
  for (const { device, shown, key, role, scopes, deviceToken, code } of cases) {
    if (device === "paired" || device === "revoked") {
      const token = { token: deviceToken, role, scopes, createdAtMs: 1 };
      if (device === "revoked") token.revokedAtMs = 2;
      devices[key.deviceId] = {
        deviceId: key.deviceId, publicKey: key.publicKeyRaw, platform: "linux", role, roles: [role], scopes,
        approvedScopes: scopes, tokens: { [role]: token }, createdAtMs: 1, approvedAtMs: 1,
      };
    }
    if (shown === "bootstrap") {
      const now = Date.now();
      const [access, roles] = role === "node" ? ["node", ["node"]] : ["full", ["node", "operator"]];
      const setupId = key.deviceId.slice(0, 12);
      codes[code] = { token: code, ts: now, issuedAtMs: now, setupId, access, roles, scopes: ["operator.admin"] };
    }
  }
  const folder = path.join(stateDir, "devices");
  mkdirSync(folder, { recursive: true });
  for (const [name, document] of [["paired.json", devices], ["bootstrap.json", codes]]) {
    writeFileSync(path.join(folder, name), JSON.stringify(document), { mode: 0o600 });
  }
}

const CLIENTS = {
  cli: { id: "cli", mode: "cli" }, page: { id: "openclaw-control-ui", mode: "webchat" },
  node: { id: "node-host", mode: "node" },
};

/** Connects through a port, and says in the words of the table what came of it. */
async function play(port, { client, device, shown, protocol, key, role, scopes, deviceToken, code }, headers, origin) {
  const all = client === "page" ? { ...headers, Origin: origin } : headers;
  const socket = new RawClient(`ws://127.0.0.1:${port}/`, { headers: all });
  const auth = {
    nothing: {}, wrong: { token: "cLaWmArKeR-wrong" }, right: { token: TOKEN }, "device-token": { deviceToken },
    bootstrap: { bootstrapToken: code },
  }[shown];
  const identity = device === "none" ? null : key;
  const answer = await socket.connect({ protocol, key: identity, role, scopes, client: CLIENTS[client], ...auth });
  if (!answer.ok) {
    const closed = await socket.closed;
    const { code: why, reason } = answer.error.details ?? {};
    if (closed.code !== 1008) return `${why}, closed with ${closed.code}`;
    return why === "PAIRING_REQUIRED" ? `${why} ${reason}` : why;
  }
  const token = answer.payload.auth?.deviceToken ? "token" : "no-token";
  // What it may do is seen, not what hello-ok says.
  const tried = await socket.request("set-heartbeats", { enabled: true });
  await socket.close();
  const message = tried.error?.message ?? "";
  if (tried.ok) return `in all ${token}`;
  if (message.includes("role")) return `in node ${token}`;
  return message.includes("scope") ? `in nothing ${token}` : `in, ${message}`;
}

/** Plays them one after the other; gives what came out otherwise than the table says. */
export async function playAll(port, cases, headers, origin) {
  const wrong = [];
  for (const one of cases) {
    const outcome = await play(port, one, headers, origin);
    const { client, device, shown, protocol, expected } = one;
    if (outcome !== expected) wrong.push({ case: `protocol ${protocol}: ${client} ${device} ${shown}`, outcome, expected });
  }
  return wrong;
}
