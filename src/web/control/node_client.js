// One connection of a browser node to its gateway: the challenge, the proof of its key, requests and their answers, events.
// It comes back by nobody's hand: whoever holds it decides whether to try again.

/** How long the gateway may take for its challenge, and for each answer. */
const ANSWER_MS = 30_000;
/** Without a sign of life for so long the connection is dead: two intervals of the gateway's `tick`. */
const SILENT_MS = 75_000;

/** What the gateway said no to, with its code and details. */
export class Refused extends Error {
  constructor({ code, message, details, retryAfterMs } = {}) {
    super(message ?? "the gateway gave no reason");
    Object.assign(this, { code: code ?? "UNAVAILABLE", details: details ?? {}, retryAfterMs });
  }
}

/** What a device proves itself with at protocol 4: the text that its signature covers. */
export function proofText({ deviceId, client, role, scopes, signedAt, token, nonce }) {
  const lower = (text) => (text ?? "").trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const parts = ["v3", deviceId, client.id, client.mode, role, scopes.join(","), signedAt, token, nonce];
  return [...parts, lower(client.platform), lower(client.deviceFamily)].join("|");
}

/** The secret that a signature covers: the first of those that are shown. */
export const signedToken = (auth) => auth.token ?? auth.deviceToken ?? auth.bootstrapToken ?? "";

export class NodeClient {
  #socket;
  #waiting = new Map();
  #serial = 0;
  #onEvent;
  #challenged;
  #isOver = null;
  #quiet;

  /** Opens a socket to `url`; `onEvent(name, payload)` is told what the gateway sends, `onClose(why)` once that it ended. */
  constructor(url, { onEvent, onClose }) {
    this.#onEvent = onEvent;
    this.#socket = new WebSocket(url);
    this.#challenged = new Promise((resolve, reject) => this.#waiting.set("challenge", { resolve, reject }));
    this.#challenged.catch(() => {});
    this.#alive();
    this.#socket.addEventListener("message", ({ data }) => {
      this.#alive();
      this.#took(data);
    });
    this.#socket.addEventListener("close", ({ code, reason }) => {
      clearTimeout(this.#quiet);
      this.#isOver = new Refused({ message: reason || `the connection ended (${code})` });
      for (const { reject } of this.#waiting.values()) reject(this.#isOver);
      this.#waiting.clear();
      onClose(this.#isOver);
    });
  }

  /** Signs in as `identity`; gives the gateway's hello. */
  async connect({ identity, auth, client, role, scopes, caps, commands }) {
    const { nonce, ts } = await this.#within("challenge", this.#challenged);
    const proof = { deviceId: identity.deviceId, client, role, scopes, signedAt: ts, token: signedToken(auth), nonce };
    const signature = await identity.sign(proofText(proof));
    const device = { id: identity.deviceId, publicKey: identity.publicKey, signature, signedAt: ts, nonce };
    const version = { minProtocol: 4, maxProtocol: 4 };
    return this.request("connect", { ...version, client, role, scopes, caps, commands, device, auth });
  }

  request(method, params) {
    if (this.#isOver) return Promise.reject(this.#isOver);
    const id = `n${(this.#serial += 1)}`;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#socket.send(JSON.stringify({ type: "req", id, method, params }));
    return this.#within(id, answer);
  }

  close() {
    this.#socket.close(1000);
  }

  #within(id, answer) {
    const late = setTimeout(() => {
      this.#waiting.get(id)?.reject(new Refused({ code: "TIMEOUT", message: "the gateway did not answer in time" }));
      this.#waiting.delete(id);
    }, ANSWER_MS);
    return answer.finally(() => clearTimeout(late));
  }

  #alive() {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#socket.close(4000, "silent"), SILENT_MS);
  }

  #took(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame?.type === "event" && frame.event === "connect.challenge") {
      this.#waiting.get("challenge")?.resolve(frame.payload ?? {});
      this.#waiting.delete("challenge");
    } else if (frame?.type === "event") {
      this.#onEvent(frame.event, frame.payload ?? {});
    } else if (frame?.type === "res") {
      const waiting = this.#waiting.get(frame.id);
      this.#waiting.delete(frame.id);
      if (frame.ok === true) waiting?.resolve(frame.payload ?? {});
      else waiting?.reject(new Refused(frame.error));
    }
  }
}
