// The canvas: a look at what the gateway's canvas folder serves, in a sandboxed frame, and this browser attached as a node
// that shows what agents send. The frame gets no origin and nothing of this page.
import { button, el, section, setText } from "./dom.js";
import { openIdentity } from "./identity.js";
import { attachNode } from "./node.js";
import { socketUrl } from "./client.js";
import { browserName, shortId } from "./format.js";

const SAYS = {
  connecting: "connecting",
  pairing: "waits to be paired: approve it under Pairing",
  approval: "waits for its commands to be approved: approve it under Pairing",
  ready: "ready: agents can show things here",
  waiting: "lost, tries again",
  failed: "cannot be a node",
  detached: "not attached",
};

export function canvasView({ model, say }) {
  const frame = el("div", { class: "stage" });
  const stage = el("div", { class: "stage" });
  const state = el("p", { class: "facts", role: "status" }, SAYS.detached);
  const look = button("Show", "the canvas folder", () => preview(model, frame, say));
  let attached;
  const attach = el("button", { type: "button", class: "button primary" }, "Attach this browser as a node");
  attach.addEventListener("click", () => {
    if (attached) {
      attached.detach();
      attached = undefined;
    } else {
      const mount = el("div", { class: "mount" });
      stage.replaceChildren(mount);
      const told = (now) => {
        const more = [now.message, now.requestId && `request ${now.requestId}`, now.nodeId && `node ${shortId(now.nodeId)}`];
        setText(state, [SAYS[now.state] ?? now.state, ...more.filter(Boolean)].join(" · "));
        if (now.state === "failed") attached = undefined;
        label();
      };
      attached = attachNode({
        gatewayUrl: socketUrl(),
        mount,
        identityStore: openIdentity,
        credential: nodeCredentials(model),
        onStatus: (now) => queueMicrotask(() => told(now)),
        displayName: browserName(navigator.userAgent),
      });
    }
    label();
  });
  const label = () => setText(attach, attached ? "Detach this browser" : "Attach this browser as a node");
  return {
    node: el("div", {},
      section("This browser as a node", el("p", { class: "hint" }, "A node shows canvas pages and A2UI surfaces that agents send, without a phone."),
        el("div", { class: "bar" }, attach), state, stage),
      section("Canvas folder", el("p", { class: "hint" }, "What the gateway serves under its canvas, in a sandbox."),
        el("div", { class: "bar" }, look), frame)),
    update() {},
  };
}

/**
 * Gives a function that gives a credential with which this browser's node may connect, made by the right of the person at
 * this page; the same one for as long as it lives, so that waiting for an approval does not make another each time.
 */
function nodeCredentials(model) {
  let kept;
  return async () => {
    if (["none", "trusted-proxy"].includes(model.hello?.snapshot?.authMode)) return {};
    if (!kept || kept.expiresAtMs < Date.now()) kept = await askForCredential(model);
    return { bootstrapToken: kept.bootstrapToken };
  };
}

async function askForCredential(model) {
  const made = await model.client.request("device.pair.setupCode", { bootstrapProfile: "node", publicUrl: socketUrl() });
  const text = atob(made.setupCode.replaceAll("-", "+").replaceAll("_", "/"));
  return { bootstrapToken: JSON.parse(text).bootstrapToken, expiresAtMs: made.expiresAtMs };
}

/** Shows the canvas by a capability made now: the sandbox may not use what this browser otherwise has. */
async function preview(model, frame, say) {
  try {
    const answer = await model.client.request("plugin.surface.refresh", { surface: "canvas" });
    const capability = new URL(answer.pluginSurfaceUrls.canvas, location.href).pathname.replace(/\/$/, "");
    const shown = el("iframe", { title: "Canvas folder", src: `${capability}/__openclaw__/canvas/` });
    shown.setAttribute("sandbox", "allow-scripts");
    shown.referrerPolicy = "no-referrer";
    frame.replaceChildren(shown);
  } catch (error) {
    say(`The canvas cannot be shown: ${error.message}`, "bad");
  }
}
