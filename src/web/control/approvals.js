// Commands and acts that wait for a person's word. Each is decided here, and who asked is told by the gateway.
import { askingButton, button, el, listOf, setText } from "./dom.js";
import { approvalTitle, shortId, span } from "./format.js";

/** The list of what waits for a decision, also used on the overview. */
export function approvalList({ model, act }) {
  const list = listOf({
    label: "Approvals waiting",
    empty: "Nothing waits for a decision.",
    keyOf: (approval) => approval.id,
    make: (approval) => approvalRow(approval, act),
  });
  const update = () => list.show(model.approvals(), model.excuse("execApprovals", "pluginApprovals"));
  return { node: list.node, update };
}

export function approvalView(context) {
  const list = approvalList(context);
  const hint = el("p", { class: "hint" }, "Allow always is remembered for this command; deny tells the asker no. Without a decision it is denied when the time is over.");
  return { node: el("div", {}, list.node, hint), update: list.update };
}

function approvalRow(approval, act) {
  const asked = approval.request ?? {};
  const title = approvalTitle(approval);
  const method = approval.approvalKind === "plugin" ? "plugin.approval.resolve" : "exec.approval.resolve";
  const left = el("span");
  const allowed = Array.isArray(asked.allowedDecisions) ? asked.allowedDecisions : ["allow-once", "deny"];
  const decide = (decision, done) => (at) => act(at, method, { id: approval.id, decision }, `${done}: ${title}`);
  const facts = [
    approval.approvalKind === "plugin" ? [asked.pluginId, asked.description].filter(Boolean).join(": ") : undefined,
    asked.host === "node" ? `on node ${shortId(asked.nodeId)}` : asked.host ? `on the ${asked.host}` : undefined,
    asked.cwd ? `in ${asked.cwd}` : undefined,
    asked.agentId ? `asked by ${asked.agentId}` : undefined,
  ];
  const node = el("li", { class: "row waits" },
    el("div", { class: "what" },
      el("code", { class: "command" }, title),
      el("p", { class: "facts" }, facts.filter(Boolean).map((fact) => `${fact} · `).join(""), left)),
    el("div", { class: "acts" },
      allowed.includes("allow-once") && button("Allow once", title, decide("allow-once", "Allowed once"), "primary"),
      allowed.includes("allow-always") && askingButton("Allow always", title, decide("allow-always", "Allowed always"), ""),
      allowed.includes("deny") && button("Deny", title, decide("deny", "Denied"), "danger")));
  return { node, update: (now) => setText(left, `${span(now.expiresAtMs - Date.now())} left`) };
}
