// The page's own face: the element that shows surfaces, the functions that apps call, the bridge by which a person's
// actions reach the app, the canvas behind it all, and the two places where the page itself says something.
"use strict";
(() => {
  const { Model, slot, el, say, dress } = globalThis.clawgateA2UI;
  const root = document.documentElement;
  const query = new URLSearchParams(location.search);

  // ---- theme and platform ----

  const THEMES = ["light", "dark", "eink"];
  const EINK = matchMedia("(monochrome), (update: slow)");
  const DARK = matchMedia("(prefers-color-scheme: dark)");

  /** `?theme=` decides; else what the screen is, and what its owner prefers. */
  function theme() {
    const asked = query.get("theme");
    root.dataset.theme = THEMES.includes(asked) ? asked : EINK.matches ? "eink" : DARK.matches ? "dark" : "light";
  }
  for (const wish of [EINK, DARK]) wish.addEventListener("change", theme);
  theme();
  const platform = query.get("platform");
  if (platform !== null) root.dataset.platform = platform.trim().slice(0, 40);

  // ---- the bridge ----

  /** How long an app may take to say what became of an action, before the page stops waiting. */
  const ANSWER_MS = 10_000;

  const BRIDGE = "openclawCanvasA2UIAction";

  /** Hands a message to the app around this page. False when there is none. */
  function post(message) {
    const apple = globalThis.webkit?.messageHandlers?.[BRIDGE];
    if (typeof apple?.postMessage === "function") {
      apple.postMessage(message);
      return true;
    }
    // Android's object must be called as it stands: taken apart, it throws.
    if (typeof globalThis[BRIDGE]?.postMessage === "function") {
      globalThis[BRIDGE].postMessage(JSON.stringify(message));
      return true;
    }
    return false;
  }

  /** An id as `crypto.randomUUID` makes it, which pages from plain http addresses are not given. */
  function actionId() {
    if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // ---- the element ----

  const model = new Model();
  const hosts = new Set();
  const pending = new Map();

  class Host extends HTMLElement {
    #surfaces = new Map();
    #list = el("div.a2-surfaces");
    #toast = el("div.a2-toast", { role: "status" });
    #empty = el("p.a2-empty", {}, "Ready. Nothing to show yet.");
    #hiding;
    #quiet = false;

    connectedCallback() {
      this.replaceChildren(this.#empty, this.#list, this.#toast);
      this.#toast.hidden = true;
      hosts.add(this);
      this.show(model.ids());
    }

    disconnectedCallback() {
      hosts.delete(this);
    }

    /** Says no more that there is nothing to show: whoever draws on the canvas has something. */
    quiet() {
      this.#quiet = true;
      this.#empty.hidden = true;
    }

    /** Shows the `changed` surfaces as they are now; those that were `removed` meanwhile begin anew. */
    show(changed, removed = []) {
      for (const id of removed) this.#drop(id);
      for (const id of changed) {
        const now = model.show(id);
        if (now === null) {
          this.#drop(id);
          continue;
        }
        const { element, inside } = this.#surface(id);
        dress(element, now.styles);
        inside.update([now.root]);
      }
      let at = this.#list.firstChild;
      for (const element of model.ids().flatMap((id) => this.#surfaces.get(id)?.element ?? [])) {
        if (element === at) at = at.nextSibling;
        else this.#list.insertBefore(element, at);
      }
      this.#empty.hidden = this.#quiet || this.#surfaces.size > 0;
    }

    #surface(id) {
      if (!this.#surfaces.has(id)) {
        const element = el("div.a2-surface");
        const page = { act: (node) => act(id, node), set: (node, value) => enter(id, node, value) };
        this.#surfaces.set(id, { element, inside: slot(element, page) });
      }
      return this.#surfaces.get(id);
    }

    #drop(id) {
      this.#surfaces.get(id)?.inside.end();
      this.#surfaces.get(id)?.element.remove();
      this.#surfaces.delete(id);
    }

    /** Says something about an action: for good, or until `forMs` have passed. */
    tell(text, tone, forMs) {
      clearTimeout(this.#hiding);
      // Below an open dialog it could neither be seen nor heard.
      const dialogs = this.querySelectorAll("dialog[open]");
      const place = dialogs[dialogs.length - 1] ?? this;
      if (this.#toast.parentNode !== place) place.append(this.#toast);
      say(this.#toast, text);
      this.#toast.dataset.tone = tone;
      this.#toast.hidden = false;
      this.#hiding = setTimeout(() => (this.#toast.hidden = true), forMs);
    }
  }

  const each = (what) => [...hosts].forEach(what);
  const show = (changed, removed) => each((host) => host.show(changed, removed));
  const tell = (...words) => each((host) => host.tell(...words));

  function enter(id, node, value) {
    if (model.set(id, node.bind, value)) show([id]);
  }

  // ---- actions ----

  function act(id, node) {
    const action = model.action(id, node);
    if (action === null) return;
    const { context, ...rest } = action;
    const userAction = { id: actionId(), ...rest, timestamp: new Date().toISOString() };
    if (Object.keys(context).length > 0) userAction.context = context;
    globalThis.__openclawLastA2UIAction = userAction;
    try {
      if (!post({ userAction })) return tell("This page is not open in an app, so nobody heard that.", "bad", 4_000);
    } catch (error) {
      return tell(`The app did not take it: ${error?.message ?? error}`, "bad", 6_000);
    }
    const late = setTimeout(() => {
      pending.delete(userAction.id);
      tell("Sent. The app has not said what came of it.", "plain", 4_000);
    }, ANSWER_MS);
    pending.set(userAction.id, late);
    tell("Sending…", "plain", ANSWER_MS);
  }

  addEventListener("openclaw:a2ui-action-status", (event) => {
    const { id, ok, error } = event.detail ?? {};
    if (!pending.has(id)) return;
    clearTimeout(pending.get(id));
    pending.delete(id);
    if (ok === true) tell("Sent", "good", 1_500);
    else tell(`Not sent: ${String(error || "the app gave no reason").slice(0, 300)}`, "bad", 6_000);
  });

  // ---- what apps call ----

  globalThis.openclawA2UI = {
    /** Applies A2UI 0.8 messages. What is wrong in one of them is logged; the others count. */
    applyMessages(messages) {
      if (!Array.isArray(messages)) throw new Error("A2UI: expected messages array");
      const { changed, removed, problems } = model.apply(messages);
      for (const problem of problems) console.warn(`A2UI: ${problem}`);
      show(changed, removed);
      return { ok: true, surfaces: model.ids() };
    },
    /** Takes every surface away. */
    reset() {
      const gone = model.ids();
      model.reset();
      show([], gone);
      return { ok: true };
    },
    getSurfaces: () => model.ids(),
  };

  // ---- the canvas and the status card ----

  const canvas = document.getElementById("openclaw-canvas");
  const ctx = canvas?.getContext("2d") ?? null;
  const card = document.getElementById("openclaw-status");

  function fit() {
    if (ctx === null) return;
    const scale = Math.min(devicePixelRatio || 1, 4);
    canvas.width = Math.max(1, Math.floor(innerWidth * scale));
    canvas.height = Math.max(1, Math.floor(innerHeight * scale));
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
  }
  addEventListener("resize", fit);
  fit();

  const status = {
    title: "Ready",
    subtitle: "Waiting for the agent",
    shown: ["debugStatus", "debug"].some((name) => /^(1|true)$/.test(query.get(name) ?? "")),
  };

  function showStatus() {
    if (card === null) return;
    card.hidden = !status.shown;
    card.replaceChildren(el("strong", {}, status.title), el("span", {}, status.subtitle));
  }
  showStatus();

  globalThis.__openclaw = {
    get canvas() {
      return canvas;
    },
    get ctx() {
      each((host) => host.quiet());
      return ctx;
    },
    setStatus(title, subtitle) {
      Object.assign(status, { title: String(title ?? ""), subtitle: String(subtitle ?? "") });
      showStatus();
    },
    setDebugStatusEnabled(shown) {
      status.shown = shown === true;
      showStatus();
    },
  };

  customElements.define("openclaw-a2ui-host", Host);
})();
