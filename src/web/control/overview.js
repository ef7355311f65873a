// The gateway at a glance: its figures, what waits for a person, and who is attached.
import { approvalList } from "./approvals.js";
import { el, section, setText } from "./dom.js";
import { bytes, span } from "./format.js";
import { pairingList } from "./pairing.js";
import { attachedList } from "./people.js";

/** Label, value and what stands below it, of the model at a time. */
const FIGURES = [
  ["Uptime", (model, now) => span(now - model.startedAt), (model) => model.known.system?.hostname],
  ["Version", (model) => model.hello?.server?.version, (model) => `protocol ${model.hello?.protocol ?? "?"}`],
  ["Memory", (model) => bytes(gateway(model).memory?.residentBytes), (model) => budget(gateway(model).memory)],
  ["Connections", (model) => gateway(model).sockets?.open, (model) => of(gateway(model).sockets)],
  ["Nodes", (model) => (model.known.nodes ?? []).filter((node) => node.connected).length, (model) => `of ${(model.known.nodes ?? []).length} known`],
  ["Waiting", (model) => model.pairings().length + model.approvals().length, (model) => waiting(model)],
  ["Refused", (model) => total(gateway(model).refused), () => "since the start"],
  ["Health", (model) => (model.known.health?.ok === false ? "not well" : "well"), (model) => phase(model)],
];

const gateway = (model) => model.known.status?.gateway ?? {};
const of = (sockets) => (sockets ? `${sockets.http ?? 0} plain HTTP, at most ${sockets.max}` : "");
const budget = (memory) => (memory ? `${bytes(memory.budgetUsedBytes)} of ${bytes(memory.budgetMaxBytes)} queued` : "");
const total = (counts = {}) => Object.values(counts).reduce((sum, count) => sum + count, 0);
const waiting = (model) => `${model.pairings().length} pairing, ${model.approvals().length} approval`;

function phase(model) {
  const restart = gateway(model).restartNeeded ?? [];
  return restart.length > 0 ? `restart needed for ${restart.length} settings` : (gateway(model).phase ?? "");
}

export function overviewView(context) {
  const { model } = context;
  const tiles = FIGURES.map(([label, value, below]) => {
    const figure = el("dd", { class: "figure" });
    const more = el("dd", { class: "facts" });
    return { node: el("div", { class: "tile" }, el("dt", {}, label), figure, more), figure, more, value, below };
  });
  const pairings = pairingList(context);
  const approvals = approvalList(context);
  const attached = attachedList(context);
  const calm = el("p", { class: "empty" }, "Nothing waits for you.");
  const urgent = section("Waiting for you", calm, approvals.node, pairings.node);
  return {
    node: el("div", { class: "overview" },
      el("dl", { class: "tiles", "aria-label": "Figures" }, tiles.map((tile) => tile.node)),
      urgent,
      section("Attached now", attached.node)),
    update() {
      const now = Date.now();
      for (const { figure, more, value, below } of tiles) {
        setText(figure, String(value(model, now) ?? "…"));
        setText(more, String(below(model) ?? ""));
      }
      approvals.update();
      pairings.update();
      attached.update();
      const pairs = model.pairings().length;
      const asks = model.approvals().length;
      pairings.node.hidden = pairs === 0 && model.excuse("devices", "nodePairs") === "";
      approvals.node.hidden = asks === 0 && model.excuse("execApprovals", "pluginApprovals") === "";
      calm.hidden = !(pairings.node.hidden && approvals.node.hidden);
      // What waits comes first where there is no room for everything: the figures have nothing to be focused.
      urgent.classList.toggle("urgent", calm.hidden);
    },
  };
}
