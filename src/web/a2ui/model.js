// Messages in, surfaces out: applies A2UI 0.8 messages and answers what each surface shows, with every binding
// resolved. It knows no browser, never throws on what a message says, and every walk has a bound (`LIMITS` in data.js).
"use strict";
(() => {
  const a2ui = (globalThis.clawgateA2UI ??= {});
  const { LIMITS, isObject, segments, read, write, ingest, fromContents, count, plain } = a2ui;

  /** Where a message, or an action, belongs that names no surface. */
  const DEFAULT_SURFACE = "main";
  const LITERALS = ["literalString", "literalNumber", "literalBoolean", "literalArray", "literal"];

  /** All surfaces of a page. */
  class Model {
    #surfaces = new Map();
    #problems = [];

    /** The ids of all surfaces, oldest first, also of those that are not shown yet. */
    ids() {
      return [...this.#surfaces.keys()];
    }

    /** Forgets every surface. */
    reset() {
      this.#surfaces.clear();
    }

    /**
     * Applies messages in order. Answers which surfaces changed, which were removed (and may be there anew), and in words
     * what could not be used: a bad message is left out, and those behind it still count.
     */
    apply(messages) {
      this.#problems = [];
      const changed = new Set();
      const removed = new Set();
      if (messages.length > LIMITS.messages)
        this.#problem(`only the first ${LIMITS.messages} messages of ${messages.length} are used`);
      for (const message of messages.slice(0, LIMITS.messages)) this.#applyOne(message, changed, removed);
      return { changed, removed, problems: this.#problems };
    }

    #applyOne(message, changed, removed) {
      const kinds = {
        beginRendering: (body, surface) => this.#begin(body, surface),
        surfaceUpdate: (body, surface) => this.#define(body, surface),
        dataModelUpdate: (body, surface) => this.#update(body, surface),
      };
      if (!isObject(message)) return this.#problem("a message is no object");
      let known = false;
      for (const [kind, handle] of Object.entries(kinds)) {
        if (message[kind] === undefined) continue;
        known = true;
        const body = message[kind];
        if (!isObject(body)) {
          this.#problem(`${kind} is no object`);
          continue;
        }
        const id = surfaceId(body);
        const surface = this.#surface(id);
        if (surface === undefined) continue;
        handle(body, surface);
        changed.add(id);
      }
      if (message.deleteSurface !== undefined) {
        known = true;
        const id = surfaceId(message.deleteSurface);
        if (this.#surfaces.delete(id)) removed.add(id);
      }
      if (!known) {
        const names = Object.keys(message)
          .slice(0, 3)
          .map((name) => name.slice(0, 40))
          .join(", ");
        this.#problem(`a message is none of A2UI 0.8 (it has: ${names || "nothing"})`);
      }
    }

    #surface(id) {
      let surface = this.#surfaces.get(id);
      if (surface === undefined && this.#surfaces.size >= LIMITS.surfaces) {
        this.#problem(`surface "${id}" is left out: there are ${LIMITS.surfaces} already`);
      } else if (surface === undefined) {
        surface = { root: null, styles: {}, components: new Map(), data: new Map() };
        this.#surfaces.set(id, surface);
      }
      return surface;
    }

    #begin(body, surface) {
      if (typeof body.root !== "string") return this.#problem("beginRendering names no root");
      surface.root = body.root;
      surface.styles = styles(body.styles);
    }

    #define(body, surface) {
      if (!Array.isArray(body.components)) return this.#problem("surfaceUpdate has no list of components");
      for (const definition of body.components) {
        const made = component(definition);
        if (made === null) {
          this.#problem("a component has no id, or no type");
        } else if (!surface.components.has(made.id) && surface.components.size >= LIMITS.components) {
          return this.#problem(`there are more than ${LIMITS.components} components`);
        } else {
          surface.components.set(made.id, made);
          for (const [path, value] of defaults(made.properties)) assume(surface, path, value);
        }
      }
    }

    #update(body, surface) {
      const value = fromContents(body.contents);
      if (value === undefined) return this.#problem("dataModelUpdate has no contents");
      if (count(value) + count(surface.data) > LIMITS.values) {
        // What is replaced makes room, so it is looked at again without it.
        const path = segments(body.path ?? "/");
        const kept = count(surface.data) - count(read(surface.data, path) ?? null);
        if (count(value) + kept > LIMITS.values) return this.#problem(`the data has more than ${LIMITS.values} values`);
      }
      const path = segments(body.path ?? "/");
      if (path.length > 0) {
        if (!write(surface.data, path, value))
          this.#problem(`there is no place "${String(body.path).slice(0, 80)}" in the data`);
      } else if (value instanceof Map) {
        surface.data = value;
      } else {
        this.#problem("the whole data can only be replaced by a map");
      }
    }

    #problem(text) {
      if (this.#problems.length < LIMITS.problems) this.#problems.push(text);
    }

    /** `{styles, root}` of a surface that is to be shown, `root` being a tree of nodes; null when it is not, or not yet. */
    show(id) {
      const surface = this.#surfaces.get(id);
      if (surface === undefined || surface.root === null) return null;
      return { styles: surface.styles, root: new Tree(surface).build(surface.root, [], "") };
    }

    /** Keeps what a person entered. `bind` is a node's; null when that node is bound to nothing. */
    set(id, bind, value) {
      const surface = this.#surfaces.get(id);
      return surface !== undefined && bind !== null && write(surface.data, bind, ingest(value));
    }

    /** What goes out when a person uses `node`, a button: its name and context, bindings resolved now. */
    action(id, node) {
      const surface = this.#surfaces.get(id);
      if (surface === undefined || node.action === null) return null;
      const pairs = [];
      for (const entry of list(node.action.context)) {
        if (!isObject(entry) || typeof entry.key !== "string") continue;
        const value = bound(surface, entry.value, node.at);
        if (value !== undefined) pairs.push([entry.key.slice(0, LIMITS.name), plain(value)]);
      }
      return { name: node.action.name, surfaceId: id, sourceComponentId: node.id, context: Object.fromEntries(pairs) };
    }
  }

  const list = (value) => (Array.isArray(value) ? value.slice(0, LIMITS.options) : []);
  const oneOf = (value, allowed) => (allowed.includes(value) ? value : allowed[0]);

  function surfaceId(body) {
    const id = isObject(body) ? body.surfaceId : undefined;
    return typeof id === "string" && id !== "" ? id.slice(0, LIMITS.name) : DEFAULT_SURFACE;
  }

  function styles(given) {
    const taken = {};
    if (!isObject(given)) return taken;
    // Both end up in a style sheet: nothing passes that is more than a colour, or names of fonts.
    if (typeof given.primaryColor === "string" && /^#[0-9a-fA-F]{6}$/.test(given.primaryColor))
      taken.primaryColor = given.primaryColor.toLowerCase();
    if (typeof given.font === "string" && /^[\p{L}\p{N} ,_-]{1,100}$/u.test(given.font)) taken.font = given.font;
    return taken;
  }

  function component(definition) {
    if (!isObject(definition) || typeof definition.id !== "string" || !isObject(definition.component)) return null;
    const [type] = Object.keys(definition.component);
    if (type === undefined) return null;
    const properties = definition.component[type];
    const weight = Number.isFinite(definition.weight) && definition.weight > 0 ? definition.weight : null;
    return {
      id: definition.id.slice(0, LIMITS.name),
      type,
      weight,
      properties: isObject(properties) ? properties : {},
    };
  }

  // ---- bindings ----

  function literal(value) {
    const kind = LITERALS.find((name) => value[name] !== undefined && value[name] !== null);
    return kind === undefined ? undefined : ingest(value[kind]);
  }

  /** The pairs of path and literal in properties that have both: a value to begin with, and where it is kept. */
  function* defaults(properties, depth = 0) {
    if (depth > LIMITS.dataDepth) return;
    if (isObject(properties) && typeof properties.path === "string" && properties.path.startsWith("/")) {
      const value = literal(properties);
      if (value !== undefined) yield [segments(properties.path), value];
    } else if (typeof properties === "object" && properties !== null) {
      for (const inner of Object.values(properties)) yield* defaults(inner, depth + 1);
    }
  }

  /** Agents fill in `""`, `0` or `false` where they mean nothing: those only take a place that is empty. */
  function assume(surface, path, value) {
    const empty = value === "" || value === 0 || value === false;
    if (path.length > 0 && !(empty && read(surface.data, path) !== undefined)) write(surface.data, path, value);
  }

  /**
   * The segments that `path` means in the data context `at`. Inside a template also `/name` means the item's, as agents
   * write it so, and so does `/item/name`; what the item has not got is looked for in the whole data.
   */
  function locate(surface, path, at) {
    const own = segments(path);
    if (at.length === 0) return own;
    const candidates = [[...at, ...own]];
    if (/^\.?\/(item|text|label)(?=[/.]|$)/.test(path)) candidates.push([...at, ...own.slice(1)]);
    if (path.startsWith("/")) candidates.push(own);
    return candidates.find((candidate) => read(surface.data, candidate) !== undefined) ?? candidates[0];
  }

  const pathOf = (value) =>
    isObject(value) && typeof value.path === "string" && value.path !== "" ? value.path : null;

  /** Where a bound value is kept; null for a literal. */
  function place(surface, value, at) {
    const path = pathOf(value);
    const found = path === null ? null : locate(surface, path, at);
    return found !== null && found.length > 0 ? found : null;
  }

  /** A bound value's value now; undefined when there is none. */
  function bound(surface, value, at) {
    if (!isObject(value)) return value === undefined || value === null ? undefined : ingest(value);
    const path = pathOf(value);
    const given = literal(value);
    if (path === null) return given;
    const where = locate(surface, path, at);
    const found = read(surface.data, where);
    if (found === undefined && given !== undefined && where.length > 0) write(surface.data, where, given);
    return found ?? given;
  }

  function text(value) {
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    return typeof value === "string" ? value : "";
  }

  function number(value, otherwise) {
    const read = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    return typeof read === "number" && Number.isFinite(read) ? read : otherwise;
  }

  function strings(value) {
    const items =
      value instanceof Map ? [...value.values()] : Array.isArray(value) ? value : value === undefined ? [] : [value];
    return items.slice(0, LIMITS.options).map(text);
  }

  // ---- the tree ----

  const ALIGN = ["stretch", "start", "center", "end"];
  const DISTRIBUTE = ["start", "center", "end", "spaceBetween", "spaceAround", "spaceEvenly"];
  const FIELDS = ["shortText", "longText", "number", "date", "obscured"];
  const HINTS = ["body", "h1", "h2", "h3", "h4", "h5", "caption"];
  const IMAGES = ["none", "icon", "avatar", "smallFeature", "mediumFeature", "largeFeature", "header"];

  /**
   * One walk over a surface. A node has `id` (a template's copies with `:index` behind it), `type`, `weight`, `at` (its
   * data context) and what its type needs, resolved; inputs have `bind`, where to keep what is entered.
   */
  class Tree {
    #surface;
    #left = LIMITS.nodes;
    #characters = LIMITS.shown;
    #above = [];

    constructor(surface) {
      this.#surface = surface;
    }

    /** As much of a text as may still be shown. */
    words(value) {
      const cut = value.slice(0, Math.min(LIMITS.text, this.#characters));
      this.#characters -= cut.length;
      return cut;
    }

    /** The node of a component; null when it is not there yet, or there are too many. */
    build(id, at, suffix) {
      const definition = this.#surface.components.get(id);
      if (definition === undefined || this.#left < 0) return null;
      const node = { id: `${id}${suffix}`, type: definition.type, weight: definition.weight, at };
      const stop = (problem) => ({ ...node, type: "Problem", text: problem });
      if (this.#left === 0) {
        this.#left = -1;
        return stop(`More than ${LIMITS.nodes} components; the rest is left out.`);
      }
      this.#left -= 1;
      // A component may contain itself by a template, over data that ends; never in the same place.
      const here = JSON.stringify([id, at]);
      if (this.#above.includes(here)) return stop(`“${id}” contains itself.`);
      if (this.#above.length >= LIMITS.depth) return stop(`More than ${LIMITS.depth} components inside one another.`);
      if (!Object.hasOwn(SHAPES, definition.type)) return stop(`Unknown component “${definition.type.slice(0, 40)}”.`);
      this.#above.push(here);
      const shape = SHAPES[definition.type](new Scope(this, this.#surface, at, suffix), definition.properties);
      this.#above.pop();
      return { ...node, ...shape };
    }
  }

  /** What the properties of one component are resolved with. */
  class Scope {
    constructor(tree, surface, at, suffix) {
      Object.assign(this, { tree, surface, at, suffix });
    }

    value = (property) => bound(this.surface, property, this.at);
    text = (property) => this.tree.words(text(this.value(property)));
    url = (property) => text(this.value(property));
    bind = (property) => place(this.surface, property, this.at);
    child = (id) => (typeof id === "string" ? this.tree.build(id, this.at, this.suffix) : null);

    children(property) {
      if (Array.isArray(property)) return this.children({ explicitList: property });
      if (!isObject(property)) return [];
      if (Array.isArray(property.explicitList)) {
        return property.explicitList
          .slice(0, LIMITS.nodes)
          .map(this.child)
          .filter((node) => node !== null);
      }
      return isObject(property.template) ? this.copies(property.template) : [];
    }

    copies({ componentId, dataBinding }) {
      if (typeof componentId !== "string" || typeof dataBinding !== "string") return [];
      const own = segments(dataBinding);
      const where = dataBinding.startsWith("/") ? own : [...this.at, ...own];
      const data = read(this.surface.data, where);
      const nodes = [];
      const add = (key, suffix) => nodes.push(this.tree.build(componentId, [...where, key], suffix));
      if (Array.isArray(data)) {
        const outer = this.at.filter((segment) => /^\d+$/.test(segment));
        for (let index = 0; index < Math.min(data.length, LIMITS.items); index += 1) {
          add(String(index), `:${[...outer, index].join(":")}`);
        }
      } else if (data instanceof Map) {
        for (const key of [...data.keys()].slice(0, LIMITS.items)) add(key, `:${key}`);
      }
      return nodes.filter((node) => node !== null);
    }
  }

  /** The standard catalogue: what each component needs to be shown. */
  const SHAPES = {
    Text: (here, p) => ({ text: here.text(p.text), hint: oneOf(p.usageHint, HINTS) }),
    Image: (here, p) => ({
      url: here.url(p.url),
      alt: here.text(p.altText),
      fit: oneOf(p.fit, [null, "contain", "cover", "fill", "none", "scale-down"]),
      hint: oneOf(p.usageHint, IMAGES),
    }),
    Icon: (here, p) => ({ name: here.text(p.name) }),
    Video: (here, p) => ({ url: here.url(p.url) }),
    AudioPlayer: (here, p) => ({ url: here.url(p.url), description: here.text(p.description) }),
    Row: (here, p) => box(here, p),
    Column: (here, p) => box(here, p),
    List: (here, p) => ({ ...box(here, p), direction: oneOf(p.direction, ["vertical", "horizontal"]) }),
    Card: (here, p) => ({ children: p.child === undefined ? here.children(p.children) : here.children([p.child]) }),
    Tabs: (here, p) => ({
      tabs: list(p.tabItems)
        .filter(isObject)
        .map((item) => ({ title: here.text(item.title), child: here.child(item.child) })),
    }),
    Divider: (here, p) => ({ axis: oneOf(p.axis, ["horizontal", "vertical"]) }),
    Modal: (here, p) => ({ entry: here.child(p.entryPointChild), content: here.child(p.contentChild) }),
    Button: (here, p) => ({ child: here.child(p.child), primary: p.primary === true, action: action(p.action) }),
    CheckBox: (here, p) => ({
      label: here.text(p.label),
      checked: here.value(p.value) === true,
      bind: here.bind(p.value),
    }),
    TextField: (here, p) => ({
      label: here.text(p.label),
      text: here.text(p.text),
      kind: oneOf(p.textFieldType, FIELDS),
      pattern: typeof p.validationRegexp === "string" ? p.validationRegexp : null,
      bind: here.bind(p.text),
    }),
    DateTimeInput: (here, p) => ({
      value: here.text(p.value),
      // Neither a date nor a time would be no input: then it is both.
      date: p.enableDate !== false || p.enableTime === false,
      time: p.enableTime !== false || p.enableDate === false,
      bind: here.bind(p.value),
    }),
    MultipleChoice(here, p) {
      const options = list(p.options).filter(isObject);
      const most =
        Number.isInteger(p.maxAllowedSelections) && p.maxAllowedSelections > 0
          ? p.maxAllowedSelections
          : options.length;
      return {
        options: options.map((option) => ({ label: here.text(option.label), value: text(option.value) })),
        most,
        chosen: strings(here.value(p.selections)),
        bind: here.bind(p.selections),
      };
    },
    Slider(here, p) {
      const min = number(p.minValue, 0);
      const max = Math.max(min, number(p.maxValue, Math.max(min, 100)));
      return { label: here.text(p.label), min, max, value: number(here.value(p.value), min), bind: here.bind(p.value) };
    },
  };

  function box(here, p) {
    return {
      children: here.children(p.children),
      align: oneOf(p.alignment, ALIGN),
      distribute: oneOf(p.distribution, DISTRIBUTE),
    };
  }

  function action(given) {
    if (!isObject(given) || typeof given.name !== "string" || given.name === "") return null;
    return { name: given.name.slice(0, LIMITS.name), context: given.context };
  }

  Object.assign(a2ui, { Model, DEFAULT_SURFACE, SHAPES });
})();
