// What may come in from outside a binding: addresses, patterns, dates and colours. Text in, decisions out; it knows no
// browser.
"use strict";
(() => {
  const a2ui = (globalThis.clawgateA2UI ??= {});
  const { LIMITS } = a2ui;

  /**
   * The address of an image, a video or a sound as it may be loaded, or null. Allowed are http, https, paths on the
   * page's own host, and data of the `kind` itself ("image", "video", "audio"): nothing that runs.
   */
  function address(url, kind) {
    const trimmed = String(url).trim();
    if (trimmed === "") return null;
    // Browsers drop tabs and line ends inside an address, which would let `java\nscript:` through.
    if (/[\u0000-\u001f\u007f]/.test(trimmed)) return null;
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(trimmed)?.[1].toLowerCase();
    if (scheme === undefined || scheme === "http" || scheme === "https") return trimmed;
    return scheme === "data" && trimmed.slice(5).toLowerCase().startsWith(`${kind}/`) ? trimmed : null;
  }

  /**
   * Whether a pattern can be tried without the danger that it runs for ever: it is short, repeats no group that itself
   * repeats or chooses, refers to nothing it matched before, and repeats without end only a few times.
   */
  function isTame(pattern) {
    if (pattern.length > LIMITS.pattern || /\\([1-9]|k<)/.test(pattern)) return false;
    const groups = [{ wild: false }];
    let repeats = 0;
    let closed = null; // the group that ended just before this character
    let inClass = false;
    for (let i = 0; i < pattern.length; i += 1) {
      const char = pattern[i];
      const group = groups.at(-1);
      const before = closed;
      closed = null;
      if (char === "\\") {
        i += 1;
      } else if (inClass) {
        inClass = char !== "]";
      } else if (char === "[") {
        inClass = true;
      } else if (char === "(") {
        groups.push({ wild: false });
      } else if (char === ")") {
        if (groups.length === 1) return false;
        closed = groups.pop();
        if (closed.wild) groups.at(-1).wild = true;
      } else if (char === "|") {
        group.wild = true;
      } else if (char === "*" || char === "+" || char === "{") {
        const times = /^\{(\d{1,3})\}/.exec(pattern.slice(i));
        if (before?.wild) return false;
        if (times !== null) continue; // exactly so many times: only one way to do it
        group.wild = true;
        repeats += 1;
      }
    }
    return repeats <= LIMITS.patternRepeats;
  }

  /** Whether the whole of `value` fits; null when the pattern is none, or nothing to try on this value. */
  function fits(pattern, value) {
    if (pattern === null || value === "" || value.length > LIMITS.patternValue || !isTame(pattern)) return null;
    try {
      return new RegExp(`^(?:${pattern})$`, "u").test(value);
    } catch {
      return null;
    }
  }

  /** The `type` of the input for a date, a time or both. */
  const dateType = ({ date, time }) => (date && time ? "datetime-local" : date ? "date" : "time");

  /** A date or time as an input of `type` takes it: local time, to the minute; empty when it is none. */
  function dateValue(value, type) {
    const clock = /^(\d{1,2}):(\d{2})(:\d{2})?$/.exec(value.trim());
    if (clock !== null) return type === "time" ? `${clock[1].padStart(2, "0")}:${clock[2]}` : "";
    // A date alone is a day, not the midnight of another time zone.
    const read = new Date(/^\d{4}-\d{2}-\d{2}$/.test(value.trim()) ? `${value.trim()}T00:00` : value);
    if (value.trim() === "" || Number.isNaN(read.getTime())) return "";
    const two = (part) => String(part).padStart(2, "0");
    const day = `${String(read.getFullYear()).padStart(4, "0")}-${two(read.getMonth() + 1)}-${two(read.getDate())}`;
    const minute = `${two(read.getHours())}:${two(read.getMinutes())}`;
    return { date: day, time: minute, "datetime-local": `${day}T${minute}` }[type];
  }

  /** Black or white, whichever is easier to read on a colour `#rrggbb`. */
  function inkOn(colour) {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const share = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
  }

  Object.assign(a2ui, { address, isTame, fits, dateType, dateValue, inkOn });
})();
