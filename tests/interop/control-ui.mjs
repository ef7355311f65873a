// The Control UIs of the reference's releases, unmodified, in a browser: each signs in, and every page that its navigation
// leads to is opened. What goes wrong there (errors of the console and of the page, requests that fail, calls that are
// refused) is written down at their own gateway, and must be no more at ours. That a method is UNAVAILABLE is no fault: it
// is what a gateway without agents says, and the page shows it; such methods are named.
//
// Usage: node control-ui.mjs record REFERENCE_FOLDER RELEASE LIST
//        node control-ui.mjs check BINARY std|smol CONTROL_UI_FOLDER RELEASE LIST
// Needs the packages of canvas/package.json and a Chromium (CHROMIUM, or /usr/bin/chromium).
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";
import { GatewayProcess, TOKEN, check, clawgate, finish, freePort, recordSecret, sleep, tempDir } from "./lib.mjs";

const [mode, ...rest] = process.argv.slice(2);
const [first, second] = rest;
const list = rest.at(-1);
const release = rest.at(-2);
/** How long a page is watched after it has come to rest. */
const REST_MS = 1_500;
/** Pages that are opened at most, and of one kind (those of single plugins, say). */
const PAGES_MAX = 60;
const PAGES_OF_A_KIND_MAX = 2;

const stateDir = tempDir("control-ui");
const port = await freePort();
const base = `http://127.0.0.1:${port}`;
mkdirSync(stateDir, { recursive: true, mode: 0o700 });
const gatewayConfig = { mode: "local", port, auth: { mode: "token", token: TOKEN } };
if (mode === "check") gatewayConfig.controlUi = { root: rest[2] };
writeFileSync(path.join(stateDir, "openclaw.json"), JSON.stringify({ gateway: gatewayConfig }), { mode: 0o600 });
const gateway =
  mode === "record"
    ? new GatewayProcess(
        process.execPath,
        [path.join(first, "node_modules", "openclaw", "openclaw.mjs"), "gateway", "--port", String(port)],
        stateDir,
        port,
      ).grouped()
    : clawgate(first, second, stateDir, port);
await gateway.start(240_000);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"],
});
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });

/** What went wrong, each with the pages where it did. */
const faults = new Map();
/** Methods that ours says it has not. */
const unavailable = new Set();
let where = "sign in";
let hello = false;
const plain = (text) =>
  text
    .replaceAll(String(port), "PORT")
    .replaceAll(stateDir, "STATE")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "ID")
    .replace(/[0-9a-f]{40,}/g, "HASH")
    .replace(/-[A-Za-z0-9_-]{8}\.(js|css)/g, "-PART.$1")
    .replace(/:\d+:\d+/g, "")
    .replace(/\d{4,}/g, "N")
    .split("\n")[0]
    .slice(0, 300);
const fault = (kind, text) => {
  const line = `${kind}: ${plain(text)}`;
  if (!faults.has(line)) faults.set(line, new Set());
  faults.get(line).add(where);
};
page.on("console", (message) => {
  if (message.type() === "error") fault("console", message.text());
});
page.on("pageerror", (error) => fault("page", String(error?.message ?? error)));
// What was asked for when the page went elsewhere is no fault, and other hosts are not there.
page.on("requestfailed", (request) => {
  const why = request.failure()?.errorText ?? "";
  if (why !== "net::ERR_ABORTED" && request.url().startsWith(base)) fault("request", `${request.url()} ${why}`);
});
page.on("response", (response) => {
  if (response.status() >= 400 && response.url().startsWith(base)) {
    fault("response", `${response.status()} ${response.request().method()} ${response.url().replace(/\?.*/, "")}`);
  }
});
page.on("websocket", (socket) => {
  const asked = new Map();
  const read = (frame) => {
    try {
      return JSON.parse(String(frame.payload));
    } catch {
      return {};
    }
  };
  socket.on("framesent", (frame) => {
    const { type, id, method, params } = read(frame);
    if (type === "req") asked.set(id, { method, params });
  });
  socket.on("framereceived", (frame) => {
    const { type, id, ok, error, payload } = read(frame);
    if (type !== "res") return;
    if (payload?.type === "hello-ok") {
      hello = true;
      for (const token of [payload.auth?.deviceToken, payload.pluginSurfaceUrls?.canvas?.split("/").pop()]) {
        if (token) recordSecret("device-token", token);
      }
    }
    if (ok !== false) return;
    const { method, params } = asked.get(id) ?? {};
    if (mode === "check" && error?.code === "UNAVAILABLE") unavailable.add(method);
    else fault("call", `${method} ${error?.code}`);
    if (process.env.CLAWGATE_VERBOSE) console.log(where, method, JSON.stringify(params), JSON.stringify(error));
  });
});

const signedIn = async () => {
  for (let wait = 0; wait < 300 && !hello; wait += 1) await sleep(100);
  return hello;
};
await page.goto(`${base}/#token=${TOKEN}`);
const isIn = await signedIn();
if (mode === "check") check(`the Control UI of ${release} signs in`, isIn, (await page.innerText("body")).slice(0, 300));
else if (!isIn) throw new Error("it does not sign in at its own gateway");
await sleep(3_000);

/** Pages of this UI that are linked from where it stands, its open menus among them. */
const linked = () =>
  page.evaluate(() => {
    const found = new Set();
    const look = (root) => {
      for (const element of root.querySelectorAll("*")) {
        if (element.shadowRoot) look(element.shadowRoot);
        const href = element.tagName === "A" ? element.getAttribute("href") : null;
        if (!href || element.target === "_blank") continue;
        const url = new URL(href, location.href);
        if (url.origin === location.origin) found.add(url.pathname);
      }
    };
    look(document);
    return [...found];
  });
const opened = new Set();
const listed = mode === "check" ? JSON.parse(readFileSync(list, "utf8")) : undefined;
let todo = listed ? [...listed.pages] : await linked();
const kinds = new Map();
while (todo.length > 0 && opened.size < PAGES_MAX) {
  const at = todo.shift();
  if (opened.has(at) || /\.[a-z0-9]+$/.test(at)) continue;
  const kind = at.split("/").length > 3 ? at.replace(/\/[^/]*$/, "") : at;
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  if (kinds.get(kind) > PAGES_OF_A_KIND_MAX) continue;
  opened.add(at);
  where = at;
  hello = false;
  await page.goto(`${base}${at}`, { waitUntil: "load" }).catch((error) => fault("open", String(error)));
  if (!(await signedIn())) fault("open", "it does not connect");
  await sleep(REST_MS);
  if (mode === "record") todo.push(...(await linked()).filter((path) => !opened.has(path)));
}
await browser.close();
await gateway.stop();

const seen = [...faults].map(([line, pages]) => ({ line, pages: [...pages].sort() })).sort((a, b) => (a.line < b.line ? -1 : 1));
if (mode === "record") {
  writeFileSync(list, `${JSON.stringify({ release, pages: [...opened].sort(), faults: seen }, null, 1)}\n`);
  console.log(`${release} at its own gateway: ${opened.size} pages, ${seen.length} kinds of faults`);
} else {
  console.log(`methods that are unavailable here: ${[...unavailable].sort().join(" ") || "none"}`);
  const theirs = new Set(listed.faults.map((fault) => fault.line));
  const more = seen.filter((fault) => !theirs.has(fault.line));
  check(`${opened.size} pages open`, opened.size === listed.pages.length && opened.size > 5, [...opened]);
  check("nothing goes wrong that does not at its own gateway", more.length === 0, more);
  finish();
}
