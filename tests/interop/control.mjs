// Drives the control page in a browser: signs in by the link of `clawgate dashboard`, approves a node by clicking, sees an
// event in the stream, decides an approval whose asker waits, comes back after a reload, and takes pictures for the docs.
//
// Usage: node control.mjs BINARY std|smol PICTURES [PAGE_FOLDER]. Needs the packages of canvas/package.json and a Chromium
// (CHROMIUM, or /usr/bin/chromium). PAGE_FOLDER serves a page that is being worked on instead of the built-in one; its
// browser signs in with the gateway's token, since there is no link to an installed page.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { RawClient, TOKEN, check, clawgate, deviceKey, finish, freePort, fromElsewhere, gatewayEnv, recordSecret, tempDir, within } from "./lib.mjs";

const [binary, runtime, pictures, pageFolder] = process.argv.slice(2);
mkdirSync(pictures, { recursive: true });
const stateDir = tempDir("control");
const port = await freePort();
const farPort = await fromElsewhere(port);
const controlUi = { allowedOrigins: [`http://127.0.0.1:${farPort}`] };
if (pageFolder) controlUi.root = pageFolder;
const gatewayConfig = { mode: "local", port, auth: { mode: "token", token: TOKEN }, controlUi };
const logging = { file: path.join(stateDir, "gateway.log") };
writeFileSync(path.join(stateDir, "openclaw.json"), JSON.stringify({ gateway: gatewayConfig, logging }), { mode: 0o600 });
mkdirSync(path.join(stateDir, "canvas"));
writeFileSync(path.join(stateDir, "canvas", "index.html"), "<!doctype html><body style='font:20px system-ui'><h1>Good morning</h1><p>Shown by an agent.</p>");

const gateway = await clawgate(binary, runtime, stateDir, port).start();
const here = `http://127.0.0.1:${port}`;
const socket = `ws://127.0.0.1:${port}`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--host-resolver-rules=MAP gateway.lan 127.0.0.1"],
});

/** A browser of its own, whose requests and complaints are kept. */
async function newBrowser(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 760 }, ...options });
  const page = await context.newPage();
  page.requested = [];
  page.complaints = [];
  page.on("request", (request) => page.requested.push(request.url()));
  page.on("websocket", (opened) => page.requested.push(opened.url()));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.setDefaultTimeout(15_000);
  return page;
}

async function link() {
  const { stdout } = await promisify(execFile)(binary, ["dashboard", "--json"], { env: gatewayEnv(stateDir), cwd: stateDir });
  const { url } = JSON.parse(stdout);
  recordSecret("bootstrap-token", new URL(url).hash.split("=")[1]);
  return url;
}

const signedIn = (page) => page.getByRole("status").filter({ hasText: /^Connected$/ }).waitFor();
const seen = (wait) => wait.then(() => true, () => false);
const open = (page, view) => page.getByRole("link", { name: new RegExp(`^${view}`) }).click();
const picture = async (page, name, height) => {
  const { width, height: whole } = page.viewportSize();
  const clip = { x: 0, y: 0, width, height: height ?? whole };
  await page.screenshot({ path: path.join(pictures, `${name}.png`), animations: "disabled", clip });
};

// Without anything to show, the page says how to get in, and that is all it says.
const page = await newBrowser();
await page.goto(`${here}/`);
check("a browser that nobody knows is told how to get in", await seen(page.getByText("clawgate dashboard").first().waitFor()));
const field = page.getByLabel("Gateway token or password");
await field.fill("not-the-token");
await page.getByRole("button", { name: "Sign in" }).click();
check("a wrong token is answered with its code", await seen(page.getByRole("alert").getByText("AUTH_TOKEN_MISMATCH").waitFor()));
await picture(page, "control-sign-in");
page.complaints.length = 0;

if (pageFolder) {
  await field.fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
} else {
  const url = await link();
  await page.goto(url);
  await page.reload();
  await signedIn(page);
  const second = await newBrowser();
  await second.goto(url);
  check("a link works once", await seen(second.getByRole("alert").getByText("AUTH_BOOTSTRAP_TOKEN_INVALID").waitFor()));
  await second.context().close();
}
check("the page signs in", await seen(signedIn(page)));
check("no secret stays in the address", !page.url().includes("Token"), page.url());
check("the version is seen at a glance", (await page.getByLabel("Figures").innerText()).includes("Version"));

await page.reload();
check("a reload stays signed in", await seen(signedIn(page)));
check("no script can read the key", await page.evaluate(async () => {
  const opened = await new Promise((resolve) => {
    const asked = indexedDB.open("clawgate-control");
    asked.onsuccess = () => resolve(asked.result);
  });
  const all = await new Promise((resolve) => {
    const asked = opened.transaction("identities").objectStore("identities").getAll();
    asked.onsuccess = () => resolve(asked.result);
  });
  const refusals = await Promise.all(all.map(({ privateKey }) => crypto.subtle.exportKey("pkcs8", privateKey).then(() => false, () => true)));
  return refusals.length > 0 && refusals.every(Boolean);
}));

// A second browser, from elsewhere, waits until it is approved at the first one, and then goes on by itself.
const stranger = await newBrowser();
await stranger.goto(`http://127.0.0.1:${farPort}/`);
await stranger.getByLabel("Gateway token or password").fill(TOKEN);
await stranger.getByRole("button", { name: "Sign in" }).click();
check("a browser from elsewhere is told the command", await seen(stranger.getByText(/^clawgate devices approve [-0-9a-f]{36}$/).waitFor()));
await open(page, "Pairing");
check("what it asks for is shown", await seen(page.getByRole("list", { name: "Scopes of Chrome on Linux" }).getByText("admin").waitFor()));
await page.getByRole("button", { name: "Approve device Chrome on Linux" }).click();
check("an approved browser goes on by itself", await seen(signedIn(stranger)));
await stranger.reload();
check("and needs no secret the next time", await seen(signedIn(stranger)));
await open(page, "People");
await page.getByRole("list", { name: "Paired devices" }).getByRole("button", { name: "Remove device Chrome on Linux" }).click();
await page.getByRole("button", { name: "Really remove? device Chrome on Linux" }).click();
check("a browser that is removed is out", await seen(stranger.getByRole("heading", { name: "Not let in" }).waitFor()));
await stranger.context().close();

// A node from elsewhere asks twice: to be paired, then for its commands.
const key = deviceKey();
const far = `ws://127.0.0.1:${farPort}`;
const kitchen = { id: "node-host", mode: "node", version: "1.0.0", platform: "linux", displayName: "kitchen" };
async function nodeConnects() {
  const node = new RawClient(far);
  const { nonce, ts } = (await node.event("connect.challenge")).payload;
  const auth = { token: TOKEN };
  const device = node.proof(key, kitchen, "node", [], auth, nonce, ts);
  const answer = await node.request("connect", {
    minProtocol: 4, maxProtocol: 4, client: kitchen, role: "node", scopes: [], caps: ["system"], commands: ["system.notify"], auth, device,
  });
  recordSecret("device-token", answer.payload?.auth?.deviceToken);
  return { node, answer };
}
const first = await nodeConnects();
check("an unknown node has to be paired", first.answer.error?.details?.code === "PAIRING_REQUIRED", first.answer);
await open(page, "Pairing");
await page.getByRole("button", { name: "Reject device kitchen" }).waitFor();
await page.getByRole("button", { name: "Reject device kitchen" }).click();
check("a rejection asks first", await seen(page.getByRole("button", { name: "Really reject? device kitchen" }).waitFor()));
await picture(page, "control-pairing", 400);
await page.getByRole("button", { name: "Approve device kitchen" }).click();
check("it says what was done", await seen(page.getByRole("status").getByText("Approved device kitchen").waitFor()));
const { node, answer } = await nodeConnects();
check("an approved node is let in", answer.ok === true, answer.error);
await page.getByRole("button", { name: "Approve node kitchen" }).click();
check("the node hears that its commands are approved", (await node.event("node.pair.resolved")).payload.decision === "approved");
await open(page, "Nodes");
check("its command is listed", await seen(page.getByRole("list", { name: "Commands of kitchen" }).getByText("system.notify").waitFor()));

// What happens is seen as it happens, and the filter takes the rest away.
await open(page, "Events");
await page.getByLabel("Filter events").fill("node.pair -tick");
const events = page.getByRole("list", { name: "Events" });
check("an event is seen in the stream", await seen(events.getByText("node.pair.resolved").first().waitFor()));
const names = await events.locator("summary code").allInnerTexts();
check("the filter hides the others", names.length > 0 && names.every((name) => name.startsWith("node.pair")), names);
await page.getByLabel("Filter events").focus();
const talk = new RawClient(socket);
const asker = deviceKey();
const askerScopes = ["operator.admin", "operator.approvals", "operator.read", "operator.write"];
await talk.connect({ protocol: 4, key: asker, token: TOKEN, scopes: askerScopes });
await talk.request("node.rename", { nodeId: key.deviceId, displayName: "kitchen <b>pi</b>" });
check("events do not take the focus", await page.getByLabel("Filter events").evaluate((field) => field === document.activeElement));
await page.getByLabel("Filter events").fill("-health");
await picture(page, "control-events");

// Names from outside are text. A reconnect tells the name anew.
await open(page, "Nodes");
check("a name is text, never markup", await seen(page.getByText("kitchen <b>pi</b>").first().waitFor()));

// A decision reaches who asked.
talk.serial += 1;
const asked = `r${talk.serial}`;
const params = { command: "sudo systemctl restart caddy", host: "gateway", cwd: "/srv", timeoutMs: 120_000, twoPhase: true };
talk.ws.send(JSON.stringify({ type: "req", id: asked, method: "exec.approval.request", params }));
await open(page, "Overview");
const allow = page.getByRole("button", { name: "Allow once sudo systemctl restart caddy" });
check("an approval is seen at a glance", await seen(allow.first().waitFor()));
await page.emulateMedia({ colorScheme: "light" });
await picture(page, "control-overview");
await page.emulateMedia({ colorScheme: "dark" });
await picture(page, "control-dark");
await page.setViewportSize({ width: 390, height: 800 });
await page.emulateMedia({ colorScheme: "light" });
await picture(page, "control-phone");
check("nothing is wider than a phone", await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
await page.setViewportSize({ width: 1180, height: 760 });
await open(page, "Approvals");
const visible = page.locator("#view-approvals").getByRole("button", { name: "Allow once sudo systemctl restart caddy" });
await visible.focus();
await page.keyboard.press("Enter");
const decided = await talk.frame("decision", (frame) => frame.id === asked && frame.payload?.decision !== undefined).catch((error) => error);
check("the asker gets the decision", decided.payload?.decision === "allow-once", decided.payload ?? String(decided));
check("the keyboard goes on in the view", await seen(page.waitForFunction(() => document.activeElement?.matches("main h1"))));
check("and it waits no longer", await seen(page.locator("#view-approvals").getByText("Nothing waits for a decision.").waitFor()));

// The rest of the views have what they are for.
await open(page, "People");
check("who is attached is listed", await seen(page.getByRole("list", { name: "Attached now" }).getByText("test").first().waitFor()));
check("this browser knows itself", await seen(page.getByText("this browser").first().waitFor()));
await picture(page, "control-people");
await open(page, "Refusals");
check("refusals are told by reason", await seen(page.getByText("AUTH_TOKEN_MISMATCH").last().waitFor()));
await picture(page, "control-refusals");
await open(page, "Log");
check("the log is read", await seen(page.getByText(/peer\.admitted/).first().waitFor()));
await picture(page, "control-log");
await open(page, "Canvas");
await page.getByRole("button", { name: "Show the canvas folder" }).click();
check("the canvas is shown in its frame", await seen(page.frameLocator("iframe[title='Canvas folder']").getByText("Good morning").waitFor()));
check("and the frame has no origin", (await page.frames().at(-1).evaluate(() => globalThis.origin)) === "null");

// This browser becomes a node: it waits twice, is approved twice on the same page, and is ready.
await page.getByRole("button", { name: "Attach this browser as a node" }).click();
await page.locator("#view-canvas").getByText(/waits to be paired/).waitFor();
await open(page, "Pairing");
await page.getByRole("button", { name: "Approve device Chrome on Linux" }).click();
await page.getByRole("button", { name: "Approve node Chrome on Linux" }).click();
await open(page, "Canvas");
check("this browser becomes a node", await seen(page.getByRole("status").getByText(/^ready/).waitFor()));
await picture(page, "control-canvas");

const outside = page.requested.filter((url) => !url.startsWith(here) && !url.startsWith(socket) && !/^(data|blob):/.test(url));
check("no request leaves the gateway", page.requested.length > 5 && outside.length === 0, outside);
check("the browser has nothing to complain about", page.complaints.length === 0, page.complaints);

// Over plain http from another machine a browser makes no keys: said plainly.
const lan = await newBrowser();
await lan.goto(`http://gateway.lan:${port}/`);
check("an insecure address is explained", await seen(lan.getByText("This address cannot be used").waitFor()));
await lan.context().close();

// The gateway goes and comes back; so does the page, by itself.
await within(20_000, "the gateway's end", gateway.stop());
check("a lost gateway is said", await seen(page.getByText(/^Not connected/).first().waitFor()));
const again = await clawgate(binary, runtime, stateDir, port).start();
check("the page comes back by itself", await seen(page.getByRole("status").filter({ hasText: /^Connected$/ }).waitFor({ timeout: 40_000 })));

// Removed: its token is worth nothing, and the page says what to do.
const cleaner = new RawClient(socket);
await cleaner.connect({ protocol: 4, key: asker, token: TOKEN, scopes: [...askerScopes, "operator.pairing"] });
const own = (await cleaner.request("device.pair.list", {})).payload.paired.find(({ clientId }) => clientId === "openclaw-control-ui");
await cleaner.request("device.pair.remove", { deviceId: own.deviceId });
check("a removed browser is told so", await seen(page.getByRole("heading", { name: /Not let in|Sign in/ }).waitFor()));

await browser.close();
await Promise.all([node.close(), talk.close(), cleaner.close()]).catch(() => {});
await again.stop();
finish();
