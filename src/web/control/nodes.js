// The nodes: which are here, what each may be asked to do, and what still waits for approval.
import { askingButton, chips, el, listOf, setText } from "./dom.js";
import { ago, shortId } from "./format.js";

export function nodesView({ model, act }) {
  const list = listOf({
    label: "Nodes",
    empty: "No node yet. On the machine that shall become one: clawgate node run. A phone pairs with clawgate qr.",
    keyOf: (node) => node.nodeId,
    make: (node) => nodeRow(node, act),
  });
  return {
    node: list.node,
    update: () => list.show(model.known.nodes ?? [], model.excuse("nodes")),
  };
}

function nodeRow(first, act) {
  const name = first.displayName || shortId(first.nodeId);
  const state = el("span", { class: "tag" });
  const facts = el("p", { class: "facts" });
  const waits = el("p", { class: "facts" });
  const commands = chips(`Commands of ${name}`, []);
  const none = el("p", { class: "facts" }, "No command may be asked of it.");
  const title = el("strong");
  const node = el("li", { class: "row" },
    el("div", { class: "what" }, title, state, facts, commands.node, none, waits),
    el("div", { class: "acts" },
      askingButton("Remove", `node ${name}`, (at) => act(at, "node.pair.remove", { nodeId: first.nodeId }, `Removed node ${name}`))));
  return {
    node,
    update(now) {
      setText(title, now.displayName || shortId(now.nodeId));
      setText(state, now.connected ? "connected" : "away");
      state.classList.toggle("good", now.connected === true);
      const seen = now.connected ? now.connectedAtMs : now.lastSeenAtMs;
      const parts = [now.platform, now.version && `version ${now.version}`, now.remoteIp, shortId(now.nodeId)];
      if (seen) parts.push(`${now.connected ? "connected" : "last seen"} ${ago(seen, Date.now())}`);
      setText(facts, parts.filter(Boolean).join(" · "));
      commands.update(now.commands ?? []);
      none.hidden = (now.commands ?? []).length > 0;
      const asked = now.pendingDeclaredCommands ?? [];
      waits.hidden = !now.pendingRequestId;
      setText(waits, `Waits for approval under Pairing: ${asked.join(", ") || "its surface"}`);
    },
  };
}
