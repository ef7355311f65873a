// What a person pressed on the canvas, as the request to an agent that the apps make of it. Pure.

/** Characters of each part; of the context, as JSON. */
const PART_MAX = 120;
const CONTEXT_MAX = 8_000;

/** The action in a page's message to its app, or null when it is none. */
export function actionOf(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  const action = message?.userAction;
  if (typeof action !== "object" || action === null) return null;
  const id = typeof action.id === "string" && action.id !== "" ? action.id.slice(0, PART_MAX) : crypto.randomUUID();
  const name = typeof action.name === "string" ? action.name : action.action;
  return typeof name === "string" && name.trim() !== "" ? { ...action, id, name } : null;
}

/** The payload of `node.event` `agent.request`. Every part is one word, so that no page writes another part. */
export function agentRequest(action, { host, instance, sessionKey = "main" }) {
  const word = (value, otherwise) => {
    const plain = typeof value === "string" ? value.trim().slice(0, PART_MAX).replace(/[^A-Za-z0-9_.:-]/g, "_") : "";
    return plain || otherwise;
  };
  const context = action.context === undefined ? "" : JSON.stringify(action.context);
  const parts = {
    action: word(action.name, "action"),
    session: word(sessionKey, "main"),
    surface: word(action.surfaceId, "main"),
    component: word(action.sourceComponentId, "-"),
    host: word(host, "browser"),
    instance: word(instance, "-"),
  };
  const words = ["CANVAS_A2UI", ...Object.entries(parts).map(([name, value]) => `${name}=${value}`)];
  if (context !== "" && context.length <= CONTEXT_MAX) words.push(`ctx=${context}`);
  words.push("default=update_canvas");
  return { message: words.join(" "), sessionKey, thinking: "low", deliver: false, key: action.id };
}
