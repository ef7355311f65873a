// The one frame in which a browser node shows what agents wrote, and the channel into it. The page in the frame runs in a
// sandbox, has no origin, and is trusted with nothing: it gets code to run, and what it says is text. Whoever answers on
// the channel may be the agent's page itself; nothing of this page is ever handed in.
import { Refusal } from "./canvas_address.js";

const HELLO = "clawgate.canvas";
/** Time for a page to announce itself once it has loaded, and for it to load at all. */
const BRIDGE_MS = 1_500;
const LOAD_MS = 10_000;
/** Characters of an answer, and of an action, that are taken. */
const ANSWER_MAX = 16 * 1024 * 1024;
const ACTION_MAX = 64 * 1024;
/** Calls that may wait for an answer. */
const CALLS_MAX = 32;

export class CanvasFrame {
  #mount;
  #onAction;
  #frame = null;
  #port = null;
  #calls = new Map();
  #ready = null;
  #hear = (event) => this.#heard(event);

  /** `onAction(text)` is told what a page tells its app. */
  constructor(mount, onAction) {
    this.#mount = mount;
    this.#onAction = onAction;
    addEventListener("message", this.#hear);
  }

  /** Shows `address`, and is done when the page has loaded; says whether it can be talked to. */
  load(address) {
    this.#end("another page was opened before it answered");
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts");
    frame.title = "Canvas";
    frame.referrerPolicy = "no-referrer";
    frame.src = address;
    this.#frame?.remove();
    this.#frame = frame;
    const ready = withResolvers();
    this.#ready = ready;
    const late = setTimeout(() => ready.resolve(false), LOAD_MS);
    frame.addEventListener("load", () => setTimeout(() => ready.resolve(false), BRIDGE_MS));
    ready.promise.then(() => clearTimeout(late));
    this.#mount.append(frame);
    return ready.promise;
  }

  get isOpen() {
    return this.#frame !== null;
  }

  get isShown() {
    return !this.#mount.hidden;
  }

  show(isShown) {
    this.#mount.hidden = !isShown;
  }

  /** Wide and high as an agent asks; the rest of what it says about a window means nothing in a page. */
  place({ width, height } = {}) {
    for (const [name, value] of Object.entries({ width, height })) {
      if (!Number.isFinite(value)) continue;
      this.#mount.style[name] = `${Math.min(Math.max(value, 1), 4096)}px`;
    }
  }

  /** Evaluates code in the page: its value, as text. */
  run(code, boundMs) {
    if (this.#port === null) {
      const why = this.#frame
        ? "what the canvas shows cannot be talked to: it is no page of the canvas, or canvasHost.liveReload is off"
        : "the canvas shows nothing; present it first";
      return Promise.reject(new Refusal("UNAVAILABLE", why));
    }
    if (this.#calls.size >= CALLS_MAX) return Promise.reject(new Refusal("UNAVAILABLE", "the canvas has too much to do"));
    const id = crypto.randomUUID();
    const call = withResolvers();
    const late = setTimeout(() => this.#settle(id, new Refusal("TIMEOUT", "the page did not answer in time")), boundMs);
    this.#calls.set(id, { ...call, late });
    this.#port.postMessage({ id, code });
    return call.promise;
  }

  close() {
    this.#end("the canvas was closed");
    removeEventListener("message", this.#hear);
    this.#frame?.remove();
    this.#frame = null;
  }

  /** A page in the frame is there, and is given its end of a channel. Nobody else's word counts. */
  #heard(event) {
    if (this.#frame === null || event.source !== this.#frame.contentWindow) return;
    if (event.origin !== "null" || event.data !== HELLO) return;
    this.#end("the page loaded itself again before it answered");
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }) => this.#said(data);
    // A page without an origin has no name to address it by; only pages of this gateway load in the frame.
    this.#frame.contentWindow.postMessage(HELLO, "*", [port2]);
    this.#ready?.resolve(true);
  }

  #said(data) {
    if (typeof data?.action === "string") {
      if (data.action.length <= ACTION_MAX) this.#onAction(data.action);
    } else if (this.#calls.has(data?.id)) {
      const text = String(data.ok === true ? data.value : data.error);
      const isLong = text.length > ANSWER_MAX;
      if (isLong) this.#settle(data.id, new Refusal("UNAVAILABLE", "the page's answer is too long"));
      else if (data.ok === true) this.#settle(data.id, null, text);
      else this.#settle(data.id, new Refusal("UNAVAILABLE", text.slice(0, 2000)));
    }
  }

  #settle(id, error, value) {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    this.#calls.delete(id);
    clearTimeout(call.late);
    if (error) call.reject(error);
    else call.resolve(value);
  }

  #end(why) {
    this.#port?.close();
    this.#port = null;
    for (const id of [...this.#calls.keys()]) this.#settle(id, new Refusal("UNAVAILABLE", why));
  }
}

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}
