// The three components with a life of their own: tabs, dialogs and choices, with the roles and keys that people who use
// a keyboard or a screen reader expect of them.
"use strict";
(() => {
  const { KINDS, slot, el, attribute, say, onChange, uid } = globalThis.clawgateA2UI;
  const FOCUSABLE = "button, input, select, textarea, a[href], audio, video, [tabindex]";

  KINDS.Tabs = {
    make(_, page) {
      const bar = el("div.a2-tabs-bar", { role: "tablist" });
      const element = el("div.a2-tabs", {}, bar);
      const tabs = [];
      let selected = 0;

      function select(index, focus) {
        selected = index;
        tabs.forEach(({ button, panel }, at) => {
          attribute(button, "aria-selected", at === index ? "true" : "false");
          attribute(button, "tabindex", at === index ? "0" : "-1");
          panel.hidden = at !== index;
        });
        if (focus) tabs[index].button.focus();
      }

      bar.addEventListener("keydown", (event) => {
        const last = tabs.length - 1;
        const to = {
          ArrowRight: selected === last ? 0 : selected + 1,
          ArrowLeft: selected === 0 ? last : selected - 1,
          Home: 0,
          End: last,
        }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        select(to, true);
      });

      function add() {
        const index = tabs.length;
        const button = el("button", { type: "button", role: "tab", id: uid() });
        const panel = el("div.a2-panel", { role: "tabpanel", id: uid(), "aria-labelledby": button.id, tabindex: "0" });
        attribute(button, "aria-controls", panel.id);
        button.addEventListener("click", () => select(index, false));
        bar.append(button);
        element.append(panel);
        tabs.push({ button, panel, inside: slot(panel, page) });
      }

      return {
        el: element,
        update(node) {
          while (tabs.length < node.tabs.length) add();
          for (const { button, panel, inside } of tabs.splice(node.tabs.length)) {
            inside.end();
            button.remove();
            panel.remove();
          }
          node.tabs.forEach(({ title, child }, at) => {
            say(tabs[at].button, title);
            tabs[at].inside.update([child]);
          });
          if (tabs.length > 0) select(Math.min(selected, tabs.length - 1), false);
        },
        end: () => tabs.forEach(({ inside }) => inside.end()),
      };
    },
  };

  KINDS.Modal = {
    make(_, page) {
      const entry = el("div.a2-entry");
      const body = el("div.a2-dialog-body");
      const close = el("button.a2-close", { type: "button", "aria-label": "Close" }, "×");
      const dialog = el("dialog.a2-dialog", {}, el("div.a2-dialog-frame", {}, close, body));
      const element = el("div.a2-modal", {}, entry, dialog);
      const entries = slot(entry, page);
      const inside = slot(body, page);

      function open() {
        if (dialog.open || !dialog.isConnected) return;
        const heading = body.querySelector("h1, h2, h3, h4, h5");
        if (heading !== null) heading.id ||= uid();
        attribute(dialog, "aria-labelledby", heading?.id ?? null);
        attribute(dialog, "aria-label", heading === null ? "Dialog" : null);
        dialog.showModal();
      }

      entry.addEventListener("click", open);
      entry.addEventListener("keydown", (event) => {
        if (event.target !== entry || (event.key !== "Enter" && event.key !== " ")) return;
        event.preventDefault();
        open();
      });
      close.addEventListener("click", () => dialog.close());
      dialog.addEventListener("click", (event) => {
        event.stopPropagation();
        if (event.target === dialog) dialog.close(); // beside the frame
      });
      // `showModal` makes the rest of the page inert; this keeps Tab from leaving towards the browser's own buttons.
      dialog.addEventListener("keydown", (event) => {
        if (event.key !== "Tab") return;
        const stops = [...dialog.querySelectorAll(FOCUSABLE)].filter(
          (stop) => stop.tabIndex >= 0 && !stop.disabled && stop.checkVisibility(),
        );
        const edge = event.shiftKey ? stops[0] : stops.at(-1);
        if (stops.length === 0 || document.activeElement !== edge) return;
        event.preventDefault();
        (event.shiftKey ? stops.at(-1) : stops[0]).focus();
      });

      return {
        el: element,
        update(node) {
          entries.update([node.entry]);
          inside.update([node.content]);
          // What opens the dialog must be reachable by keyboard, and say what it does.
          const own = entry.querySelector(FOCUSABLE);
          attribute(entry, "role", own === null ? "button" : null);
          attribute(entry, "tabindex", own === null ? "0" : null);
          attribute(own ?? entry, "aria-haspopup", "dialog");
        },
        end() {
          entries.end();
          inside.end();
        },
      };
    },
  };

  KINDS.MultipleChoice = {
    form: (node) => (node.most === 1 ? "one" : "many"),
    make(node, page) {
      const one = node.most === 1;
      const holder = el("div.a2-options");
      const note = el("span.a2-note", { id: uid() });
      const group = el(
        "fieldset.a2-choice",
        { role: one ? "radiogroup" : "group", "aria-describedby": note.id },
        holder,
        note,
      );
      const name = uid();
      let current = node;
      let chosen = [];
      let rows = [];

      const build = onChange((options) => {
        rows = options.map(({ label, value }) => {
          const input = el("input", { type: one ? "radio" : "checkbox", name, autocomplete: "off" });
          input.addEventListener("input", () => {
            const others = one ? [] : chosen.filter((each) => each !== value);
            chosen = input.checked ? [...others, value] : others;
            tick();
            page.set(current, chosen);
          });
          return { value, input, el: el("label.a2-check", {}, input, el("span", {}, label)) };
        });
        holder.replaceChildren(...rows.map((row) => row.el));
      });

      function tick() {
        const full = !one && chosen.length >= current.most;
        for (const { input, value } of rows) {
          input.checked = chosen.includes(value);
          input.disabled = full && !input.checked;
        }
        const limited = !one && current.most < current.options.length;
        say(note, limited ? `${chosen.length} of at most ${current.most} chosen` : "");
        note.hidden = !limited;
      }

      const choose = onChange((now) => (chosen = now));
      return {
        el: group,
        update(now) {
          current = now;
          attribute(
            group,
            "aria-label",
            one ? "Choose one" : now.most < now.options.length ? `Choose up to ${now.most}` : "Choose any",
          );
          build(now.options);
          choose(now.chosen);
          tick();
        },
      };
    },
  };
})();
