// The published schema as an oracle: every frame, and every payload that has a definition.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";
import { Ajv } from "ajv";
import { PARAMS, RESULTS } from "./definitions.mjs";

const require = createRequire(import.meta.url);

/** Payload definitions by event and by method; what is not here has no definition in the published schema. */
const EVENTS = {
  tick: "TickEvent",
  shutdown: "ShutdownEvent",
  "device.pair.requested": "DevicePairRequestedEvent",
  "device.pair.resolved": "DevicePairResolvedEvent",
};
/** `sessions.messages.subscribe` is `SessionsMessagesSubscribe`. */
const byRule = (method) => method.split(/[.\-_]/).map((part) => part[0].toUpperCase() + part.slice(1)).join("");

export class Schema {
  constructor() {
    const entry = require.resolve("@openclaw/gateway-protocol");
    const root = entry.slice(0, entry.lastIndexOf(`${path.sep}gateway-protocol${path.sep}`));
    const file = path.join(root, "gateway-protocol", "protocol.schema.json");
    const document = JSON.parse(readFileSync(file, "utf8"));
    this.definitions = document.definitions;
    /** What the published registry says about each method. */
    this.methods = document.methods;
    this.ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
    this.compiled = new Map();
    this.checked = new Map();
  }

  has(name) {
    return name in this.definitions;
  }

  errors(name, value) {
    if (!this.compiled.has(name)) this.compiled.set(name, this.ajv.compile(this.definitions[name]));
    const validate = this.compiled.get(name);
    this.checked.set(name, (this.checked.get(name) ?? 0) + 1);
    return validate(value) ? [] : validate.errors.map((error) => `${name}${error.instancePath} ${error.message}`);
  }

  /** The definition of a method's params or result; none for about half of the methods. */
  definition(method, part) {
    const name = (part === "Params" ? PARAMS : RESULTS)[method] ?? byRule(method) + part;
    return this.has(name) ? name : null;
  }

  /** What is wrong with a result, for methods that have a definition of it. */
  result(method, payload) {
    const name = this.definition(method, "Result");
    return name ? this.errors(name, payload) : [];
  }

  /** Everything wrong with what one connection was sent. */
  connection({ methods, sent }) {
    const wrong = [];
    for (const frame of sent) {
      if (frame.type === "event") {
        wrong.push(...this.errors("EventFrame", frame));
        const name = EVENTS[frame.event];
        if (name && this.has(name)) wrong.push(...this.errors(name, frame.payload));
        if (frame.event === "presence") this.presence(frame.payload.presence, wrong);
      } else {
        wrong.push(...this.errors("ResponseFrame", frame));
        const method = methods.get(frame.id);
        if (!frame.ok) wrong.push(...this.errors("ErrorShape", frame.error));
        else if (method === "system-presence") this.presence(frame.payload, wrong);
        else wrong.push(...this.result(method, frame.payload));
      }
    }
    return wrong;
  }

  presence(list, wrong) {
    for (const entry of list) wrong.push(...this.errors("PresenceEntry", entry));
  }
}
