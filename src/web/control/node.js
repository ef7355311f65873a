// A browser as a node: it connects with a key of its own, waits until somebody approves it, twice, and then shows on one
// frame what agents send. `attachNode` is all a page needs of it.
import { Refusal, capabilityPath } from "./canvas_address.js";
import { CanvasFrame } from "./frame.js";
import { actionOf, agentRequest } from "./node_action.js";
import { NodeClient, Refused } from "./node_client.js";
import { COMMANDS, CanvasCommands } from "./node_commands.js";
import { browserIdentity } from "./node_identity.js";

/** How long until the next try: first, at most, and while somebody has to approve. */
const AGAIN_MS = 1_000;
const AGAIN_MAX_MS = 30_000;
const PENDING_MS = 2_500;
/** An address of the canvas dies ten minutes after its last use; so it is used. */
const USE_MS = 4 * 60_000;
/** Actions of the page that are on their way at once. */
const ACTIONS_MAX = 8;
/** Refusals that trying again does not mend. */
const FINAL = /^(AUTH_|DEVICE_|CONTROL_UI_|PROTOCOL_MISMATCH|CLIENT_VERSION_MISMATCH)/;

/**
 * Attaches this browser as a node whose canvas is the element `mount`.
 *
 * `gatewayUrl` is the ws or wss address of this page's own gateway. `identityStore` may give another identity than the
 * one of this browser (as `browserIdentity` does). `credential()` is asked, when the node has no token yet, for what it
 * shows instead: `{bootstrapToken}` of a setup code, or `{token}`; it may be async. `onStatus` is told where it stands:
 *
 * | state | with |
 * | --- | --- |
 * | `connecting` | |
 * | `pairing` | `requestId`: `device.pair.approve` lets the node in |
 * | `approval` | `requestId` when it is known: `node.pair.approve` lets it show the canvas |
 * | `ready` | |
 * | `waiting` | `message`: the connection is lost, and tried again |
 * | `failed` | `message`, `code`: it is not tried again |
 * | `detached` | |
 *
 * and with every one `nodeId`, once it is known.
 */
export function attachNode({ gatewayUrl, mount, identityStore, credential, onStatus = () => {}, displayName }) {
  const node = new BrowserNode({ gatewayUrl, mount, identityStore, credential, onStatus, displayName });
  node.start();
  return { detach: () => node.detach() };
}

class BrowserNode {
  #options;
  #frame;
  #commands;
  #client = null;
  #identity = null;
  #isOver = false;
  #againMs = AGAIN_MS;
  #timer;
  #use;
  #actions = 0;

  constructor(options) {
    this.#options = options;
    this.#frame = new CanvasFrame(options.mount, (text) => this.#pressed(text));
    this.#commands = new CanvasCommands(this.#frame, location.origin);
  }

  async start() {
    if (!globalThis.isSecureContext || !crypto.subtle) {
      const message = "this page has no secure context, so that the browser makes no keys: open it by https, or on the gateway's machine";
      return this.#failed(new Refused({ code: "INSECURE_CONTEXT", message }));
    }
    try {
      this.#identity = await (this.#options.identityStore ?? browserIdentity)("browser-node");
    } catch (why) {
      return this.#failed(new Refused({ code: "NO_IDENTITY", message: `this browser keeps no key for the node: ${why?.message ?? why}` }));
    }
    await this.#connect();
  }

  detach() {
    if (this.#isOver) return;
    this.#end();
    this.#status("detached");
  }

  #status(state, more = {}) {
    this.#options.onStatus({ state, nodeId: this.#identity?.deviceId, ...more });
  }

  #end() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    clearInterval(this.#use);
    this.#client?.close();
    this.#frame.close();
  }

  #failed(why) {
    if (this.#isOver) return;
    this.#end();
    this.#status("failed", { code: why.details?.code ?? why.code, message: why.message });
  }

  #again(ms) {
    if (this.#isOver) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
  }

  async #connect() {
    if (this.#isOver) return;
    this.#status("connecting");
    let auth;
    let isIn = false;
    try {
      const token = this.#identity.token;
      auth = token ? { deviceToken: token } : ((await this.#options.credential?.()) ?? {});
    } catch (why) {
      return this.#failed(new Refused({ message: `there is nothing to sign in with: ${why?.message ?? why}` }));
    }
    if (this.#isOver) return;
    const client = new NodeClient(this.#options.gatewayUrl, {
      onEvent: (name, payload) => this.#told(client, name, payload),
      onClose: (why) => isIn && this.#lost(client, why),
    });
    this.#client = client;
    try {
      const hello = await client.connect({
        identity: this.#identity,
        auth,
        client: {
          id: "node-host",
          mode: "node",
          version: "1.0.0",
          platform: "web",
          displayName: this.#options.displayName ?? "Browser",
        },
        role: "node",
        scopes: [],
        caps: ["canvas"],
        commands: COMMANDS,
      });
      isIn = true;
      this.#againMs = AGAIN_MS;
      if (hello.auth?.deviceToken) await this.#identity.keepToken(hello.auth.deviceToken);
      await this.#granted(hello.pluginSurfaceUrls?.canvas);
    } catch (why) {
      client.close();
      if (!isIn) await this.#refused(why, auth);
    }
  }

  async #refused(why, auth) {
    if (this.#isOver) return;
    const code = why.details?.code;
    if (code === "PAIRING_REQUIRED") {
      this.#status("pairing", { requestId: why.details.requestId, message: why.message });
      return this.#again(PENDING_MS);
    }
    // The gateway forgot the node, or its token was taken back: it asks anew, once, with what it can show else.
    if (auth.deviceToken && /^AUTH_/.test(code ?? "") && code !== "AUTH_RATE_LIMITED") {
      await this.#identity.keepToken(null);
      return this.#again(AGAIN_MS);
    }
    if (FINAL.test(code ?? "") && code !== "AUTH_RATE_LIMITED") return this.#failed(why);
    this.#status("waiting", { message: why.message });
    this.#again(Math.max(why.retryAfterMs ?? 0, this.#againMs));
    this.#againMs = Math.min(this.#againMs * 2, AGAIN_MAX_MS);
  }

  #lost(client, why) {
    if (client !== this.#client || this.#isOver) return;
    clearInterval(this.#use);
    this.#commands.based(null);
    this.#status("waiting", { message: why.message });
    this.#again(this.#againMs);
    this.#againMs = Math.min(this.#againMs * 2, AGAIN_MAX_MS);
  }

  /** The node has an address of the canvas, or waits for somebody to approve that. */
  async #granted(url) {
    const base = url ? capabilityPath(url) : null;
    if (base === null) return this.#status("approval", { requestId: await this.#waitsFor() });
    clearInterval(this.#use);
    this.#use = setInterval(() => this.#useIt(base), USE_MS);
    this.#status("ready");
    await this.#commands.based(base);
  }

  /** Under which request the node waits: the gateway says so to a node that tells what it has. */
  async #waitsFor() {
    try {
      await this.#client.request("node.runnerInventory.update", {});
    } catch (why) {
      return why.message?.match(/nodes approve ([\w.:-]+)/)?.[1];
    }
  }

  async #refresh() {
    try {
      const answer = await this.#client.request("node.pluginSurface.refresh", { surface: "canvas" });
      await this.#granted(answer.pluginSurfaceUrls?.canvas);
    } catch (why) {
      this.#status("approval", { message: why.message });
    }
  }

  async #useIt(base) {
    const answer = await fetch(`${base}/__openclaw__/a2ui/`, { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer?.status === 401 && !this.#isOver) await this.#refresh();
  }

  #told(client, name, payload) {
    if (client !== this.#client || this.#isOver) return;
    if (name === "node.invoke.request") {
      this.#asked(client, payload);
    } else if (name === "node.pair.resolved" && payload.nodeId === this.#identity.deviceId) {
      if (payload.decision === "approved") this.#refresh();
      else this.#status("approval", { message: "what this node asked for was turned down" });
    }
  }

  async #asked(client, { id, nodeId, command, paramsJSON, params, timeoutMs }) {
    const answer = { id, nodeId, ok: true };
    try {
      const given = typeof paramsJSON === "string" ? read(paramsJSON) : params;
      answer.payloadJSON = JSON.stringify(await this.#commands.do(command, given, timeoutMs));
    } catch (why) {
      answer.ok = false;
      answer.error = { code: why instanceof Refusal ? why.code : "UNAVAILABLE", message: String(why?.message ?? why) };
    }
    client.request("node.invoke.result", answer).catch(() => {});
  }

  /** A page tells what a person pressed: the gateway hears it, and the page what came of that. */
  async #pressed(text) {
    const action = actionOf(text);
    if (action === null) return;
    const say = (ok, error) => this.#commands.tell(ok ? { id: action.id, ok } : { id: action.id, ok, error });
    if (this.#actions >= ACTIONS_MAX) return say(false, "too many actions at once");
    this.#actions += 1;
    try {
      const request = agentRequest(action, { host: this.#options.displayName ?? "Browser", instance: this.#identity.deviceId });
      await this.#client.request("node.event", { event: "agent.request", payloadJSON: JSON.stringify(request) });
      say(true);
    } catch (why) {
      say(false, why.message);
    } finally {
      this.#actions -= 1;
    }
  }
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal("INVALID_REQUEST", "paramsJSON is not JSON");
  }
}
