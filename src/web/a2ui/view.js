// Nodes of the model become elements, and stay the same elements while they change: focus, what is half typed, the
// chosen tab and an open dialog survive every update. Whatever an agent wrote is put in as text, never as markup.
//
// One entry of `KINDS` for each component: `make(node, page)` gives `{el, update(node), end?}`. `page` is what a
// component may do: `act(node)`, `set(node, value)`.
"use strict";
(() => {
  const a2ui = (globalThis.clawgateA2UI ??= {});
  const { address, fits, dateType, dateValue, icon, LIMITS, inkOn } = a2ui;

  let made = 0;
  /** An id for labels to point at. Agents' ids never become ids of elements: they could be those of the page. */
  const uid = () => `a2-${(made += 1)}`;

  /** `el("p.quiet.small", {title: "…"}, child, "text")`: attributes whose value is null or false are left out. */
  function el(spec, attributes = {}, ...children) {
    const [tag, ...classes] = spec.split(".");
    const element = document.createElement(tag);
    if (classes.length > 0) element.className = classes.join(" ");
    for (const [name, value] of Object.entries(attributes)) attribute(element, name, value);
    element.append(...children);
    return element;
  }

  /** Touches an attribute only when it changes: setting `src` again would load, and stop what plays. */
  function attribute(element, name, value) {
    if (value === null || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
  }

  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  /** Calls `apply` with a value when it differs from the one before: what a person did since then is left alone. */
  function onChange(apply) {
    let last;
    return (value) => {
      const key = JSON.stringify(value);
      if (key !== last) apply(value);
      last = key;
    };
  }

  /** Keeps the elements of `holder` in step with a list of nodes. `wrap` puts an element around each. */
  function slot(holder, page, wrap = (element) => element) {
    let shown = [];
    const update = (nodes) => {
      const before = new Map(shown.map((each) => [each.key, each]));
      const times = new Map();
      shown = nodes
        .filter((node) => node !== null)
        .map((node) => {
          const kind = KINDS[node.type];
          const name = JSON.stringify([node.type, kind.form?.(node), node.id]);
          times.set(name, (times.get(name) ?? 0) + 1);
          const key = `${name} ${times.get(name)}`;
          const kept = before.get(key);
          before.delete(key);
          const part = kept ?? { key, ...kind.make(node, page) };
          part.outer ??= wrap(part.el);
          part.outer.style.flex = node.weight === null ? "" : `${node.weight} 1 0`;
          part.update(node);
          return part;
        });
      for (const gone of before.values()) {
        gone.end?.();
        gone.outer.remove();
      }
      let at = holder.firstChild;
      for (const { outer } of shown) {
        // An element that is in its place is not moved: moving it would take the focus away.
        if (outer === at) at = at.nextSibling;
        else holder.insertBefore(outer, at);
      }
    };
    return { update, end: () => shown.forEach((each) => each.end?.()) };
  }

  /** A component that is little more than an element with other components in it. */
  function container(spec, dress) {
    return {
      make(_, page) {
        const element = el(spec);
        const inside = slot(element, page);
        return {
          el: element,
          update(node) {
            dress?.(element, node);
            inside.update(node.children);
          },
          end: inside.end,
        };
      },
    };
  }

  function arrange(element, node) {
    element.dataset.align = node.align;
    element.dataset.distribute = node.distribute;
  }

  /** Pictures, films and sounds: what may not be loaded, or cannot be, is said in its place. */
  function media(kind, element, missing) {
    const instead = el("span.a2-missing", { role: "img", "aria-label": missing }, missing);
    const holder = el(`${kind === "audio" ? "figure" : "div"}.a2-${kind}`, {}, element, instead);
    const show = (works) => {
      element.hidden = !works;
      instead.hidden = works;
    };
    element.addEventListener("error", () => show(false));
    const load = onChange((url) => {
      const allowed = address(url, kind);
      attribute(element, "src", allowed);
      show(allowed !== null || url === "");
      element.hidden ||= url === "";
    });
    return { holder, load };
  }

  function labelled(spec, input) {
    const label = el("label", { for: input.id });
    const note = el("span.a2-note", { id: uid(), role: "status" });
    note.hidden = true;
    const holder = el(spec, {}, label, input, note);
    return {
      holder,
      name(text, otherwise) {
        say(label, text);
        label.hidden = text === "";
        attribute(input, "aria-label", text === "" ? otherwise : null);
      },
      complain(text) {
        say(note, text ?? "");
        note.hidden = text === null;
        attribute(input, "aria-invalid", text === null ? null : "true");
        attribute(input, "aria-describedby", text === null ? null : note.id);
      },
    };
  }

  const KINDS = {
    Text: {
      form: (node) => node.hint,
      make(node) {
        const heading = /^h[1-5]$/.test(node.hint);
        const element = el(heading ? `${node.hint}.a2-text` : `p.a2-text.a2-${node.hint}`);
        return { el: element, update: (now) => say(element, now.text) };
      },
    },

    Image: {
      make() {
        const image = el("img", { decoding: "async", referrerpolicy: "no-referrer" });
        const { holder, load } = media("image", image, "Image not available");
        return {
          el: holder,
          update(node) {
            image.alt = node.alt;
            holder.dataset.hint = node.hint;
            image.style.objectFit = node.fit ?? "";
            load(node.url);
          },
        };
      },
    },

    Icon: {
      make() {
        const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        drawing.append(path);
        attribute(drawing, "viewBox", "0 0 24 24");
        attribute(drawing, "aria-hidden", "true");
        const element = el("span.a2-icon", { role: "img" }, drawing);
        return {
          el: element,
          update(node) {
            element.hidden = node.name === "";
            const { d, filled, label } = icon(node.name);
            attribute(path, "d", d);
            attribute(drawing, "class", filled ? "a2-filled" : null);
            attribute(element, "aria-label", label);
          },
        };
      },
    },

    Video: {
      make() {
        const video = el("video", { controls: true, playsinline: true, preload: "metadata" });
        const { holder, load } = media("video", video, "Video not available");
        return { el: holder, update: (node) => load(node.url) };
      },
    },

    AudioPlayer: {
      make() {
        const audio = el("audio", { controls: true, preload: "none" });
        const { holder, load } = media("audio", audio, "Sound not available");
        const caption = el("figcaption");
        holder.prepend(caption);
        return {
          el: holder,
          update(node) {
            say(caption, node.description);
            caption.hidden = node.description === "";
            attribute(audio, "aria-label", node.description || "Sound");
            load(node.url);
          },
        };
      },
    },

    Row: container("div.a2-row", arrange),
    Column: container("div.a2-column", arrange),
    Card: container("div.a2-card"),

    List: {
      make(_, page) {
        // Without the role, lists without bullets are no lists to some screen readers.
        const element = el("ul.a2-list", { role: "list" });
        const inside = slot(element, page, (item) => el("li", {}, item));
        return {
          el: element,
          update(node) {
            element.dataset.direction = node.direction;
            element.dataset.align = node.align;
            inside.update(node.children);
          },
          end: inside.end,
        };
      },
    },

    Divider: {
      make() {
        const element = el("hr.a2-divider");
        return { el: element, update: (node) => attribute(element, "aria-orientation", node.axis) };
      },
    },

    Button: {
      make(node, page) {
        const element = el("button.a2-button", { type: "button" });
        const inside = slot(element, page);
        let current = node;
        element.addEventListener("click", () => page.act(current));
        return {
          el: element,
          update(now) {
            current = now;
            element.classList.toggle("a2-primary", now.primary);
            inside.update([now.child]);
          },
          end: inside.end,
        };
      },
    },

    CheckBox: {
      make(node, page) {
        const box = el("input", { type: "checkbox", autocomplete: "off" });
        const words = el("span");
        const check = onChange((checked) => (box.checked = checked));
        let current = node;
        box.addEventListener("input", () => page.set(current, box.checked));
        return {
          el: el("label.a2-check", {}, box, words),
          update(now) {
            current = now;
            say(words, now.label);
            attribute(box, "aria-label", now.label === "" ? "Option" : null);
            check(now.checked);
          },
        };
      },
    },

    TextField: {
      form: (node) => node.kind,
      make(node, page) {
        const type = { shortText: "text", number: "number", date: "date", obscured: "password" }[node.kind];
        const input = type === undefined ? el("textarea", { rows: 4 }) : el("input", { type });
        Object.assign(input, { id: uid(), maxLength: LIMITS.text, autocomplete: "off" });
        if (type === "number") input.step = "any";
        const field = labelled("div.a2-field", input);
        const fill = onChange((text) => {
          if (input.value !== text) input.value = text;
        });
        let current = node;
        const check = () =>
          field.complain(fits(current.pattern, input.value) === false ? "This is not in the expected form." : null);
        input.addEventListener("input", () => {
          page.set(current, input.value);
          if (input.hasAttribute("aria-invalid")) check();
        });
        // Complaints wait until the person is through: nobody likes to be told while typing.
        input.addEventListener("change", check);
        return {
          el: field.holder,
          update(now) {
            current = now;
            field.name(now.label, "Text");
            fill(now.text);
          },
        };
      },
    },

    DateTimeInput: {
      form: (node) => dateType(node),
      make(node, page) {
        const type = dateType(node);
        const input = el("input", { id: uid(), type, autocomplete: "off" });
        const field = labelled("div.a2-field.a2-date", input);
        field.name({ date: "Date", time: "Time", "datetime-local": "Date & Time" }[type]);
        const fill = onChange((value) => {
          if (input.value !== value) input.value = dateValue(value, type);
        });
        let current = node;
        input.addEventListener("input", () => page.set(current, input.value));
        return {
          el: field.holder,
          update(now) {
            current = now;
            fill(now.value);
          },
        };
      },
    },

    Slider: {
      make(node, page) {
        const input = el("input", { id: uid(), type: "range", autocomplete: "off" });
        const field = labelled("div.a2-field.a2-slider", input);
        const shown = el("output", { for: input.id });
        field.holder.append(shown);
        const set = onChange(({ value, min, max }) => {
          const whole = [value, min, max].every(Number.isInteger) && max - min > 1;
          Object.assign(input, { min, max, step: whole ? "1" : "any" });
          if (Number(input.value) !== value) input.value = value;
        });
        let current = node;
        input.addEventListener("input", () => {
          say(shown, input.value);
          page.set(current, Number(input.value));
        });
        return {
          el: field.holder,
          update(now) {
            current = now;
            field.name(now.label, "Value");
            set({ value: now.value, min: now.min, max: now.max });
            say(shown, now.bind === null ? input.value : String(now.value));
          },
        };
      },
    },

    /** Not of the catalogue: what the model could not make a component of, and why. */
    Problem: {
      make() {
        const element = el("p.a2-problem", { role: "note" });
        return { el: element, update: (node) => say(element, node.text) };
      },
    },
  };

  /** What a surface's `styles` ask for, as far as a theme allows it. */
  function dress(element, styles) {
    const colour = styles.primaryColor ?? null;
    for (const [name, value] of [
      ["--a2-asked-primary", colour],
      ["--a2-asked-ink", colour === null ? null : inkOn(colour)],
      [
        "--a2-asked-font",
        styles.font === undefined
          ? null
          : styles.font
              .split(",")
              .map((font) => JSON.stringify(font.trim()))
              .join(", "),
      ],
    ]) {
      if (value === null) element.style.removeProperty(name);
      else element.style.setProperty(name, value);
    }
  }

  Object.assign(a2ui, { KINDS, slot, el, attribute, say, onChange, uid, dress });
})();
