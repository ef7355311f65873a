// The published renderer behind the same face as our page: `apply`, `settled`, and the actions it would send. Bundled by
// a2ui.mjs, as it consists of many packages.
import { Data } from "@a2ui/lit/0.8";
import * as UI from "@a2ui/lit/ui";
import { ContextProvider } from "@lit/context";

// It wants a class list for everything, and takes none.
const theme = new Proxy(
  {},
  {
    get: (_, name) =>
      name === "markdown" ? {} : typeof name !== "string" || name === "additionalStyles" ? undefined : theme,
    ownKeys: () => [],
  },
);

/** It hands its texts to a Markdown renderer: headings as `# x`, captions as `*x*`. Ours has text only. */
function renderText(text) {
  const escaped = (part) => part.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
  const heading = /^(#{1,5}) (.*)$/s.exec(text);
  if (heading !== null) return `<h${heading[1].length}>${escaped(heading[2])}</h${heading[1].length}>`;
  const caption = /^\*(.*)\*$/s.exec(text);
  return caption !== null ? `<p class="caption">${escaped(caption[1])}</p>` : `<p>${escaped(text)}</p>`;
}

const host = document.querySelector("#host");
new ContextProvider(host, { context: UI.Context.themeContext, initialValue: theme });
new ContextProvider(host, { context: UI.Context.markdown, initialValue: renderText });

let processor = Data.createSignalA2uiMessageProcessor();
let elements = new Map();
let actions = [];

function show() {
  for (const [id, element] of elements) {
    if (processor.getSurfaces().has(id)) continue;
    element.remove();
    elements.delete(id);
  }
  for (const [id, surface] of processor.getSurfaces()) {
    let element = elements.get(id);
    if (element === undefined) {
      element = document.createElement("a2ui-surface");
      element.surfaceId = id;
      element.processor = processor;
      elements.set(id, element);
      element.addEventListener("a2uiaction", (event) => actions.push(resolve(id, event.detail)));
    }
    element.surface = surface;
    element.requestUpdate();
    host.append(element);
  }
}

function resolve(surfaceId, { action, sourceComponentId, sourceComponent }) {
  const context = {};
  for (const { key, value } of action.context ?? []) {
    if (value.path) context[key] = processor.getData(sourceComponent, value.path, surfaceId);
    else context[key] = value.literalString ?? value.literalNumber ?? value.literalBoolean;
  }
  return { name: action.name, surfaceId, sourceComponentId, context };
}

globalThis.subject = {
  root: host,
  reset() {
    host.replaceChildren();
    elements = new Map();
    actions = [];
    processor = Data.createSignalA2uiMessageProcessor();
  },
  apply(messages) {
    processor.processMessages(messages);
    show();
    return [...processor.getSurfaces().keys()];
  },
  actions: () => actions,
  async settled() {
    // Its elements update one after the other, each in a turn of its own.
    for (let turn = 0; turn < 4; turn += 1) await new Promise((done) => setTimeout(done, 0));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  },
};
