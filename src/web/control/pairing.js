// Who asks to be let in: devices, and nodes that offer more than was approved. Each is approved or rejected here.
import { askingButton, button, chips, el, listOf, setText } from "./dom.js";
import { ago, scopeNames, shortId } from "./format.js";

/** The list of pending pairings, also used on the overview. */
export function pairingList({ model, act }) {
  const list = listOf({
    label: "Pending pairings",
    empty: "Nobody is waiting to be paired.",
    keyOf: (asked) => asked.requestId,
    make: (asked) => pairingRow(asked, act),
  });
  return { node: list.node, update: () => list.show(model.pairings(), model.excuse("devices", "nodePairs")) };
}

export function pairingView(context) {
  const list = pairingList(context);
  const hint = el("p", { class: "hint" }, "The same from a terminal: ", el("code", {}, "clawgate devices list"), " and ",
    el("code", {}, "clawgate nodes pending"), ". Approve only what you started yourself a moment ago.");
  return { node: el("div", {}, list.node, hint), update: list.update };
}

function pairingRow(asked, act) {
  const isNode = asked.kind === "node";
  const id = isNode ? asked.nodeId : asked.deviceId;
  const name = asked.displayName || asked.clientId || shortId(id);
  const method = isNode ? "node.pair" : "device.pair";
  const said = isNode ? `node ${name}` : `device ${name}`;
  const when = el("span");
  const grants = chips(isNode ? `Commands of ${name}` : `Scopes of ${name}`, isNode ? (asked.commands ?? []) : scopeNames(asked.scopes));
  grants.update(isNode ? (asked.commands ?? []) : scopeNames(asked.scopes));
  const facts = [
    isNode ? "node" : (asked.roles ?? [asked.role]).filter(Boolean).join(", "),
    [asked.clientId, asked.platform].filter(Boolean).join(" on "),
    asked.remoteIp || "this machine or a proxy",
  ];
  const node = el("li", { class: "row waits" },
    el("div", { class: "what" },
      el("strong", {}, name),
      el("span", { class: "tag" }, isNode ? "wants its commands approved" : asked.isRepair ? "wants more than it has" : "wants to be paired"),
      el("p", { class: "facts" }, facts.filter(Boolean).join(" · "), " · ", when),
      el("p", { class: "facts mono" }, shortId(id)),
      grants.node),
    el("div", { class: "acts" },
      button("Approve", said, (at) => act(at, `${method}.approve`, { requestId: asked.requestId }, `Approved ${said}`), "primary"),
      askingButton("Reject", said, (at) => act(at, `${method}.reject`, { requestId: asked.requestId }, `Rejected ${said}`))));
  return { node, update: (now) => setText(when, ago(now.ts, Date.now())) };
}
