// The end of the gateway's log, asked for while it is looked at, with a filter and the least level shown.
import { el, listOf, setText } from "./dom.js";
import { bounded, parseFilter, passes } from "./event_filter.js";
import { clock, logLine } from "./format.js";

const LINES_MOST = 1_000;
const POLL_MS = 2_000;
const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

export function logView({ model, isShown }) {
  const lines = [];
  let cursor;
  let serial = 0;
  let asking = false;
  let filter = parseFilter("");
  const list = listOf({ label: "Log", empty: "No line yet that passes the filter.", keyOf: (line) => line.id, make: lineRow });
  list.node.classList.add("tail");
  list.node.tabIndex = 0;
  list.node.setAttribute("role", "group");
  list.node.setAttribute("aria-label", "Log lines");
  const field = el("input", { type: "search", id: "log-filter", autocomplete: "off", spellcheck: false });
  const level = el("select", { id: "log-level" }, LEVELS.map((name) => el("option", { value: name, selected: name === "INFO" }, name.toLowerCase())));
  const file = el("span", { class: "facts mono" });
  const draw = () => {
    const least = LEVELS.indexOf(level.value);
    const atEnd = list.node.scrollHeight - list.node.scrollTop - list.node.clientHeight < 40;
    list.show(
      lines.filter((line) => !(LEVELS.indexOf(line.level) < least && line.level !== "") && passes(filter, `${line.subsystem} ${line.text}`)),
      model.excuse("log"),
    );
    if (atEnd) list.node.scrollTop = list.node.scrollHeight;
  };
  const ask = async () => {
    if (asking || document.hidden || !isShown() || !model.client.hello) return;
    asking = true;
    try {
      const answer = await model.client.request("logs.tail", cursor === undefined ? { limit: 300 } : { cursor, limit: LINES_MOST });
      if (answer.reset) lines.length = 0;
      cursor = answer.cursor;
      for (const raw of answer.lines ?? []) lines.push({ id: (serial += 1), ...logLine(String(raw)) });
      bounded(lines, LINES_MOST);
      setText(file, String(answer.file ?? ""));
      delete model.errors.log;
    } catch (error) {
      model.errors.log = error;
    }
    asking = false;
    draw();
  };
  field.addEventListener("input", () => {
    filter = parseFilter(field.value);
    draw();
  });
  level.addEventListener("change", draw);
  setInterval(ask, POLL_MS);
  const bar = el("div", { class: "bar" }, el("label", { for: "log-filter" }, "Filter log"), field,
    el("label", { for: "log-level" }, "Least level"), level, file);
  return { node: el("div", {}, bar, list.node), update: draw, shown: ask };
}

function lineRow(line) {
  const node = el("li", { class: `row line level-${line.level.toLowerCase()}` },
    el("time", {}, clock(line.ts)), el("span", { class: "level" }, line.level), el("span", { class: "subsystem" }, line.subsystem),
    el("span", { class: "mono" }, line.text));
  return { node };
}
