// Opens the canvas in a browser: what a page in its sandbox can load and reach, on this machine and by an address with a
// capability, whether it loads itself again, and whether an installed Control UI of release 2026.3.13 signs in.
//
// Usage: node canvas.mjs BINARY std|smol [CONTROL_UI_FOLDER]. Needs the packages of canvas/package.json and a Chromium
// (CHROMIUM, or /usr/bin/chromium).
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";
import { RawClient, TOKEN, check, clawgate, finish, freePort, recordSecret, sleep, tempDir } from "./lib.mjs";

const [binary, runtime, controlUi] = process.argv.slice(2);
const stateDir = tempDir("canvas");
const port = await freePort();
const gatewayConfig = { mode: "local", auth: { mode: "token", token: TOKEN } };
if (controlUi) gatewayConfig.controlUi = { root: controlUi };
writeFileSync(path.join(stateDir, "openclaw.json"), JSON.stringify({ gateway: gatewayConfig }), { mode: 0o600 });
const file = (name, text) => writeFileSync(path.join(stateDir, "canvas", name), text);
mkdirSync(path.join(stateDir, "canvas"));
file("plain.js", "window.plain = true");
file("module.js", "window.module = true; export {}");
file("style.css", "p { color: rgb(1, 2, 3) }");
file("data.json", '{"a":1}');
file(
  "index.html",
  `<!doctype html><link rel="stylesheet" href="style.css"><p>page</p>
   <script src="plain.js"></script><script type="module" src="module.js"></script>`,
);
file("live.html", "<!doctype html><body><p>before</p></body>");

const gateway = await clawgate(binary, runtime, stateDir, port).start();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--host-resolver-rules=MAP gw.example 127.0.0.1"],
});

/** What a page of the canvas can do, as it sees it itself. */
const seen = async (base) => {
  const page = await browser.newPage();
  const answer = await page.goto(`${base}/__openclaw__/canvas/`);
  if (answer.status() !== 200) return { status: answer.status() };
  await page.waitForLoadState("networkidle");
  const found = await page.evaluate(async () => ({
    origin: globalThis.origin,
    plain: globalThis.plain === true,
    module: globalThis.module === true,
    color: getComputedStyle(document.querySelector("p")).color,
    data: await fetch("data.json").then((answer) => answer.json(), () => null),
    stores: (() => {
      try {
        return localStorage !== undefined;
      } catch {
        return false;
      }
    })(),
    bridge: typeof globalThis.openclawSendUserAction,
    // Nobody listens: this is no app.
    sent: globalThis.openclawSendUserAction?.({ name: "x" }),
  }));
  await page.close();
  return { status: 200, ...found };
};

const here = `http://127.0.0.1:${port}`;
const elsewhere = `http://gw.example:${port}`;
const operator = new RawClient(`ws://127.0.0.1:${port}`);
const client = { id: "cli", mode: "cli" };
const hello = await operator.connect({ protocol: 4, token: TOKEN, scopes: ["operator.read"], client });
const url = hello.payload?.pluginSurfaceUrls?.canvas ?? "";
recordSecret("other", url.split("/").pop());
check("an operator is told where the canvas is", url.startsWith(`${here}/__openclaw__/cap/`), hello.error);
const byCapability = url.replace(here, elsewhere);

const local = await seen(here);
const apart = { origin: "null", plain: true, color: "rgb(1, 2, 3)", stores: false, bridge: "function", sent: false };
const fits = (found, wanted) => Object.entries(wanted).every(([name, value]) => found[name] === value);
check("on this machine a page runs in a sandbox", local.status === 200 && fits(local, apart), local);
check("and loads neither modules nor data there", local.module === false && local.data === null, local);
const shared = await seen(byCapability);
check("by its own address it runs in the same", shared.status === 200 && fits(shared, apart), shared);
check("and loads modules and data of its own", shared.module === true && shared.data?.a === 1, shared);
check("from elsewhere nobody sees it without", (await seen(elsewhere)).status === 401);

for (const [name, base] of [
  ["on this machine", here],
  ["by its own address", byCapability],
]) {
  file("live.html", "<!doctype html><body><p>before</p></body>");
  const page = await browser.newPage();
  const listens = page.waitForEvent("websocket");
  await page.goto(`${base}/__openclaw__/canvas/live.html`);
  await listens;
  let text = "";
  // The watch begins some time after the socket does: it is written until it is noticed.
  for (let n = 0; n < 40 && text !== "after"; n += 1) {
    file("live.html", "<!doctype html><body><p>after</p></body>");
    await sleep(250);
    text = await page.textContent("p").catch(() => "");
  }
  check(`a page loads itself again, ${name}`, text === "after", text);
  await page.close();
}

const page = await browser.newPage();
const refused = [];
page.on("console", (message) => message.type() === "error" && refused.push(message.text()));
await page.goto(`${byCapability}/__openclaw__/a2ui/?platform=ios`);
await page.waitForFunction(() => globalThis.openclawA2UI !== undefined, undefined, { timeout: 10_000 }).catch(() => {});
const a2ui = await page.evaluate(() => ({
  reset: globalThis.openclawA2UI?.reset(),
  platform: document.documentElement.dataset.platform,
}));
check("the page for A2UI is there and works", a2ui.reset?.ok === true && a2ui.platform === "ios", { a2ui, refused });
await page.close();

await operator.close();
await sleep(200);
check("an address ends with its connection", (await seen(byCapability)).status === 401);

if (controlUi) {
  const desk = await browser.newPage();
  await desk.goto(`${here}/chat#token=${TOKEN}`);
  const signedIn = await desk
    .waitForFunction(() => document.body.innerText.includes("Ready to chat"), undefined, { timeout: 20_000 })
    .then(() => true, () => false);
  check("an installed Control UI signs in", signedIn, (await desk.evaluate(() => document.body.innerText)).slice(0, 300));
} else {
  console.log("SKIPPED: an installed Control UI (the reference release is not to be had)");
}
await browser.close();
check("nothing of an address stands in the log", !gateway.output.includes("/__openclaw__/cap/"));
await gateway.stop();
finish();
