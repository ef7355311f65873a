(() => {
  "use strict";
  const NAME = "openclawCanvasA2UIAction";
  // iOS and macOS listen behind `webkit`, Android is an object of that name whose method must be called as such.
  const post = (payload) => {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    try {
      const apple = globalThis.webkit?.messageHandlers?.[NAME];
      if (apple && typeof apple.postMessage === "function") {
        apple.postMessage(text);
        return true;
      }
      const android = globalThis[NAME];
      if (android && typeof android.postMessage === "function") {
        android.postMessage(text);
        return true;
      }
    } catch {}
    return false;
  };
  // A page in a sandbox over plain HTTP has no randomUUID.
  const newId = () =>
    globalThis.crypto?.randomUUID?.() ??
    "id-" + Array.from(globalThis.crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const send = (action) => {
    const given = typeof action?.id === "string" && action.id.trim() !== "" ? action.id : newId();
    return post({ userAction: { ...action, id: given } });
  };
  globalThis.OpenClaw = { ...globalThis.OpenClaw, postMessage: post, sendUserAction: send };
  globalThis.openclawPostMessage = post;
  globalThis.openclawSendUserAction = send;

  // The gateway's own page may show this one in a frame and be its app: it is handed a channel, by which it has code
  // evaluated here and hears what the page tells its app. Whoever else frames a page of the canvas is handed nothing,
  // and is not heard: a foreign page has another origin, and another page of a sandbox has none.
  const evaluate = (code) => {
    const Later = (async () => {}).constructor;
    let run;
    try {
      run = new Later("return (" + code + "\n);");
    } catch (why) {
      if (!(why instanceof SyntaxError)) throw why; // a page whose own policy forbids it
    }
    if (run) return run();
    // Statements: as a script, whose value is that of its last one, or, where that cannot be parsed, as a body that may
    // wait and return. A script that began is not run again.
    let began = false;
    globalThis.__openclawBegan = () => (began = true);
    try {
      return (0, eval)("__openclawBegan();" + code);
    } catch (why) {
      if (began || !(why instanceof SyntaxError)) throw why;
      return new Later(code)();
    } finally {
      delete globalThis.__openclawBegan;
    }
  };
  const asText = (value) => {
    if (typeof value === "string") return value;
    if (value === undefined) return "";
    try {
      return JSON.stringify(value) ?? String(value);
    } catch {
      return String(value);
    }
  };
  const around = globalThis.location.ancestorOrigins?.[0] ?? location.origin;
  if (parent !== globalThis && around === location.origin) {
    let port = null;
    addEventListener("message", (event) => {
      if (event.source !== parent || event.origin !== location.origin) return;
      if (event.data !== "clawgate.canvas" || event.ports.length !== 1) return;
      event.stopImmediatePropagation();
      port?.close();
      const mine = (port = event.ports[0]);
      mine.onmessage = async ({ data }) => {
        try {
          mine.postMessage({ id: data.id, ok: true, value: asText(await evaluate(data.code)) });
        } catch (why) {
          mine.postMessage({ id: data.id, ok: false, error: String(why?.message ?? why).slice(0, 2000) });
        }
      };
      globalThis[NAME] = { postMessage: (text) => mine.postMessage({ action: String(text) }) };
    });
    parent.postMessage("clawgate.canvas", location.origin);
  }

  // The address of this page may carry its right to be here, before its path or behind it: the socket needs it too.
  const before = location.pathname.match(/^\/__openclaw__\/cap\/[^/]+/)?.[0] ?? "";
  const behind = before === "" ? new URLSearchParams(location.search).get("oc_cap") : null;
  const scheme = location.protocol === "https:" ? "wss://" : "ws://";
  const query = behind === null ? "" : "?oc_cap=" + encodeURIComponent(behind);
  const address = scheme + location.host + before + "/__openclaw__/ws" + query;
  let wait = 1000;
  const listen = () => {
    let socket;
    try {
      socket = new WebSocket(address);
    } catch {
      return;
    }
    socket.onopen = () => (wait = 1000);
    socket.onmessage = (event) => {
      if (event.data === "reload") location.reload();
    };
    socket.onclose = () => {
      setTimeout(listen, wait);
      wait = Math.min(wait * 2, 60000);
    };
  };
  listen();
})();
