// One connection to the gateway that comes back by itself: the handshake with this browser's key, requests with their
// answers, events in order, and a word when some were missed. The page is one such client, its browser node another.
import { GatewayError, afterRefusal, connectParams, retryAfter, signedText, tokenIsDead } from "./protocol.js";

const HANDSHAKE_MS = 15_000;
const REQUEST_MS = 30_000;
const WAITING_MOST = 200;

/** The address of the WebSocket beside this page. */
export function socketUrl() {
  const url = new URL(".", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  url.search = "";
  return url.href;
}

/**
 * `identity` comes from identity.js; `client`, `role`, `scopes`, `caps`, `commands` are what connect says.
 * `onState({phase, ...})`: `connecting`; `open` with `hello`; `pairing` and `waiting` with `error?` and `retryInMs`;
 * `refused` with `error`, after which only `start` tries again; `stopped`. `onEvent(frame)` gets every event, `onGap()`
 * says that some were missed and what is shown must be asked for again.
 */
export class GatewayClient {
  constructor({ url, identity, client, role, scopes, caps, commands, onState, onEvent = () => {}, onGap = () => {} }) {
    Object.assign(this, { url, identity, said: { client, role, scopes, caps, commands }, onState, onEvent, onGap });
    this.waiting = new Map();
    this.serial = 0;
    this.attempt = 0;
  }

  /** Connects; `once` is a credential for the first success only: `{bootstrapToken}`, `{token}`, `{password}`. */
  start(once) {
    this.stop(false);
    this.once = once;
    this.stopped = false;
    this.attempt = 0;
    this.connect();
  }

  stop(tells = true) {
    this.stopped = true;
    clearTimeout(this.timer);
    this.drop(new GatewayError({ message: "the connection was closed" }));
    if (tells) this.onState({ phase: "stopped" });
  }

  /** Gives the payload of the answer; rejects with a GatewayError. */
  request(method, params = {}, boundMs = REQUEST_MS) {
    return new Promise((resolve, reject) => {
      if (this.socket?.readyState !== WebSocket.OPEN || this.waiting.size >= WAITING_MOST) {
        reject(new GatewayError({ code: "UNAVAILABLE", message: "not connected to the gateway" }));
        return;
      }
      this.serial += 1;
      const id = `p${this.serial}`;
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new GatewayError({ code: "TIMEOUT", message: `no answer to ${method} within ${boundMs / 1000} s` }));
      }, boundMs);
      this.waiting.set(id, { resolve, reject, timer });
      this.socket.send(JSON.stringify({ type: "req", id, method, params }));
    });
  }

  connect() {
    this.onState({ phase: "connecting" });
    this.hello = undefined;
    this.lastSeq = 0;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.watch(HANDSHAKE_MS);
    socket.onmessage = ({ data }) => {
      if (socket === this.socket && typeof data === "string") this.heard(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.socket) return;
      const why = reason || (code === 1006 ? "the gateway cannot be reached" : "the gateway closed the connection");
      this.lost(new GatewayError({ code: `CLOSED_${code}`, message: why }));
    };
  }

  heard(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (this.hello) this.watch(2 * this.tickMs);
    if (frame?.type === "res") this.answered(frame);
    else if (frame?.type === "event") this.happened(frame);
  }

  answered(frame) {
    const asked = this.waiting.get(frame.id);
    if (asked === undefined) return;
    this.waiting.delete(frame.id);
    clearTimeout(asked.timer);
    if (frame.ok) asked.resolve(frame.payload);
    else asked.reject(new GatewayError(frame.error));
  }

  happened(frame) {
    if (frame.event === "connect.challenge") {
      if (!this.hello) this.prove(frame.payload ?? {});
      return;
    }
    // Protocol 4 counts each connection's events; protocol 3 counts those of all, where a gap means nothing.
    if (Number.isInteger(frame.seq)) {
      if (this.hello?.protocol >= 4 && this.lastSeq > 0 && frame.seq > this.lastSeq + 1) this.onGap();
      this.lastSeq = frame.seq;
    }
    this.onEvent(frame);
  }

  async prove(challenge) {
    const socket = this.socket;
    try {
      const stored = this.identity.token;
      const auth = this.once ?? (stored ? { deviceToken: stored } : {});
      const { deviceId, publicKey } = this.identity;
      const signature = await this.identity.sign(signedText({ deviceId, ...this.said, auth, challenge }));
      if (socket !== this.socket) return;
      const device = { id: deviceId, publicKey, signature, signedAt: challenge.ts, nonce: challenge.nonce };
      const { language: locale, userAgent } = navigator;
      const hello = await this.request("connect", connectParams({ ...this.said, auth, device, locale, userAgent }));
      if (socket !== this.socket) return;
      if (hello.auth?.deviceToken) await this.identity.keepToken(hello.auth.deviceToken);
      if (socket === this.socket) this.welcomed(hello);
    } catch (error) {
      if (socket !== this.socket) return;
      if (tokenIsDead(error) && this.once === undefined) await this.identity.keepToken(null).catch(() => {});
      this.lost(error instanceof GatewayError ? error : new GatewayError({ message: String(error?.message ?? error) }));
    }
  }

  welcomed(hello) {
    this.once = undefined;
    this.attempt = 0;
    this.hello = hello;
    this.tickMs = Math.max(1_000, Number(hello.policy?.tickIntervalMs) || 30_000);
    this.watch(2 * this.tickMs);
    this.onState({ phase: "open", hello });
  }

  /** Silence ends a connection whose other side has gone without a word. */
  watch(ms) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lost(new GatewayError({ code: "TIMEOUT", message: "the gateway is silent" })), ms);
  }

  drop(error) {
    clearTimeout(this.silence);
    const socket = this.socket;
    this.socket = undefined;
    this.hello = undefined;
    socket?.close();
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(error);
    }
  }

  lost(error) {
    this.drop(error);
    if (this.stopped) return;
    const next = afterRefusal(error);
    if (next === "ask") {
      this.once = undefined;
      this.onState({ phase: "refused", error });
      return;
    }
    const retryInMs = retryAfter(this.attempt, Math.random(), error.retryAfterMs, next === "pairing");
    this.attempt += 1;
    this.timer = setTimeout(() => this.connect(), retryInMs);
    this.onState({ phase: next === "pairing" ? "pairing" : "waiting", error, retryInMs });
  }
}
