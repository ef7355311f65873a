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
  "question.requested": "QuestionRecord",
  "question.resolved": "QuestionResolvedEvent",
  "device.pair.setup.completed": "DevicePairSetupCompletedEvent",
  "device.pair.setup.deliveryUncertain": "DevicePairSetupDeliveryUncertainEvent",
};
/** `sessions.messages.subscribe` is `SessionsMessagesSubscribe`. */
const byRule = (method) => method.split(/[.\-_]/).map((part) => part[0].toUpperCase() + part.slice(1)).join("");

/** A value that a rule of the published schema probably allows; whoever uses it asks the validator. */
function sample(rule) {
  if ("const" in rule) return rule.const;
  if (rule.enum) return rule.enum[0];
  const either = rule.anyOf ?? rule.allOf ?? rule.oneOf;
  if (either) return sample(either[0]);
  switch (rule.type) {
    case "string":
      if (rule.pattern?.includes("d{4}")) return "2026-11-22";
      if (rule.pattern?.includes("UTC")) return "UTC+2";
      return "x".repeat(Math.max(1, rule.minLength ?? 1));
    case "integer":
    case "number":
      return Math.max(rule.minimum ?? 1, 1);
    case "boolean":
      return true;
    case "array":
      return [sample(rule.items ?? {})];
    case "object": {
      const members = (rule.required ?? []).map((name) => [name, sample(rule.properties?.[name] ?? {})]);
      return Object.fromEntries(members);
    }
    default:
      return "x";
  }
}

/** Values of every kind, one of which is wrong for nearly every rule. */
const ODD = [null, true, 5, -1, 1.5, "", "odd", [], [5], {}];

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

  /**
   * Params like `good` with each declared member in turn set to a good and to odd values, each with what the published
   * schema says of it.
   */
  *variants(method, good) {
    const name = this.definition(method, "Params");
    const definition = name ? this.definitions[name] : {};
    const judged = (params) => ({ params, fits: this.errors(name, params).length === 0 });
    for (const [member, rule] of Object.entries(definition.properties ?? {})) {
      yield judged({ ...good, [member]: sample(rule) });
      for (const odd of ODD) yield judged({ ...good, [member]: odd });
    }
    for (const member of definition.required ?? []) {
      const { [member]: _, ...rest } = good;
      yield judged(rest);
    }
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
