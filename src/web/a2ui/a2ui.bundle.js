// The one script that a page for A2UI names. It brings the rest, which lies beside it, in order.
//
// These are plain scripts and no modules on purpose: browsers show the page in a sandbox, with an origin that is nobody's,
// and a module is not loaded from there without the permission of the server it came from.
"use strict";
(() => {
  const PARTS = ["data.js", "inputs.js", "model.js", "icons.js", "view.js", "widgets.js", "host.js"];
  const beside = (name) => new URL(name, document.currentScript.src).href;

  for (const sheet of ["themes.css", "a2ui.css"]) {
    if (document.querySelector(`link[href$="${sheet}"]`) !== null) continue;
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: beside(sheet) }));
  }
  for (const part of PARTS) {
    const script = document.createElement("script");
    script.src = beside(part);
    script.async = false; // in the order in which they were added
    script.addEventListener("error", () => {
      const text = `This page is not complete: ${part} could not be loaded. Open it again from the app.`;
      console.error(`A2UI: ${text}`);
      document.body.append(Object.assign(document.createElement("p"), { textContent: text }));
    });
    document.head.append(script);
  }
})();
