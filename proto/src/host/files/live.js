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
