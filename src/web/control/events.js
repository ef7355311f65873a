// The live stream of what the gateway tells this page, newest on top, with a filter and a pause.
import { el, listOf, setText } from "./dom.js";
import { bounded, parseFilter, passes } from "./event_filter.js";
import { clock } from "./format.js";

const SHOWN_MOST = 200;
const PREVIEW_CHARS = 160;

export function eventsView({ model }) {
  let filter = parseFilter("");
  let held;
  const list = listOf({
    label: "Events",
    empty: "No event yet that passes the filter.",
    keyOf: (event) => event.id,
    make: eventRow,
  });
  const field = el("input", { type: "search", id: "event-filter", placeholder: "pair -tick", autocomplete: "off", spellcheck: false });
  field.addEventListener("input", () => {
    filter = parseFilter(field.value);
    update();
  });
  const pause = el("button", { type: "button", class: "button", "aria-pressed": "false" }, "Pause");
  pause.addEventListener("click", () => {
    held = held === undefined ? [...model.events] : undefined;
    pause.setAttribute("aria-pressed", String(held !== undefined));
    update();
  });
  const count = el("span", { class: "facts" });
  const update = () => {
    const all = held ?? model.events;
    const found = all.filter((event) => passes(filter, `${event.event} ${asText(event)}`));
    list.show(bounded([...found], SHOWN_MOST).reverse());
    setText(count, `${found.length} of ${all.length}${held ? ", paused" : ""}`);
  };
  const bar = el("div", { class: "bar" }, el("label", { for: "event-filter" }, "Filter events"), field, pause, count);
  return { node: el("div", {}, bar, list.node), update };
}

/** The payload as text, made once. */
function asText(event) {
  event.text ??= JSON.stringify(event.payload ?? null);
  return event.text;
}

function eventRow(event) {
  const body = el("pre", { tabIndex: 0, "aria-label": `Payload of ${event.event}` });
  const details = el("details", {},
    el("summary", {},
      el("time", {}, clock(event.ts)),
      el("code", {}, event.event),
      el("span", { class: "facts mono" }, asText(event).slice(0, PREVIEW_CHARS))),
    body);
  details.addEventListener("toggle", () => {
    if (details.open) setText(body, JSON.stringify(event.payload ?? null, null, 2));
  });
  return { node: el("li", { class: "row line" }, details) };
}
