// What the page knows of the gateway: each fact with the method that asks for it and the events after which it is asked
// again. Views are told what changed; nothing here touches the page.
import { bounded } from "./event_filter.js";

const EVENTS_MOST = 500;
/** Several events of one act come close together: one question answers them all. */
const SETTLE_MS = 120;
const POLL_MS = 5_000;

/** Fact, method, and where in the answer it lies. */
const FACTS = {
  status: ["status", (answer) => answer],
  health: ["health", (answer) => answer],
  system: ["system.info", (answer) => answer],
  presence: ["system-presence", (answer) => answer],
  nodes: ["node.list", (answer) => answer.nodes],
  nodePairs: ["node.pair.list", (answer) => answer.pending],
  devices: ["device.pair.list", (answer) => answer],
  execApprovals: ["exec.approval.list", (answer) => answer],
  pluginApprovals: ["plugin.approval.list", (answer) => answer],
};

/** Facts that an event makes old, by the beginning of its name. */
const AGED_BY = [
  ["presence", ["nodes", "devices", "status"]],
  ["health", ["status"]],
  ["device.pair.", ["devices", "nodes", "status"]],
  ["node.pair.", ["nodePairs", "nodes"]],
  ["node.", ["nodes"]],
  ["exec.approval.", ["execApprovals"]],
  ["plugin.approval.", ["pluginApprovals"]],
];

export class Model {
  constructor(client) {
    this.client = client;
    this.known = {};
    this.errors = {};
    this.events = [];
    this.listeners = new Set();
    this.aged = new Set();
    this.asking = new Set();
    setInterval(() => this.client.hello && !document.hidden && this.age(["status"]), POLL_MS);
  }

  /** `listener(what)` hears the name of a fact, `event`, `connection`. */
  onChange(listener) {
    this.listeners.add(listener);
  }

  tell(what) {
    for (const listener of this.listeners) listener(what);
  }

  /** A connection is open: everything is asked anew. */
  opened(hello) {
    this.hello = hello;
    this.startedAt = Date.now() - (hello.snapshot?.uptimeMs ?? 0);
    this.known.presence = hello.snapshot?.presence ?? [];
    this.known.health = hello.snapshot?.health ?? {};
    this.tell("connection");
    this.ageAll();
  }

  ageAll() {
    this.age(Object.keys(FACTS));
  }

  heard(frame) {
    const { event, payload, seq } = frame;
    this.events.push({ event, payload, seq, ts: Date.now(), id: (this.lastEvent = (this.lastEvent ?? 0) + 1) });
    bounded(this.events, EVENTS_MOST);
    if (event === "presence") this.learn("presence", payload?.presence ?? []);
    if (event === "health") this.learn("health", payload ?? {});
    for (const [start, facts] of AGED_BY) if (event.startsWith(start)) this.age(facts);
    this.tell("event");
  }

  learn(fact, value) {
    this.known[fact] = value;
    delete this.errors[fact];
    this.tell(fact);
  }

  /** Asks for facts again, soon and once. */
  age(facts) {
    facts.forEach((fact) => this.aged.add(fact));
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      for (const fact of [...this.aged]) {
        if (this.asking.has(fact)) continue;
        this.aged.delete(fact);
        this.ask(fact);
      }
    }, SETTLE_MS);
  }

  async ask(fact) {
    const [method, part] = FACTS[fact];
    this.asking.add(fact);
    try {
      this.learn(fact, part(await this.client.request(method)) ?? []);
    } catch (error) {
      this.errors[fact] = error;
      this.tell(fact);
    }
    this.asking.delete(fact);
    if (this.aged.has(fact) && this.client.hello) this.age([]);
  }

  /** Why a list is empty when the gateway did not give it; empty otherwise. */
  excuse(...facts) {
    const found = facts.map((fact) => this.errors[fact]).find((error) => error !== undefined);
    return found && this.client.hello ? `Not shown: ${found.message}` : "";
  }

  /** Pending pairings of devices and of what nodes offer, in the order they came. */
  pairings() {
    const devices = (this.known.devices?.pending ?? []).map((asked) => ({ kind: "device", ...asked }));
    const nodes = (this.known.nodePairs ?? []).map((asked) => ({ kind: "node", ...asked }));
    return [...devices, ...nodes].sort((a, b) => a.ts - b.ts);
  }

  /** Approvals that wait at `now`, the one that runs out first on top. */
  approvals(now = Date.now()) {
    const all = [...(this.known.execApprovals ?? []), ...(this.known.pluginApprovals ?? [])];
    return all.filter(({ expiresAtMs }) => expiresAtMs > now).sort((a, b) => a.expiresAtMs - b.expiresAtMs);
  }
}
