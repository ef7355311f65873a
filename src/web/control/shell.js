// The frame around the views: the rail with their names and counts, the view that is open, and one line that says what
// was done. The open view is the address's fragment, so that back, forward and bookmarks work.
import { el, icon, setText } from "./dom.js";

const NOTICE_MS = 8_000;

/** `views` is a list of `{id, title, path, view, count?}`. Gives `{node, update(), say(), connection()}`. */
export function shell(views) {
  const notice = el("p", { class: "notice", role: "status" });
  const link = el("span", { class: "link", role: "status" });
  const host = el("span", { class: "facts" });
  const links = views.map(({ id, title, path }) => {
    const count = el("span", { class: "count" });
    count.hidden = true;
    return { count, node: el("a", { href: `#${id}` }, icon(path), el("span", {}, title), count) };
  });
  const panels = views.map(({ id, view }) => el("div", { class: "view", id: `view-${id}` }, view.node));
  const heading = el("h1", { tabIndex: -1 });
  const main = el("main", {}, el("header", {}, heading, link), notice, panels);
  const rail = el("nav", { class: "rail", "aria-label": "Views" },
    el("div", { class: "brand" }, "clawgate", host), el("ul", {}, links.map(({ node }) => el("li", {}, node))));
  let open = 0;
  let timer;

  const go = (isMove) => {
    const found = views.findIndex(({ id }) => `#${id}` === location.hash);
    open = Math.max(found, 0);
    panels.forEach((panel, at) => (panel.hidden = at !== open));
    links.forEach(({ node }, at) => (at === open ? node.setAttribute("aria-current", "page") : node.removeAttribute("aria-current")));
    setText(heading, views[open].title);
    links[open].node.scrollIntoView?.({ block: "nearest", inline: "nearest" });
    views[open].view.update();
    views[open].view.shown?.();
    setText(notice, "");
    if (isMove) heading.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => go(true));

  return {
    node: el("div", { class: "shell" }, rail, main),
    start: () => go(false),
    isOpen: (id) => views[open].id === id,
    /** Draws the open view and the counts anew. */
    update() {
      views[open].view.update();
      for (const [at, { title, count }] of views.entries()) {
        const now = count?.() ?? 0;
        links[at].count.hidden = now === 0;
        setText(links[at].count, now === 0 ? "" : String(now));
        links[at].node.setAttribute("aria-label", now === 0 ? title : `${title}, ${now} waiting`);
      }
    },
    /** Says what was done or went wrong; `kind` is `good` or `bad`. */
    say(text, kind) {
      clearTimeout(timer);
      notice.className = `notice ${kind}`;
      setText(notice, text);
      timer = setTimeout(() => setText(notice, ""), NOTICE_MS);
    },
    connection(text, kind, name = "") {
      link.className = `link ${kind}`;
      setText(link, text);
      setText(host, name);
    },
  };
}
