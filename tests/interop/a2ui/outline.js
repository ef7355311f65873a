// What a person is offered, whoever renders it: texts in order, what kind of thing each is, its name and its state. It is
// run inside both pages; all it knows of either is how its elements are called.
"use strict";
(() => {
  /** What the published renderer writes where a value is missing. We show nothing, or an empty input. */
  const PLACEHOLDERS = [
    "(empty)",
    "(invalid)",
    "(no model)",
    "(no processor)",
    "Invalid label",
    "Invalid value",
    "Invalid image URL",
    "Invalid icon name",
    "Invalid video URL",
    "Invalid audio URL",
  ];
  /** What our page says in its own words. */
  const OURS = ".a2-note, .a2-empty, .a2-toast, .a2-missing, .a2-audio > figcaption, .a2-close";

  const clean = (text) => text.replace(/\s+/g, " ").trim();
  const inside = (element) => [...(element.shadowRoot ?? element).childNodes];

  /** All elements below, through shadow roots and slots, as they are laid out. */
  function find(element, selector) {
    const found = [];
    const look = (node) => {
      if (!(node instanceof Element)) return;
      if (node.matches(selector)) found.push(node);
      (node.localName === "slot" ? node.assignedNodes({ flatten: true }) : inside(node)).forEach(look);
    };
    inside(element).forEach(look);
    return found;
  }

  const words = (element) => (element === undefined || element === null ? "" : clean(element.textContent));

  function outline(root) {
    const targets = {};
    const target = (kind, element) => (targets[kind] ??= []).push(element);

    function field(element, kind, extra) {
      const [input] = find(element, "input, textarea");
      if (input === undefined) return [];
      target(kind, input);
      return [{ [kind]: words(find(element, "label")[0]), value: input.value, ...extra?.(input) }];
    }

    function choice(rows, chosen) {
      return rows.map((row) => {
        target("option", row.querySelector("input") ?? row);
        return { option: clean(words(row).replace("✓", "")), chosen: chosen(row) };
      });
    }

    /** Each component with an element of its own, in the one renderer and in the other. */
    const known = [
      ["style, script", () => []],
      [OURS, () => []],
      [".a2-problem", (element) => [{ problem: words(element) }]],
      [
        "h1, h2, h3, h4, h5",
        (element) => (words(element) === "" ? [] : [{ heading: Number(element.localName[1]), text: words(element) }]),
      ],
      [".a2-caption, p.caption", (element) => (words(element) === "" ? [] : [{ caption: words(element) }])],
      ["img", (element) => (element.getAttribute("src") ? [{ image: element.getAttribute("src") }] : [])],
      [
        "video, audio",
        (element) => (element.getAttribute("src") ? [{ [element.localName]: element.getAttribute("src") }] : []),
      ],
      [".g-icon", (element) => (words(element) === "" ? [] : [{ icon: words(element).replaceAll("_", " ") }])],
      [".a2-icon", (element) => [{ icon: element.getAttribute("aria-label") }]],
      ["hr", () => [{ separator: true }]],
      ["a2ui-checkbox", (element) => field(element, "checkbox", (input) => ({ value: input.checked }))],
      ["a2ui-textfield", (element) => field(element, "textbox")],
      ["a2ui-datetimeinput", (element) => field(element, "date", (input) => ({ type: input.type }))],
      ["a2ui-slider", (element) => field(element, "slider", (input) => ({ min: input.min, max: input.max }))],
      [
        "a2ui-multiplechoice",
        (element) => choice(find(element, ".option-item"), (row) => row.classList.contains("selected")),
      ],
      [
        ".a2-choice",
        (element) => choice([...element.querySelectorAll(".a2-check")], (row) => row.querySelector("input").checked),
      ],
      [
        ".a2-check",
        (element) => {
          const input = element.querySelector("input");
          target("checkbox", input);
          return [{ checkbox: words(element), value: input.checked }];
        },
      ],
      [".a2-date", (element) => field(element, "date", (input) => ({ type: input.type }))],
      [".a2-slider", (element) => field(element, "slider", (input) => ({ min: input.min, max: input.max }))],
      // Of whatever type: the published renderer shows every text field as one for a line of text.
      [".a2-field", (element) => field(element, "textbox")],
      [
        "[role=tab], #buttons > button",
        (element) => {
          target("tab", element);
          return [
            { tab: words(element), selected: element.getAttribute("aria-selected") === "true" || element.disabled },
          ];
        },
      ],
      [
        ".a2-modal",
        (element) => {
          const dialog = element.querySelector("dialog");
          return dialog.open ? [{ dialog: all([dialog]) }] : walk(element.querySelector(".a2-entry"));
        },
      ],
      [
        "a2ui-modal",
        (element) => {
          const [dialog] = find(element, "dialog");
          return dialog === undefined ? all(inside(element)) : [{ dialog: all(inside(dialog)) }];
        },
      ],
      ["#controls", () => []], // the published dialog's own close button
      [
        "button",
        (element) => {
          target("button", element);
          return [{ button: all(inside(element)) }];
        },
      ],
    ];

    const all = (nodes) => nodes.flatMap(walk);

    function walk(node) {
      if (node instanceof Text)
        return clean(node.data) === "" || PLACEHOLDERS.includes(clean(node.data)) ? [] : [{ text: clean(node.data) }];
      if (!(node instanceof Element) || node.hidden) return [];
      const match = known.find(([selector]) => node.matches(selector));
      if (match !== undefined) return match[1](node);
      return all(node.localName === "slot" ? node.assignedNodes({ flatten: true }) : inside(node));
    }

    return { entries: all(inside(root)), targets };
  }

  /** A person's doing: the `index`th thing of a kind is clicked, or gets a value. */
  function perform(root, [verb, kind, index, value], optional) {
    const element = outline(root).targets[kind]?.[index];
    if (element === undefined && optional) return undefined;
    if (element === undefined) throw new Error(`there is no ${kind} ${index}`);
    if (verb === "click") return element.click();
    element.value = value;
    for (const type of ["input", "change"]) element.dispatchEvent(new Event(type, { bubbles: true, composed: true }));
  }

  globalThis.outline = (root) => outline(root).entries;
  globalThis.perform = perform;
})();
