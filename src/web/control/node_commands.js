// What a browser node does when it is asked: the canvas commands, on one frame. One after the other, as they were asked for.
import { A2UI_PAGE, Refusal, canvasPath, isA2ui } from "./canvas_address.js";
import { snapshotCode } from "./canvas_snapshot.js";

/** What the node says it can do. */
export const COMMANDS = [
  "canvas.present",
  "canvas.hide",
  "canvas.navigate",
  "canvas.eval",
  "canvas.snapshot",
  "canvas.a2ui.push",
  "canvas.a2ui.pushJSONL",
  "canvas.a2ui.reset",
];

/** Commands that may wait for their turn. */
const QUEUE_MAX = 16;
/** Messages of one push, and the time that is taken when nobody says how much there is. */
const MESSAGES_MAX = 10_000;
const DEFAULT_MS = 30_000;

export class CanvasCommands {
  #frame;
  #origin;
  #base = null;
  #path = null;
  #turn = Promise.resolve();
  #queued = 0;

  constructor(frame, origin) {
    this.#frame = frame;
    this.#origin = origin;
  }

  /** The node's capability is now this path; null while there is none. What is shown of the folder is opened again by it. */
  async based(base) {
    const isNew = base !== null && base !== this.#base;
    this.#base = base;
    // Surfaces live in their page only: it is left as it is, and needs nothing more of the gateway.
    if (!isNew || this.#path === null || isA2ui(this.#path)) return;
    this.#turn = this.#turn.then(() => this.#open(this.#path)).catch(() => {});
    await this.#turn;
  }

  /** Does `command`: gives its payload, or throws a Refusal. */
  do(command, params, timeoutMs) {
    if (this.#queued >= QUEUE_MAX) throw new Refusal("UNAVAILABLE", "too many canvas commands wait for this node");
    this.#queued += 1;
    const until = Date.now() + (timeoutMs > 0 ? timeoutMs : DEFAULT_MS);
    const left = () => Math.max(until - Date.now(), 1);
    const done = this.#turn.then(() => this.#do(command, params ?? {}, left));
    this.#turn = done.catch(() => {}).then(() => (this.#queued -= 1));
    return done;
  }

  /** Tells the page what became of an action. */
  tell(status) {
    const code = `dispatchEvent(new CustomEvent("openclaw:a2ui-action-status", {detail: ${JSON.stringify(status)}}))`;
    this.#frame.run(code, 5_000).catch(() => {});
  }

  async #do(command, params, left) {
    switch (command) {
      case "canvas.present":
        this.#frame.show(true);
        this.#frame.place(params.placement ?? {});
        if (text(params.url) !== null || !this.#frame.isOpen) await this.#open(canvasPath(params.url, this.#origin));
        return { ok: true };
      case "canvas.hide":
        this.#frame.show(false);
        return { ok: true };
      case "canvas.navigate":
        await this.#open(canvasPath(params.url, this.#origin));
        return { ok: true };
      case "canvas.eval":
        return { result: await this.#frame.run(needed(params, "javaScript"), left()) };
      case "canvas.snapshot":
        return this.#snapshot(params, left);
      case "canvas.a2ui.push":
      case "canvas.a2ui.pushJSONL":
        return this.#push(messagesOf(params), left);
      case "canvas.a2ui.reset":
        if (isA2ui(this.#path)) await this.#a2ui("reset()", left);
        return { ok: true };
      default:
        throw new Refusal("UNAVAILABLE", "command not supported");
    }
  }

  async #open(path) {
    if (this.#base === null) {
      throw new Refusal("UNAVAILABLE", "this node has no address of the canvas: nobody approved it yet, or the canvas is off (canvasHost.enabled)");
    }
    this.#path = path;
    return this.#frame.load(this.#base + path);
  }

  async #push(messages, left) {
    this.#frame.show(true);
    if (!isA2ui(this.#path) || !this.#frame.isOpen) await this.#open(A2UI_PAGE);
    return JSON.parse(await this.#a2ui(`applyMessages(${JSON.stringify(messages)})`, left));
  }

  /** Calls a function of the A2UI page, which may still be loading. */
  async #a2ui(call, left) {
    const ready = `new Promise((done) => {
      const look = (n) => (globalThis.openclawA2UI || n === 0 ? done(Boolean(globalThis.openclawA2UI)) : setTimeout(look, 50, n - 1));
      look(200);
    })`;
    if ((await this.#frame.run(ready, left())) !== "true") throw new Refusal("UNAVAILABLE", "the A2UI page did not start");
    return this.#frame.run(`openclawA2UI.${call}`, left());
  }

  async #snapshot(params, left) {
    const asked = text(params.format) ?? "jpeg";
    const format = asked === "jpg" ? "jpeg" : asked;
    if (format !== "jpeg" && format !== "png") throw new Refusal("INVALID_REQUEST", "format is jpeg or png");
    const maxWidth = bounded(params, "maxWidth", 1, 16_384);
    const quality = bounded(params, "quality", 0, 1) ?? 0.9;
    if (!this.#frame.isShown) throw new Refusal("UNAVAILABLE", "the canvas is hidden, and has no picture; present it first");
    const answer = JSON.parse(await this.#frame.run(snapshotCode({ format, maxWidth, quality }), left()));
    if (typeof answer?.base64 === "string") return { format, base64: answer.base64 };
    throw new Refusal("UNAVAILABLE", `no true picture of this page: ${String(answer?.refused ?? "it gave no reason").slice(0, 500)}`);
  }
}

function text(value) {
  return typeof value === "string" && value.trim() !== "" ? value.trim() : null;
}

function needed(params, name) {
  if (typeof params[name] !== "string" || params[name].trim() === "") throw new Refusal("INVALID_REQUEST", `${name} required`);
  return params[name];
}

function bounded(params, name, least, most) {
  const value = params[name];
  if (value === undefined || value === null) return null;
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw new Refusal("INVALID_REQUEST", `${name} is a number from ${least} to ${most}`);
  }
  return value;
}

/** The messages of a push: a list, or one JSON object a line. */
export function messagesOf({ messages, jsonl }) {
  let list = messages;
  if (!Array.isArray(list)) {
    if (typeof jsonl !== "string") throw new Refusal("INVALID_REQUEST", "messages or jsonl required");
    list = jsonl.split("\n").flatMap((line, at) => {
      if (line.trim() === "") return [];
      try {
        return [JSON.parse(line)];
      } catch {
        throw new Refusal("INVALID_REQUEST", `line ${at + 1} of jsonl is not JSON`);
      }
    });
  }
  if (list.length === 0) throw new Refusal("INVALID_REQUEST", "there are no messages");
  if (list.length > MESSAGES_MAX) throw new Refusal("INVALID_REQUEST", `more than ${MESSAGES_MAX} messages`);
  const wrong = list.findIndex((message) => typeof message !== "object" || message === null || Array.isArray(message));
  if (wrong >= 0) throw new Refusal("INVALID_REQUEST", `message ${wrong + 1} is no object`);
  return list;
}
