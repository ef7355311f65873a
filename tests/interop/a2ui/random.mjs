// Messages by chance, the same ones for the same seed: surfaces with every component and binding, then updates and a
// person's doings in any order. They keep away from what the two renderers do differently on purpose (cases.mjs).
import { act, at, begin, button, c, ctx, data, define, each, kids, lit, on, remove, show, text } from "./build.mjs";

/** A small generator with 32 bits of state (xorshift): enough to be different, and the same everywhere. */
function chance(seed) {
  let state = (seed * 2654435761) >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < 8; i += 1) next();
  const below = (n) => Math.floor(next() * n);
  return { below, pick: (list) => list[below(list.length)], maybe: (share) => next() < share };
}

const WORDS = ["alpha", "Beta & co", "gamma < delta", "ε zeta", "one two", "Straße", "7"];
const NAMES = ["Ada", "Bo", "Cy", "Dee"];

export function randomSteps(seed) {
  const { below, pick, maybe } = chance(seed);
  const HINTS = ["h1", "h2", "h3", "h4", "h5", "caption", "body"];
  let made = 0;
  const id = () => `c${(made += 1)}`;

  const people = (n) =>
    JSON.stringify(
      Array.from({ length: n }, (_, i) => ({
        name: pick(NAMES),
        age: i,
        ok: maybe(0.5),
        tags: NAMES.slice(0, below(3)),
      })),
    );
  const model = () => ({
    title: pick(WORDS),
    count: below(9),
    on: maybe(0.5),
    day: "2026-05-0" + (1 + below(9)),
    level: below(10),
    picked: JSON.stringify(maybe(0.5) ? ["a"] : ["b", "a"]),
    people: people(below(4)),
    map: Object.fromEntries(
      NAMES.slice(0, below(4)).map((name) => [name.toLowerCase(), { name, age: below(50), ok: maybe(0.5) }]),
    ),
  });

  /** A component with all below it, added to `list`; its id. `inItem` is the list or map whose item it stands in, or null. */
  function grow(list, depth, inItem) {
    const own = id();
    const value = (path) => at(inItem ? pick([path, `/${path}`]) : `/${path}`);
    const word = () => (maybe(0.6) ? lit(pick(WORDS)) : inItem ? value("name") : at("/title"));
    const children = () => kids(...Array.from({ length: 1 + below(3) }, () => grow(list, depth - 1, inItem)));
    const leaves = [
      () => text(own, maybe(0.2) ? at(inItem ? "age" : "/count") : word(), maybe(0.5) ? pick(HINTS) : undefined),
      () => c(own, "Icon", { name: lit(pick(["add", "arrowBack", "shoppingCart", "mail"])) }),
      () =>
        c(own, "Image", {
          url: lit(`https://example.com/${below(5)}.png`),
          usageHint: pick(["icon", "header", "avatar"]),
        }),
      () => c(own, "Divider"),
      // The published renderer cannot write into the items of a list that came as JSON.
      () =>
        inItem === "/people"
          ? text(own, at("name"))
          : c(own, "CheckBox", { label: word(), value: inItem ? value("ok") : at("/on") }),
      () =>
        inItem === "/people"
          ? text(own, at("age"))
          : c(own, "TextField", {
              label: word(),
              text: inItem ? value("name") : at(pick(["/title", "/fresh"])),
              textFieldType: pick(["shortText", "longText", "obscured"]),
            }),
      () =>
        c(own, "DateTimeInput", {
          value: inItem ? lit("2026-07-04T10:30") : at("/day"),
          enableDate: true,
          enableTime: maybe(0.5),
        }),
      () => (inItem ? text(own, lit("level")) : c(own, "Slider", { value: at("/level"), minValue: 0, maxValue: 10 })),
      () =>
        inItem
          ? text(own, lit("choice"))
          : c(own, "MultipleChoice", {
              selections: at("/picked"),
              options: ["a", "b", "d"].map((v) => ({ label: lit(v.toUpperCase()), value: v })),
            }),
      () => {
        const label = id();
        list.push(text(label, word()));
        return button(
          own,
          label,
          `act-${below(3)}`,
          maybe(0.7) ? ctx({ fixed: lit(below(5)), word: word() }) : undefined,
        );
      },
    ];
    const boxes = [
      () => c(own, "Row", { children: children(), alignment: pick(["start", "center", "end"]) }),
      () => c(own, "Column", { children: children(), distribution: pick(["start", "spaceBetween"]) }),
      () => c(own, "List", { children: children() }),
      () => c(own, "Card", { child: grow(list, depth - 1, inItem) }),
      () => {
        if (inItem) return c(own, "Row", { children: children() });
        const over = pick(["/people", "/map"]);
        return c(own, pick(["List", "Column", "Row"]), { children: each(grow(list, depth - 1, over), over) });
      },
      () =>
        c(own, "Tabs", {
          tabItems: Array.from({ length: 1 + below(3) }, () => ({
            title: lit(pick(WORDS)),
            child: grow(list, depth - 1, inItem),
          })),
        }),
    ];
    list.push((depth > 0 && maybe(0.6) ? pick(boxes) : pick(leaves))());
    return own;
  }

  const surface = () => {
    const list = [];
    const root = grow(list, 4, null);
    // In any order: components are a map.
    for (let i = list.length - 1; i > 0; i -= 1) {
      const j = below(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    const messages = [define(...list), data(model())];
    if (maybe(0.5)) messages.reverse();
    messages.splice(below(3), 0, begin(root));
    return { root, list, messages };
  };

  let { root, list, messages } = surface();
  const steps = [show(...messages)];
  for (let i = 2 + below(4); i > 0; i -= 1) {
    const doing = below(8);
    if (doing === 0) steps.push(show(data(model())));
    else if (doing === 1) steps.push(show(data({}, "/map"), data({ name: pick(NAMES), age: 1, ok: true }, "/map/new")));
    else if (doing === 2) {
      const texts = list.filter((each) => each.component.Text !== undefined);
      if (texts.length > 0) steps.push(show(define(text(pick(texts).id, pick(WORDS), pick(HINTS)))));
    } else if (doing === 3) {
      ({ root, list, messages } = surface());
      // First it goes: the published renderer keeps elements for what comes in their place, and which tab was chosen.
      steps.push(show(remove()), show(...messages));
    } else if (doing === 4)
      steps.push(show(remove("other")), show(...surface().messages.map((message) => on("other", message))));
    else if (doing === 5) steps.push({ ...act("click", "button", below(3)), optional: true });
    else if (doing === 6) steps.push({ ...act("click", pick(["checkbox", "tab"]), below(3)), optional: true });
    else steps.push({ ...act("type", "textbox", below(2), pick(WORDS)), optional: true });
  }
  for (let i = 0; i < 3; i += 1) steps.push({ ...act("click", "button", i), optional: true });
  return steps;
}
