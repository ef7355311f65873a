// Who was turned away, and why: the latest ones where the gateway tells them, and the counts by reason since its start.
import { el, listOf, section, setText } from "./dom.js";
import { ago, clock } from "./format.js";

const RECENT_MOST = 50;

/** What a reason means and what helps, where the code alone does not say it. */
const MEANS = {
  AUTH_TOKEN_MISMATCH: "The token sent is not this gateway's. clawgate token shows the right one.",
  AUTH_TOKEN_MISSING: "No token was sent.",
  AUTH_PASSWORD_MISMATCH: "The password sent is not this gateway's.",
  AUTH_PASSWORD_MISSING: "No password was sent.",
  AUTH_BOOTSTRAP_TOKEN_INVALID: "A link or setup code was used a second time, is too old, or belongs to another device.",
  AUTH_DEVICE_TOKEN_MISMATCH: "The device's access was revoked or replaced; it has to pair again.",
  AUTH_RATE_LIMITED: "Too many wrong attempts from one address; it has to wait.",
  CONTROL_UI_ORIGIN_NOT_ALLOWED: "A page of another origin tried. Add it to gateway.controlUi.allowedOrigins if it is yours.",
  DEVICE_IDENTITY_REQUIRED: "The client proved no device.",
  PAIRING_REQUIRED: "The device waits for approval: see Pairing.",
  PROTOCOL_MISMATCH: "The client speaks a version that this gateway does not.",
};

/** The latest refusals; empty where the gateway does not tell them. */
function recent(model) {
  const found = model.known.status?.gateway?.recentRefusals;
  return Array.isArray(found) ? found.slice(0, RECENT_MOST) : [];
}

export function refusalsView({ model }) {
  const latest = listOf({
    label: "Recent refusals",
    empty: "Nobody was turned away lately.",
    keyOf: (refusal) => `${refusal.ts} ${refusal.code} ${refusal.address} ${refusal.clientId ?? ""}`,
    make: latestRow,
  });
  const counts = listOf({
    label: "Refusals by reason",
    empty: "Nobody was turned away since the gateway started.",
    keyOf: ([code]) => code,
    make: countRow,
  });
  const lately = section("Recent refusals", latest.node);
  return {
    node: el("div", {}, lately, section("Since the start, by reason", counts.node)),
    update() {
      latest.show(recent(model));
      lately.hidden = recent(model).length === 0;
      const all = Object.entries(model.known.status?.gateway?.refused ?? {});
      counts.show(all.sort((a, b) => b[1] - a[1]), model.excuse("status"));
    },
  };
}

function latestRow(refusal) {
  const when = el("span");
  const node = el("li", { class: "row" }, el("div", { class: "what" },
    el("code", {}, String(refusal.code)),
    el("p", { class: "facts" }, [refusal.address, refusal.clientId, clock(refusal.ts)].filter(Boolean).join(" · "), " · ", when),
    MEANS[refusal.code] && el("p", { class: "facts" }, MEANS[refusal.code])));
  return { node, update: (now) => setText(when, ago(now.ts, Date.now())) };
}

function countRow([code]) {
  const count = el("span", { class: "tag" });
  const node = el("li", { class: "row" }, el("div", { class: "what" },
    el("code", {}, code), count, MEANS[code] && el("p", { class: "facts" }, MEANS[code])));
  return { node, update: ([, times]) => setText(count, times === 1 ? "once" : `${times} times`) };
}
