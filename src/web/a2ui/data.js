// A surface's data: what agents and people put in, found by path. It knows no browser and never throws on what is in
// a message.
//
// Inside there are only strings, numbers, booleans, null, arrays and `Map`s, so that a key such as `__proto__` is a key
// like any other. A path is a list of segments; as a text it is written `/a/b/0`, `a.b[0]`, or mixed.
"use strict";
(() => {
  const a2ui = (globalThis.clawgateA2UI ??= {});

  /** Everything an agent can make large, with the most of it that the page takes. */
  const LIMITS = Object.freeze({
    /** Messages that one call may bring. */
    messages: 10_000,
    /** Surfaces side by side. */
    surfaces: 64,
    /** Component definitions a surface keeps. */
    components: 5_000,
    /** Components a surface shows, copies by templates included. */
    nodes: 4_000,
    /** Components inside one another. */
    depth: 64,
    /** Items that one template shows. */
    items: 1_000,
    /** Values in one surface's data; a long text counts as one for every KiB of it. */
    values: 50_000,
    /** Maps and lists inside one another, and segments of a path. */
    dataDepth: 32,
    /** Characters of one value, which may be a picture. */
    string: 4_000_000,
    /** Characters that one component shows, and all of a surface together. */
    text: 100_000,
    shown: 1_000_000,
    /** Characters of an id, a key or a name. */
    name: 1_000,
    /** Options of a choice, tabs, and entries of an action's context. */
    options: 500,
    /** Characters of a pattern; characters of a value that is held against one; open-ended parts of a pattern. */
    pattern: 300,
    patternValue: 128,
    patternRepeats: 4,
    /** Problems that one call reports. */
    problems: 50,
  });

  const isObject = (value) =>
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Map);
  const isIndex = (segment) => /^(0|[1-9]\d{0,8})$/.test(segment);

  /** The segments of a path. `.`, `/` and the empty text are the place itself: no segments. */
  function segments(path) {
    return String(path)
      .slice(0, LIMITS.name)
      .replace(/\[(\d+)\]/g, ".$1")
      .split(/[./]/)
      .filter((segment) => segment !== "");
  }

  /** What is at `path` (segments) below `root`, or undefined. */
  function read(root, path) {
    let here = root;
    for (const segment of path) {
      if (here instanceof Map) here = here.get(segment);
      else if (Array.isArray(here) && isIndex(segment)) here = here[Number(segment)];
      else return undefined;
    }
    return here;
  }

  /**
   * Puts `value` at `path` (segments, at least one) below `root`, a `Map`. Maps that are missing on the way are made,
   * and what is no map or list gives way to one. False when the place is no place: too deep, or beyond a list's end.
   */
  function write(root, path, value) {
    if (path.length === 0 || path.length > LIMITS.dataDepth) return false;
    let here = root;
    for (const segment of path.slice(0, -1)) {
      let next = read(here, [segment]);
      if (!(next instanceof Map) && !Array.isArray(next)) {
        next = new Map();
        if (!put(here, segment, next)) return false;
      }
      here = next;
    }
    return put(here, path.at(-1), value);
  }

  function put(holder, segment, value) {
    if (holder instanceof Map) {
      holder.set(segment, value);
      return true;
    }
    // A list grows by one at most: an index of a thousand million would be a list of that length.
    if (!isIndex(segment) || Number(segment) > holder.length) return false;
    holder[Number(segment)] = value;
    return true;
  }

  /** JSON's value in the forms that are kept here. What is nested too deeply, and what is no JSON, becomes null. */
  function ingest(value, depth = 0) {
    if (typeof value === "string") return value.slice(0, LIMITS.string);
    if (typeof value === "number") return Number.isFinite(value) ? value : null;
    if (typeof value === "boolean") return value;
    if (typeof value !== "object" || value === null || depth >= LIMITS.dataDepth) return null;
    if (Array.isArray(value)) {
      return isEntries(value)
        ? fromEntries(value, depth)
        : value.slice(0, LIMITS.values).map((item) => ingest(item, depth + 1));
    }
    return new Map(
      Object.entries(value)
        .slice(0, LIMITS.values)
        .map(([key, item]) => [key.slice(0, LIMITS.name), ingest(item, depth + 1)]),
    );
  }

  const valueKey = (entry) => Object.keys(entry).find((key) => key.startsWith("value"));
  const isEntries = (list) =>
    list.length > 0 && isObject(list[0]) && "key" in list[0] && valueKey(list[0]) !== undefined;

  /** The map that a list of `{key, valueString | valueNumber | valueBoolean | valueMap}` stands for. */
  function fromEntries(list, depth = 0) {
    const map = new Map();
    for (const entry of list.slice(0, LIMITS.values)) {
      if (!isObject(entry) || (typeof entry.key !== "string" && typeof entry.key !== "number")) continue;
      const kind = valueKey(entry);
      if (kind !== undefined) write(map, segments(entry.key), entryValue(entry[kind], kind, depth + 1));
    }
    return map;
  }

  function entryValue(value, kind, depth) {
    if (depth >= LIMITS.dataDepth) return null;
    if (kind === "valueMap" && Array.isArray(value)) return fromEntries(value, depth);
    if (typeof value === "string") return unfold(value, depth);
    return ingest(value, depth);
  }

  /** Version 0.8 has no lists: agents send them as JSON in a string, and renderers take them apart. */
  function unfold(text, depth) {
    const trimmed = text.trim();
    const wrapped = (open, close) => trimmed.startsWith(open) && trimmed.endsWith(close);
    if (!wrapped("{", "}") && !wrapped("[", "]")) return ingest(text, depth);
    try {
      return ingest(JSON.parse(trimmed), depth);
    } catch {
      return ingest(text, depth);
    }
  }

  /** What a `dataModelUpdate` with these `contents` puts at its path; undefined when they are nothing of the kind. */
  function fromContents(contents) {
    if (isObject(contents)) return ingest(contents);
    if (!Array.isArray(contents)) return undefined;
    // One entry with the key `.` is the value itself.
    const [only] = contents;
    if (contents.length === 1 && isObject(only) && only.key === "." && valueKey(only) !== undefined) {
      const kind = valueKey(only);
      return entryValue(only[kind], kind, 1);
    }
    return fromEntries(contents);
  }

  /** How many values there are in `value`, itself included, as `LIMITS.values` counts them; it ends just above `most`. */
  function count(value, most = LIMITS.values) {
    let seen = 0;
    const waiting = [value];
    while (waiting.length > 0 && seen <= most) {
      const next = waiting.pop();
      seen += 1 + (typeof next === "string" ? next.length >> 10 : 0);
      // Both have `values`; a loop, because spreading a large list into arguments overflows the stack.
      if (next instanceof Map || Array.isArray(next)) for (const inner of next.values()) waiting.push(inner);
    }
    return seen;
  }

  /** The same value as JSON has it: what leaves the page with an action. */
  function plain(value) {
    if (value instanceof Map) return Object.fromEntries(Array.from(value, ([key, item]) => [key, plain(item)]));
    return Array.isArray(value) ? value.map(plain) : value;
  }

  Object.assign(a2ui, { LIMITS, isObject, segments, read, write, ingest, fromContents, count, plain });
})();
