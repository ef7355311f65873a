// A browser as a node: it connects with a key of its own, waits until somebody approves it, twice, and then shows on one
// frame what agents send. `attachNode` is all a page needs of it.
import { Refusal, capabilityPath } from "./canvas_address.js";
import { GatewayClient } from "./client.js";
import { CanvasFrame } from "./frame.js";
import { canHaveKey, openIdentity } from "./identity.js";
import { actionOf, agentRequest } from "./node_action.js";
import { COMMANDS, CanvasCommands } from "./node_commands.js";

/** How often it is looked whether somebody let the node in. */
const PENDING_MS = 2_500;
/** An address of the canvas dies ten minutes after its last use; so it is used. */
const USE_MS = 4 * 60_000;
/** Actions of the page that are on their way at once. */
const ACTIONS_MAX = 8;
/** Who the node says it is: no app, and no page that operates the gateway, but a host of a canvas. */
const CLIENT = { id: "node-host", mode: "node", version: "1", platform: "web" };

/**
 * Attaches this browser as a node whose canvas is the element `mount`.
 *
 * `gatewayUrl` is the address of the WebSocket of this page's own gateway. `identityStore(name)` may give another identity
 * than `openIdentity` does. `credential()` is asked, when the node has no token, for what it shows instead:
 * `{bootstrapToken}` of a setup code, or `{token}`; it may be async. `onStatus` is told where it stands:
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
export function attachNode({ gatewayUrl, mount, identityStore = openIdentity, credential, onStatus = () => {}, displayName = "Browser" }) {
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
  #shown = null;
  #isOver = false;
  #hasBegunAnew = false;
  #timer;
  #use;
  #actions = 0;

  constructor(options) {
    this.#options = options;
    this.#frame = new CanvasFrame(options.mount, (text) => this.#pressed(text));
    this.#commands = new CanvasCommands(this.#frame, location.origin);
  }

  async start() {
    if (!canHaveKey()) {
      const message = "this page has no secure context, so that the browser makes no keys: open it by https, or on the gateway's own machine";
      return this.#failed({ code: "INSECURE_CONTEXT", message });
    }
    try {
      this.#identity = await this.#options.identityStore("browser-node");
    } catch (why) {
      return this.#failed({ code: "NO_IDENTITY", message: `this browser keeps no key for the node: ${why?.message ?? why}` });
    }
    if (this.#isOver) return;
    this.#client = new GatewayClient({
      url: this.#options.gatewayUrl,
      identity: this.#identity,
      client: { ...CLIENT, displayName: this.#options.displayName },
      role: "node",
      scopes: [],
      caps: ["canvas"],
      commands: COMMANDS,
      onState: (state) => this.#went(state),
      onEvent: ({ event, payload }) => this.#told(event, payload ?? {}),
    });
    await this.#begin();
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
    this.#client?.stop(false);
    this.#frame.close();
  }

  #failed({ code, message }) {
    if (this.#isOver) return;
    this.#end();
    this.#status("failed", { code, message });
  }

  /** Connects, with what there is to show. */
  async #begin() {
    try {
      this.#shown = this.#identity.token ? undefined : await this.#options.credential?.();
    } catch (why) {
      return this.#failed({ code: why?.code ?? "NO_CREDENTIAL", message: `there is nothing to sign in with: ${why?.message ?? why}` });
    }
    if (!this.#isOver) this.#client.start(this.#shown ?? undefined);
  }

  #went({ phase, hello, error }) {
    if (this.#isOver) return;
    clearTimeout(this.#timer);
    if (phase === "connecting") return this.#status("connecting");
    if (phase === "open") {
      this.#hasBegunAnew = false;
      return this.#granted(hello.pluginSurfaceUrls?.canvas);
    }
    clearInterval(this.#use);
    this.#commands.based(null);
    if (phase === "pairing") {
      this.#status("pairing", { requestId: error.details.requestId, message: error.message });
      this.#timer = setTimeout(() => this.#client.start(this.#shown ?? undefined), PENDING_MS);
    } else if (phase === "waiting") {
      this.#status("waiting", { message: error?.message });
    } else if (this.#identity.token === null && !this.#hasBegunAnew && this.#options.credential) {
      // The gateway forgot the node, or the code was not good any more: once, it begins anew.
      this.#hasBegunAnew = true;
      this.#begin();
    } else {
      this.#failed(error ?? { code: "UNAVAILABLE", message: "the gateway refused this node" });
    }
  }

  /** The node has an address of the canvas, or waits for somebody to approve that. */
  async #granted(url) {
    const base = url ? capabilityPath(url) : null;
    if (base === null) return this.#status("approval", { requestId: await this.#waitsFor() });
    clearInterval(this.#use);
    this.#use = setInterval(() => this.#useIt(base), USE_MS);
    // What was shown by an address that works no more is opened again before anything else is done.
    const opened = this.#commands.based(base);
    this.#status("ready");
    await opened;
  }

  /** Under which request the node waits: the gateway says so to a node that tells what it has. */
  async #waitsFor() {
    try {
      await this.#client.request("node.runnerInventory.update", {});
    } catch (why) {
      return why.message.match(/nodes approve ([\w.:-]+)/)?.[1];
    }
  }

  async #refresh() {
    try {
      const answer = await this.#client.request("node.pluginSurface.refresh", { surface: "canvas" });
      await this.#granted(answer.pluginSurfaceUrls?.canvas);
    } catch (why) {
      if (!this.#isOver) this.#status("approval", { message: why.message });
    }
  }

  async #useIt(base) {
    const answer = await fetch(`${base}/__openclaw__/a2ui/`, { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer?.status === 401 && !this.#isOver) await this.#refresh();
  }

  #told(name, payload) {
    if (this.#isOver) return;
    if (name === "node.invoke.request") {
      this.#asked(payload);
    } else if (name === "node.pair.resolved" && payload.nodeId === this.#identity.deviceId) {
      if (payload.decision === "approved") this.#refresh();
      else this.#status("approval", { message: "what this node asked for was turned down" });
    }
  }

  async #asked({ id, nodeId, command, paramsJSON, params, timeoutMs }) {
    const answer = { id, nodeId, ok: true };
    try {
      const given = typeof paramsJSON === "string" ? read(paramsJSON) : params;
      answer.payloadJSON = JSON.stringify(await this.#commands.do(command, given, timeoutMs));
    } catch (why) {
      answer.ok = false;
      answer.error = { code: why instanceof Refusal ? why.code : "UNAVAILABLE", message: String(why?.message ?? why) };
    }
    this.#client.request("node.invoke.result", answer).catch(() => {});
  }

  /** A page tells what a person pressed: the gateway hears it, and the page what came of that. */
  async #pressed(text) {
    const action = actionOf(text);
    if (action === null) return;
    const say = (ok, error) => this.#commands.tell(ok ? { id: action.id, ok } : { id: action.id, ok, error });
    if (this.#actions >= ACTIONS_MAX) return say(false, "too many actions at once");
    this.#actions += 1;
    try {
      const request = agentRequest(action, { host: this.#options.displayName, instance: this.#identity.deviceId });
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
