// Builds what is seen. Everything that comes from the gateway becomes a text node: no function here takes markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. In `props`, `on` holds event listeners, `class` and names with a hyphen or `role` are attributes, the rest
 * are properties. Children are nodes, texts, or nothing.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "on") for (const [event, heard] of Object.entries(value)) node.addEventListener(event, heard);
    else if (name === "class") node.className = value;
    else if (name === "role" || name === "for" || name.includes("-")) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** A drawing of one stroked path in a box of 24. */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Changes a text only when it differs, so that nothing is announced or repainted for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Brings the children of `parent` into line with `items`, in place: `keyOf` names an item, `make(item)` gives
 * `{node, update(item)}`. What stays keeps its focus, its selection and its place on the screen.
 */
export function syncList(parent, items, keyOf, make) {
  const had = parent.rows ?? new Map();
  const rows = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (rows.has(key)) continue;
    const row = had.get(key) ?? make(item);
    row.update?.(item);
    rows.set(key, row);
  }
  let lostFocus = false;
  for (const [key, row] of had) {
    if (rows.has(key)) continue;
    lostFocus ||= row.node.contains(document.activeElement);
    row.node.remove();
  }
  let at = parent.firstChild;
  for (const { node } of rows.values()) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  parent.rows = rows;
  // Whoever works by keyboard goes on where they were: at the next row, or at the view's heading.
  if (lostFocus) (parent.querySelector("button") ?? document.querySelector("main h1"))?.focus();
}

/** A list that says so when it is empty. Gives `{node, show(items)}`. */
export function listOf({ label, empty, keyOf, make }) {
  const list = el("ul", { class: "rows", "aria-label": label });
  const nothing = el("p", { class: "empty" }, empty);
  return {
    node: el("div", {}, list, nothing),
    show(items, keptFrom = "") {
      syncList(list, items, keyOf, make);
      list.hidden = items.length === 0;
      nothing.hidden = items.length > 0;
      setText(nothing, keptFrom || empty);
    },
  };
}

/** A button whose accessible name says what it acts on; its visible label comes first in it. */
export function button(label, what, act, kind = "") {
  const node = el("button", { type: "button", class: `button ${kind}`, "aria-label": `${label} ${what}` }, label);
  node.addEventListener("click", () => isBusy(node) || act(node));
  return node;
}

/** A button at work keeps its focus, which a disabled one would lose; its clicks do nothing. */
export function setBusy(node, busy) {
  node.setAttribute("aria-disabled", String(busy));
}

function isBusy(node) {
  return node.getAttribute("aria-disabled") === "true";
}

const ASKING_MS = 6_000;

/** A button for what cannot be taken back: the first click asks, in place, and the second one does it. */
export function askingButton(label, what, act, kind = "danger") {
  let asks = false;
  let timer;
  // Both labels lie in one place, so that the button keeps its width and nothing moves away under a finger.
  const labels = [label, `Really ${label.toLowerCase()}?`].map((text) => el("span", {}, text));
  const node = el("button", { type: "button", class: `button ${kind} two` }, labels);
  const show = () => {
    labels.forEach((text, at) => text.classList.toggle("off", at !== Number(asks)));
    node.setAttribute("aria-label", `${labels[Number(asks)].textContent} ${what}`);
    node.classList.toggle("asks", asks);
  };
  const rest = () => {
    clearTimeout(timer);
    asks = false;
    show();
  };
  node.addEventListener("click", () => {
    if (isBusy(node)) return;
    if (asks) {
      rest();
      act(node);
      return;
    }
    asks = true;
    show();
    timer = setTimeout(rest, ASKING_MS);
  });
  node.addEventListener("blur", rest);
  show();
  return node;
}

/** A heading with what stands below it. */
export function section(title, ...children) {
  return el("section", { class: "block", "aria-label": title }, el("h2", {}, title), ...children);
}

/** Small labels in a row, such as scopes and commands. */
export function chips(label, texts) {
  const list = el("ul", { class: "chips", "aria-label": label });
  return {
    node: list,
    update(now) {
      list.hidden = now.length === 0;
      syncList(list, now.map(String), (text) => text, (text) => ({ node: el("li", {}, text) }));
    },
  };
}
