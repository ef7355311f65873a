// A browser as a node, in a browser: it is approved twice, shows A2UI and pages of the canvas, tells what a person presses,
// and makes pictures that are held against those of the browser itself. What is shown tries to reach the page around it.
//
// Usage: node browser-node.mjs BINARY std|smol CONTROL_FOLDER [SHOTS_FOLDER]. Needs the packages of canvas/package.json and a
// Chromium (CHROMIUM, or /usr/bin/chromium). CONTROL_FOLDER holds the scripts of the control page.
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { RawClient, TOKEN, check, clawgate, finish, freePort, recordSecret, sleep, tempDir, until } from "./lib.mjs";

const [binary, runtime, scripts, shots] = process.argv.slice(2);
const stateDir = tempDir("browser-node");
const port = await freePort();
const here = `http://127.0.0.1:${port}`;

// A page as the control page is, with nothing on it but the node; under the same policy.
const pageDir = path.join(stateDir, "page");
mkdirSync(pageDir);
for (const name of readdirSync(scripts)) if (name.endsWith(".js")) copyFileSync(path.join(scripts, name), path.join(pageDir, name));
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; frame-src 'self'; base-uri 'none'; form-action 'none'";
writeFileSync(
  path.join(pageDir, "index.html"),
  `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><title>Node</title>
   <link rel="stylesheet" href="harness.css"><div id="mount"></div><script type="module" src="harness.js"></script>`,
);
writeFileSync(path.join(pageDir, "harness.css"), "body { margin: 0 } #mount { width: 480px; height: 640px } iframe { border: 0; width: 100%; height: 100%; background: #fff; color-scheme: auto }");
writeFileSync(
  path.join(pageDir, "harness.js"),
  `import { attachNode } from "./node.js";
   globalThis.told = [];
   globalThis.secret = "of the page";
   globalThis.begin = (credential) => {
     const gatewayUrl = location.origin.replace("http", "ws");
     const onStatus = (status) => told.push(status);
     globalThis.node = attachNode({ gatewayUrl, mount: document.getElementById("mount"), credential: () => credential, onStatus });
   };
   globalThis.ready = true;`,
);
const config = {
  gateway: { mode: "local", auth: { mode: "token", token: TOKEN }, controlUi: { root: pageDir } },
};
writeFileSync(path.join(stateDir, "openclaw.json"), JSON.stringify(config), { mode: 0o600 });
const file = (name, text) => writeFileSync(path.join(stateDir, "canvas", name), text);
mkdirSync(path.join(stateDir, "canvas"));
file("dot.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="80"><circle cx="40" cy="40" r="36" fill="#c33"/></svg>');
file("style.css", "h1 { color: rgb(10, 60, 140); letter-spacing: .02em } .card::before { content: '\\2605 '; color: #b60 }");
file(
  "page.html",
  `<!doctype html><html><head><link rel="stylesheet" href="style.css"><style>
   body { margin: 24px; font: 16px/1.5 sans-serif; background: linear-gradient(#fff, #dde8f4) }
   .card { border: 2px solid #345; border-radius: 12px; padding: 12px; background: #fff; display: flex; gap: 12px; align-items: center }
   .scroll { height: 90px; overflow: auto; border: 1px solid #888; margin-top: 12px }
   </style></head><body><h1>Kiln 4 is at 1180°</h1><div class="card"><img src="dot.svg" alt=""><span>Cone 6, soaking for ten minutes</span></div>
   <p><input value="half-typed"> <input type="checkbox" checked> <progress value=".6"></progress></p>
   <div class="scroll"><p>first</p><p>second</p><p>third</p><p>fourth</p><p>fifth</p></div>
   <canvas width="200" height="60"></canvas>
   <script>
     const pen = document.querySelector("canvas").getContext("2d");
     pen.fillStyle = "#284"; pen.fillRect(0, 0, 120, 60); pen.fillStyle = "#fff"; pen.font = "20px sans-serif"; pen.fillText("drawn", 20, 38);
     document.querySelector(".scroll").scrollTop = 60;
     let beats = 0;
   </script></body></html>`,
);
file(
  "rich.html",
  `<!doctype html><html style="color-scheme: dark"><head><style>
   html { background: #14181c } body { margin: 0; font: 15px/1.4 serif; color: #dde } main { padding: 16px; min-height: 1400px }
   .bar { position: fixed; left: 0; right: 0; bottom: 0; padding: 8px; background: #24506a } .sticky { position: sticky; top: 0; background: #333 }
   .turned { transform: rotate(-4deg) scale(.9); border: 3px dashed #9c6; padding: 8px; opacity: .8 }
   .grid { display: grid; grid-template-columns: 1fr 2fr; gap: 8px } .grid > * { background: #2a3a44; padding: 6px } table td { border: 1px solid #678; padding: 4px }
   </style></head><body><main><h2 class="sticky">A long page</h2><div style="height: 260px">above</div>
   <ol start="3"><li>three &amp; <b>bold</b> <code>&lt;code&gt;</code></li><li>four</li></ol><div class="turned">turned</div>
   <div class="grid"><div>left</div><div>right <svg width="30" height="30"><defs><linearGradient id="g"><stop stop-color="red"/><stop offset="1" stop-color="gold"/></linearGradient></defs><circle cx="15" cy="15" r="14" fill="url(#g)"/></svg></div></div>
   <table><tr><td>1</td><td colspan="2">wide</td></tr></table><select><option>first<option selected>second</select> <textarea>typed</textarea> <input type="range" value="70"> <input placeholder="nothing yet">
   <x-box>in a slot</x-box></main><div class="bar">at the bottom</div>
   <script>
     customElements.define("x-box", class extends HTMLElement { connectedCallback() {
       this.attachShadow({ mode: "open" }).innerHTML = "<style>p { color: #8cf; border-left: 4px solid; padding-left: 8px } ::slotted(*) { color: red }</style><p>shadow: <slot></slot></p>"; } });
     scrollTo(0, 200);
   </script></body></html>`,
);
file("film.html", `<!doctype html><body><p>film</p><video width="200" height="100" controls></video></body>`);
file("foreign.html", `<!doctype html><body><p>picture</p><img width="50" height="50" src="${here.replace("127.0.0.1", "localhost")}/favicon-of-nobody.png"><iframe src="page.html"></iframe></body>`);
file("strict.html", `<!doctype html><meta http-equiv="Content-Security-Policy" content="script-src 'unsafe-inline'"><body><p>strict</p></body>`);
// An agent's page that tries what it can.
file(
  "hostile.html",
  `<!doctype html><body><p>hostile</p><script>
   const found = globalThis.found = {};
   const tried = (name, what) => { try { found[name] = String(what()); } catch (why) { found[name] = "refused: " + why.name; } };
   tried("parentDocument", () => parent.document.title);
   tried("parentSecret", () => parent.secret);
   tried("topLocation", () => { top.location.href = "about:blank"; return "set"; });
   tried("storage", () => localStorage.length);
   tried("cookies", () => document.cookie);
   tried("indexedDB", () => { indexedDB.open("clawgate-control"); return "opened"; });
   tried("popup", () => open("/") === null ? "refused: null" : "opened");
   found.origin = String(globalThis.origin);
   found.done = (async () => {
     found.fetchPage = await fetch("/").then((answer) => answer.text(), (why) => "refused: " + why.name);
     found.fetchStatus = await fetch("/healthz").then((answer) => answer.text(), (why) => "refused: " + why.name);
     found.socket = await new Promise((done) => {
       const socket = new WebSocket(location.origin.replace("http", "ws") + "/");
       socket.onopen = () => socket.send(JSON.stringify({type: "req", id: "1", method: "connect", params: {minProtocol: 4, maxProtocol: 4,
         client: {id: "cli", mode: "cli", version: "1", platform: "linux"}, role: "operator", scopes: ["operator.admin"], auth: {token: ${JSON.stringify(TOKEN)}}}}));
       let text = "";
       socket.onmessage = (event) => (text += event.data);
       socket.onclose = (event) => done(event.code + " " + text);
       socket.onerror = () => {};
     });
   })();
   // Answers that nobody asked for, and to requests of the node that it guesses.
   for (const id of ["n1", "1", "r1", null]) parent.postMessage({id, ok: true, value: "forged"}, "*");
   for (let n = 0; n < 3; n += 1) parent.postMessage("clawgate.canvas", "*");
   </script></body>`,
);

const gateway = await clawgate(binary, runtime, stateDir, port).start();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--host-resolver-rules=MAP foreign.example 127.0.0.1"],
});
const page = await browser.newPage({ viewport: { width: 640, height: 700 } });
const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
const sent = [];
page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => String(payload).startsWith("{") && sent.push(JSON.parse(payload))));

const operator = new RawClient(`ws://127.0.0.1:${port}`);
const scopes = ["operator.admin", "operator.read", "operator.write", "operator.pairing"];
const welcome = await operator.connect({ protocol: 4, token: TOKEN, scopes, client: { id: "cli", mode: "cli" } });
check("an operator is there", welcome.ok === true, welcome.error);

// ---- approved twice ----

await page.goto(`${here}/`);
await page.waitForFunction(() => globalThis.ready);
// As the page does for the person in front of it: a code that only lets its bearer ask, since a page is not let in by it.
const made = await operator.request("device.pair.setupCode", { bootstrapProfile: "node", publicUrl: `ws://127.0.0.1:${port}` });
const code = JSON.parse(Buffer.from(made.payload?.setupCode ?? "", "base64url").toString() || "{}");
recordSecret("other", code.bootstrapToken);
await page.evaluate((bootstrapToken) => begin({ bootstrapToken }), code.bootstrapToken);
const status = (state) => page.waitForFunction((state) => told.findLast((one) => one.state === state), state, { timeout: 20_000 }).then((found) => found.jsonValue());
const pairing = await status("pairing");
check("a browser asks to be a node, and says under which request", Boolean(pairing.requestId) && /^[0-9a-f]{64}$/.test(pairing.nodeId), pairing);
const paired = await operator.request("device.pair.approve", { requestId: pairing.requestId });
check("its device is approved", paired.ok === true, paired.error);
const approval = await status("approval");
const waiting = await operator.request("node.pair.list", {});
check("then it asks to show the canvas", approval.requestId === waiting.payload.pending[0]?.requestId, { approval, waiting: waiting.payload });
check("as what it is", waiting.payload.pending[0]?.platform === "web" && waiting.payload.pending[0]?.commands.length === 8, waiting.payload.pending[0]);
const approved = await operator.request("node.pair.approve", { requestId: approval.requestId });
check("and may", approved.ok === true, approved.error);
await status("ready");
const nodeId = approval.nodeId;

let keys = 0;
const invoke = (command, params, timeoutMs = 15_000) =>
  operator.request("node.invoke", { nodeId, command, params, timeoutMs, idempotencyKey: `k${(keys += 1)}` }, timeoutMs + 5_000);
const framed = () => page.frames().find((frame) => frame.parentFrame() === page.mainFrame());
const did = (name, answer) => check(name, answer.ok === true, answer.error);
const refused = (name, answer, words) =>
  check(name, answer.ok === false && answer.error.code === "UNAVAILABLE" && words.test(answer.error.message), answer.error ?? answer.payload);
const shot = async (name) => {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: path.join(shots, `${runtime}-${name}.png`) });
};

// ---- A2UI ----

const text = (id, literalString, usageHint) => ({ id, component: { Text: { text: { literalString }, usageHint } } });
const components = [
  { id: "root", component: { Card: { child: "column" } } },
  { id: "column", component: { Column: { children: { explicitList: ["title", "body", "when", "fine"] } } } },
  text("title", "The kiln is hot", "h2"),
  text("body", "It has held 1180° for ten minutes. Shall it cool down now?", "body"),
  { id: "when", component: { TextField: { label: { literalString: "Say something" }, text: { path: "/said" } } } },
  text("fine-text", "Cool down"),
  { id: "fine", component: { Button: { child: "fine-text", primary: true, action: { name: "cool", context: [{ key: "said", value: { path: "/said" } }] } } } },
];
const jsonl = [
  { surfaceUpdate: { surfaceId: "main", components } },
  { dataModelUpdate: { surfaceId: "main", contents: [{ key: "said", valueString: "" }] } },
  { beginRendering: { surfaceId: "main", root: "root" } },
].map((message) => JSON.stringify(message)).join("\n");
const pushed = await invoke("canvas.a2ui.pushJSONL", { jsonl });
check("A2UI is pushed", pushed.ok === true && pushed.payload.payload.surfaces[0] === "main", pushed.error ?? pushed.payload);
check("and shows", (await framed().locator("text=The kiln is hot").count()) === 1);
await framed().locator("input").fill("gently");
await framed().getByRole("button", { name: "Cool down" }).click();
const toast = await framed().locator(".a2-toast", { hasText: /^Sent$/ }).waitFor({ timeout: 10_000 }).then(() => true, () => false);
check("a button's action is taken, and the page says so", toast, await framed().locator(".a2-toast").textContent().catch(() => null));
const event = sent.find((frame) => frame.method === "node.event" && frame.params.event === "agent.request");
const request = JSON.parse(event?.params.payloadJSON ?? "{}");
check(
  "as an event of the node",
  /^CANVAS_A2UI action=cool session=main surface=main component=fine host=Browser instance=[0-9a-f]{64} ctx=\{"said":"gently"\} default=update_canvas$/.test(request.message),
  request,
);
await framed().locator(".a2-toast").waitFor({ state: "hidden", timeout: 10_000 }).catch(() => {});
await framed().locator("h2").first().click().catch(() => {});

/** How far two pictures are from each other: the mean difference of their channels, and the share of dark pixels. */
const judge = await browser.newPage();
const compare = (one, other) =>
  judge.evaluate(async ([one, other]) => {
    const pixels = async (data) => {
      const image = new Image();
      image.src = data;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      return { size: [image.width, image.height], data: pen.getImageData(0, 0, image.width, image.height).data };
    };
    const [a, b] = [await pixels(one), await pixels(other)];
    if (a.size.join() !== b.size.join()) return { sizes: [a.size, b.size] };
    let sum = 0;
    let far = 0;
    let ink = [0, 0];
    for (let n = 0; n < a.data.length; n += 4) {
      const one = Math.abs(a.data[n] - b.data[n]) + Math.abs(a.data[n + 1] - b.data[n + 1]) + Math.abs(a.data[n + 2] - b.data[n + 2]);
      sum += one / 3;
      if (one > 120) far += 1;
      ink[0] += a.data[n] + a.data[n + 1] + a.data[n + 2] < 300;
      ink[1] += b.data[n] + b.data[n + 1] + b.data[n + 2] < 300;
    }
    const count = a.data.length / 4;
    return { mean: sum / count, far: far / count, ink: ink.map((dark) => dark / count) };
  }, [one, other]);

/** Holds a snapshot of what is shown against the browser's own picture of it. */
const picture = async (name, bound, params = { format: "png" }) => {
  const answer = await invoke("canvas.snapshot", params, 20_000);
  const { format, base64 } = answer.payload?.payload ?? {};
  if (!base64) return check(`a picture of ${name}`, false, answer.error ?? answer);
  const own = await page.locator("iframe").screenshot();
  if (shots) {
    mkdirSync(shots, { recursive: true });
    writeFileSync(path.join(shots, `${runtime}-${name.replace(/\W+/g, "-")}-made.${format}`), Buffer.from(base64, "base64"));
    writeFileSync(path.join(shots, `${runtime}-${name.replace(/\W+/g, "-")}-own.png`), own);
  }
  const found = await compare(`data:image/${format};base64,${base64}`, `data:image/png;base64,${own.toString("base64")}`);
  const hasInk = found.ink && found.ink[0] > 0.001 && Math.abs(found.ink[0] - found.ink[1]) < 0.5 * found.ink[1];
  check(`a picture of ${name} is what the browser shows`, found.mean < bound && found.far < 0.02 && hasInk, found);
};
await shot("a2ui");
await picture("an A2UI surface", 2);
await picture("an A2UI surface as JPEG", 4, { format: "jpg", quality: 0.9 });
const small = await invoke("canvas.snapshot", { format: "png", maxWidth: 120 });
const bytes = Buffer.from(small.payload?.payload?.base64 ?? "", "base64");
check("a picture is as wide as it may be", bytes.length > 24 && bytes.readUInt32BE(16) === 120, small.error);
// More of the catalogue, in the dark, with a dialog above it.
await page.emulateMedia({ colorScheme: "dark" });
const value = (literalString) => ({ literalString });
const more = [
  { id: "root", component: { Column: { children: { explicitList: ["head", "icon", "check", "level", "choice", "tabs", "modal"] } } } },
  text("head", "Settings of kiln 4", "h3"),
  { id: "icon", component: { Icon: { name: value("settings") } } },
  { id: "check", component: { CheckBox: { label: value("Hold at the top"), value: { literalBoolean: true } } } },
  { id: "level", component: { Slider: { value: { literalNumber: 70 }, minValue: 0, maxValue: 100 } } },
  { id: "choice", component: { MultipleChoice: { selections: { literalArray: ["b"] }, options: [{ label: value("Slow"), value: "a" }, { label: value("Fast"), value: "b" }] } } },
  { id: "tabs", component: { Tabs: { tabItems: [{ title: value("One"), child: "one" }, { title: value("Two"), child: "two" }] } } },
  text("one", "The first tab", "body"),
  text("two", "The second tab", "body"),
  { id: "modal", component: { Modal: { entryPointChild: "open", contentChild: "inside" } } },
  text("open-text", "More"),
  { id: "open", component: { Button: { child: "open-text", action: { name: "more" } } } },
  text("inside", "Inside of the dialog", "body"),
];
const rich = [{ surfaceUpdate: { surfaceId: "main", components: more } }, { beginRendering: { surfaceId: "main", root: "root" } }];
did("more of A2UI is pushed", await invoke("canvas.a2ui.push", { messages: rich }));
await sleep(300);
await picture("A2UI in the dark", 3);
await framed().getByRole("button", { name: "More" }).click();
await framed().locator("dialog[open]").waitFor({ timeout: 5_000 }).catch(() => {});
await sleep(400);
await picture("A2UI below a dialog", 6);
await page.emulateMedia({ colorScheme: "light" });
did("A2UI is taken away", await invoke("canvas.a2ui.reset", undefined));
check("and is gone", (await framed().locator("text=The kiln is hot").count()) === 0);

// ---- pages of the canvas ----

did("a page of the canvas is shown", await invoke("canvas.navigate", { url: "page.html" }));
check("by the node's own address", /\/__openclaw__\/cap\/[^/]+\/__openclaw__\/canvas\/page\.html$/.test(framed().url()), framed().url());
await framed().waitForLoadState("networkidle");
await shot("page");
await picture("a page of the canvas", 3);
did("a long page is shown", await invoke("canvas.navigate", { url: "rich.html" }));
await picture("a long page", 4);
await invoke("canvas.navigate", { url: "page.html" });
const evaluated = async (javaScript) => (await invoke("canvas.eval", { javaScript }, 5_000)).payload?.payload?.result;
check("an expression has its value", (await evaluated("1 + 1")) === "2");
check("what is promised is waited for", (await evaluated("Promise.resolve({ a: [1] })")) === '{"a":[1]}');
check("statements have the value of the last one", (await evaluated("var seen = 4; seen * 2")) === "8");
check("a body may wait and return", (await evaluated("const a = await Promise.resolve(5); return a + 1;")) === "6");
check("what began is not begun again", (await evaluated("globalThis.n = (globalThis.n ?? 0) + 1; JSON.parse('{')")) === undefined && (await evaluated("n")) === "1");
refused("what is thrown is told", await invoke("canvas.eval", { javaScript: "(() => { throw new Error('broken kiln') })()" }), /broken kiln/);
const slow = await invoke("canvas.eval", { javaScript: "new Promise(() => {})" }, 1_000);
check("what takes too long is given up", slow.ok === false && /TIMEOUT/.test(slow.error.message), slow.error);
did("the canvas is hidden", await invoke("canvas.hide", undefined));
check("and is not seen", !(await page.locator("#mount").isVisible()));
refused("what is hidden has no picture", await invoke("canvas.snapshot", { format: "png" }), /present it first/);
did("and presented again", await invoke("canvas.present", { placement: { width: 400, height: 500 } }));
check("as large as was asked", await page.locator("iframe").evaluate((frame) => frame.clientWidth === 400 && frame.clientHeight === 500));

for (let n = 0; n < 40; n += 1) {
  file("page.html", "<!doctype html><body><p>changed</p></body>");
  await sleep(250);
  if ((await framed().textContent("p").catch(() => "")) === "changed") break;
}
check("a page that is changed shows so", (await framed().textContent("p").catch(() => "")) === "changed");
await until("the bridge is there again", () => evaluated("document.querySelector('p').textContent"), (value) => value === "changed", 10_000).then(
  () => check("and can be asked again", true),
  (why) => check("and can be asked again", false, why.message),
);

await invoke("canvas.navigate", { url: "film.html" });
refused("a film has no true picture", await invoke("canvas.snapshot", { format: "png" }), /<video>/);
await invoke("canvas.navigate", { url: "foreign.html" });
refused("nor has a page that shows another", await invoke("canvas.snapshot", { format: "png" }), /<iframe>|cannot be read/);
did("a page may forbid evaluation", await invoke("canvas.navigate", { url: "strict.html" }));
refused("which is said", await invoke("canvas.eval", { javaScript: "1" }), /./);
refused("a foreign address is not shown", await invoke("canvas.navigate", { url: "https://example.com/" }), /frame-src 'self'/);
did("what is no page is shown", await invoke("canvas.navigate", { url: "dot.svg" }));
refused("and has no picture", await invoke("canvas.snapshot", { format: "png" }), /cannot be talked to/);

// ---- what an agent's page cannot reach ----

did("a hostile page is shown", await invoke("canvas.navigate", { url: "hostile.html" }));
await framed().evaluate(() => globalThis.found.done);
const found = await framed().evaluate(() => ({ ...globalThis.found, done: undefined }));
for (const name of ["parentDocument", "parentSecret", "topLocation", "storage", "cookies", "popup", "indexedDB"]) {
  check(`a page of the canvas has no ${name}`, /^refused/.test(found[name] ?? ""), found[name]);
}
check("no page of the gateway", /^refused/.test(found.fetchPage) && /^refused/.test(found.fetchStatus), found);
check("and no socket but the one for reloads", /CONTROL_UI_ORIGIN_NOT_ALLOWED/.test(found.socket) && !/hello-ok/.test(found.socket), found.socket);
check("what it forges is nobody's answer", (await evaluated("'mine'")) === "mine");
check("and the node is still there", (await page.evaluate(() => told.at(-1).state)) === "ready" && page.url() === `${here}/`);

// A page of somebody else frames the canvas: it may see that there is one, and is told nothing.
const stranger = http.createServer((_, answer) => {
  answer.setHeader("Content-Type", "text/html");
  answer.end(`<!doctype html><iframe sandbox="allow-scripts" src="${here}/__openclaw__/canvas/hostile.html"></iframe><script>
    globalThis.heard = [];
    onmessage = (event) => heard.push(JSON.stringify(event.data));
    const frame = document.querySelector("iframe");
    frame.onload = () => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = (event) => heard.push("port " + JSON.stringify(event.data));
      frame.contentWindow.postMessage("clawgate.canvas", "*", [port2]);
      port1.postMessage({ id: "1", code: "document.body.innerHTML" });
      setTimeout(() => (globalThis.waited = true), 700);
    };
  </script>`);
});
await new Promise((resolve) => stranger.listen(0, "127.0.0.1", resolve));
const elsewhere = await browser.newPage();
await elsewhere.goto(`http://foreign.example:${stranger.address().port}/`);
await elsewhere.waitForFunction(() => globalThis.waited);
const heard = await elsewhere.evaluate(() => heard);
check("a foreign page that frames the canvas gets no channel", !heard.some((text) => text.startsWith("port")), heard);
stranger.close();

// ---- the commands of the program ----

const run = promisify(execFile);
const cli = async (...args) => {
  const env = { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, OPENCLAW_GATEWAY_TOKEN: TOKEN, NO_COLOR: "1" };
  const more = ["--url", `ws://127.0.0.1:${port}`, "--token", TOKEN];
  return run(binary, ["nodes", "canvas", ...args, "--node", "browser", ...more], { env, cwd: stateDir }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error) => ({ code: error.code, stdout: error.stdout, stderr: error.stderr }),
  );
};
writeFileSync(path.join(stateDir, "push.jsonl"), jsonl);
const commands = [
  ["present", "--target", "page.html", "--width", "420", "--height", "560"],
  ["navigate", "page.html"],
  ["a2ui", "push", "--jsonl", "push.jsonl"],
  ["snapshot", "--out", "made.png", "--format", "png"],
  ["a2ui", "push", "--text", "From a shell"],
  ["a2ui", "reset"],
  ["hide"],
];
for (const command of commands) {
  const outcome = await cli(...command);
  check(`clawgate nodes canvas ${command.slice(0, 2).join(" ")}`, outcome.code === 0, outcome);
}
const pictureFile = path.join(stateDir, "made.png");
check("a picture is a file for its owner", existsSync(pictureFile) && (statSync(pictureFile).mode & 0o777) === 0o600 && readFileSync(pictureFile).subarray(1, 4).toString() === "PNG");
const answered = await cli("eval", "document.title");
check("what is evaluated is printed", answered.code === 0 && answered.stdout.trim() !== "", answered);

// ---- coming back, and leaving ----

await page.reload();
await page.waitForFunction(() => globalThis.ready);
await page.evaluate(() => begin(null));
check("it comes back with the token that it was given", (await status("ready")).nodeId === nodeId);
await page.evaluate(() => node.detach());
check("and leaves when it is told to", (await page.evaluate(() => [told.at(-1).state, document.querySelector("iframe")])).join() === "detached,");
check("without an error in the page", problems.length === 0, problems);
await browser.close();
await operator.close();
check("nothing of an address stands in the log", !gateway.output.includes("/__openclaw__/cap/"));
await gateway.stop();
finish();
