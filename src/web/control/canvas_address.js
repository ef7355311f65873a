// Where a browser node goes: what an agent names, as an address of this gateway's canvas below the node's own capability.
// Pure; a page of the gateway may frame nothing else (its policy says frame-src 'self').

/** What is refused, with the code that the asker is told. */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const CANVAS = "/__openclaw__/canvas/";
const A2UI = "/__openclaw__/a2ui/";
/** Longer than any address that leads somewhere. */
const ADDRESS_MAX = 4096;

/** The page that shows A2UI. */
export const A2UI_PAGE = `${A2UI}?platform=web`;

/**
 * The path of what `url` names, without a capability: a path of the canvas folder ("", "/", "page.html"), or an address
 * of this gateway below `/__openclaw__/canvas/` or `/__openclaw__/a2ui/`, with whatever capability.
 * `origin` is the gateway's, as this browser knows it.
 */
export function canvasPath(url, origin) {
  const text = typeof url === "string" ? url.trim() : "";
  if (text.length > ADDRESS_MAX) throw new Refusal("INVALID_REQUEST", `url is longer than ${ADDRESS_MAX} characters`);
  const here = new URL(origin);
  let target;
  try {
    const isWhole = /^\/(\/|__openclaw__\/)/.test(text);
    target = isWhole ? new URL(text, here) : new URL(text.replace(/^\/+/, ""), here.origin + CANVAS);
  } catch {
    throw new Refusal("INVALID_REQUEST", "url is no address");
  }
  if (!/^https?:$/.test(target.protocol)) {
    throw new Refusal("INVALID_REQUEST", `a canvas shows http and https addresses, and no ${target.protocol} ones`);
  }
  const path = target.pathname.replace(/^\/__openclaw__\/cap\/[^/]+(?=\/)/, "");
  const isCanvas = [CANVAS, A2UI].some((mount) => `${path}/`.startsWith(mount));
  if (!isHere(target, here) || !isCanvas) {
    throw new Refusal(
      "UNAVAILABLE",
      "a browser node shows the canvas and A2UI of its own gateway only: its page may frame nothing else (frame-src 'self')",
    );
  }
  const rest = path === CANVAS.slice(0, -1) || path === A2UI.slice(0, -1) ? `${path}/` : path;
  // The right to be here is the node's own, and stands before the path.
  const query = new URLSearchParams(target.search);
  query.delete("oc_cap");
  const asked = query.size > 0 ? `?${query}` : "";
  return rest + asked + target.hash;
}

export function isA2ui(path) {
  return path !== null && path.startsWith(A2UI);
}

/** Whether two addresses are this gateway: the same, or two names of this machine. */
function isHere(target, here) {
  const isLoopback = ({ hostname }) => /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
  return target.host === here.host || (target.port === here.port && isLoopback(target) && isLoopback(here));
}

/** The part of a capability's address that is the same whatever a proxy calls this gateway: its path. */
export function capabilityPath(url) {
  try {
    return new URL(url).pathname.match(/^\/__openclaw__\/cap\/[A-Za-z0-9_-]+$/)?.[0] ?? null;
  } catch {
    return null;
  }
}
