// Who is attached now, with role and scopes, and which devices are paired. A paired device can be removed.
import { askingButton, chips, el, listOf, section, setText } from "./dom.js";
import { ago, scopeNames, shortId } from "./format.js";

/** Whether somebody is there now: the gateway lists itself, and for a while those who left. */
const isAttached = (entry) => entry.mode !== "gateway" && entry.reason !== "disconnect";

/** Who is attached; also used on the overview. */
export function attachedList({ model }) {
  const list = listOf({
    label: "Attached now",
    empty: "Nobody is attached.",
    keyOf: (entry) => entry.deviceId ? `${entry.deviceId} ${(entry.roles ?? []).join()}` : (entry.instanceId ?? `${entry.host} ${entry.onlineSince}`),
    make: attachedRow,
  });
  const update = () => list.show((model.known.presence ?? []).filter(isAttached), model.excuse("presence"));
  return { node: list.node, update };
}

export function peopleView(context) {
  const { model, act, ownDevice } = context;
  const attached = attachedList(context);
  const paired = listOf({
    label: "Paired devices",
    empty: "No device is paired.",
    keyOf: (device) => device.deviceId,
    make: (device) => pairedRow(device, act, ownDevice()),
  });
  return {
    node: el("div", {}, section("Attached now", attached.node), section("Paired devices", paired.node)),
    update() {
      attached.update();
      paired.show(model.known.devices?.paired ?? [], model.excuse("devices"));
    },
  };
}

function attachedRow(first) {
  const name = first.host || shortId(first.deviceId);
  const role = el("span", { class: "tag" });
  const facts = el("p", { class: "facts" });
  const scopes = chips(`Scopes of ${name}`, []);
  const node = el("li", { class: "row" }, el("div", { class: "what" }, el("strong", {}, name), role, facts, scopes.node));
  return {
    node,
    update(now) {
      setText(role, (now.roles ?? []).join(", ") || "no device");
      const parts = [now.clientId, now.mode, now.platform, now.version && `version ${now.version}`, now.ip, shortId(now.deviceId)];
      if (now.onlineSince) parts.push(`attached ${ago(now.onlineSince, Date.now())}`);
      setText(facts, parts.filter(Boolean).join(" · "));
      scopes.update(scopeNames(now.scopes));
    },
  };
}

function pairedRow(first, act, own) {
  const name = first.label || first.displayName || first.clientId || shortId(first.deviceId);
  const state = el("span", { class: "tag" });
  const facts = el("p", { class: "facts" });
  const scopes = chips(`Scopes of paired ${name}`, []);
  const isOwn = first.deviceId === own;
  const node = el("li", { class: "row" },
    el("div", { class: "what" }, el("strong", {}, name), state, facts, scopes.node),
    el("div", { class: "acts" },
      askingButton("Remove", isOwn ? "this browser" : `device ${name}`,
        (at) => act(at, "device.pair.remove", { deviceId: first.deviceId }, `Removed device ${name}`))));
  return {
    node,
    update(now) {
      setText(state, isOwn ? "this browser" : now.connected ? "connected" : "away");
      state.classList.toggle("good", now.connected === true);
      const parts = [(now.roles ?? []).join(", "), now.clientId, now.platform, shortId(now.deviceId)];
      parts.push(now.approvedVia && `approved: ${now.approvedVia}`, now.approvedAtMs && `paired ${ago(now.approvedAtMs, Date.now())}`);
      setText(facts, parts.filter(Boolean).join(" · "));
      scopes.update(scopeNames(now.scopes));
    },
  };
}
