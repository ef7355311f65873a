// Holds the A2UI page against the published renderer for A2UI 0.8: the same messages must offer a person the same texts,
// controls and states, and send the same actions. Then what the published one does not do: keys, bounds, hostile content.
//
// Usage: node a2ui.mjs CHECKOUT [--seeds N] [--seed N] [--shots FOLDER]. Needs the packages of a2ui/package.json and a
// Chromium (CHROMIUM, or /usr/bin/chromium).
import { mkdtempSync, readFileSync, rmSync, existsSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { cases } from "./a2ui/cases.mjs";
import { randomSteps } from "./a2ui/random.mjs";
import { pageSuite } from "./a2ui/page.mjs";
import { shots } from "./a2ui/shots.mjs";

const [checkout, ...options] = process.argv.slice(2);
const option = (name, otherwise) => (options.includes(name) ? options[options.indexOf(name) + 1] : otherwise);
const here = path.join(import.meta.dirname, "a2ui");
const pages = path.join(checkout, "src/web/a2ui");

let passed = 0;
let failed = 0;
function check(what, ok, detail) {
  if (ok) passed += 1;
  else failed += 1;
  if (!ok || !what.startsWith("seed "))
    console.log(`  ${ok ? "ok  " : "FAIL"} ${what}${ok || detail === undefined ? "" : `:\n${detail}`}`);
}

// ---- files, from this machine to this machine ----

const bundled = await build({
  entryPoints: [path.join(here, "oracle.js")],
  absWorkingDir: import.meta.dirname,
  bundle: true,
  format: "esm",
  write: false,
  logLevel: "error",
});
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css" };

const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://127.0.0.1");
  const reply = (type, body, more = {}) =>
    response
      .writeHead(200, {
        "content-type": type,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        ...more,
      })
      .end(body);
  if (pathname === "/oracle/")
    return reply(TYPES[".html"], '<!doctype html><div id="host"></div><script type="module" src="oracle.js"></script>');
  if (pathname === "/embed/")
    return reply(
      TYPES[".html"],
      '<!doctype html><openclaw-a2ui-host></openclaw-a2ui-host><script src="/page/a2ui.bundle.js"></script>',
    );
  if (pathname === "/oracle/oracle.js") return reply(TYPES[".js"], bundled.outputFiles[0].text);
  // The page as a gateway serves it: as it is, and in the sandbox that takes its origin away.
  const match = /^\/(page|sandbox)\/([a-z0-9.]*)$/.exec(pathname);
  const file = match === null ? "" : path.join(pages, match[2] || "index.html");
  if (match === null || !existsSync(file)) return response.writeHead(404).end("not found");
  return reply(
    TYPES[path.extname(file)],
    readFileSync(file),
    match[1] === "sandbox" ? { "content-security-policy": "sandbox allow-scripts" } : {},
  );
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const base = `http://127.0.0.1:${server.address().port}`;

// ---- the browser ----

const profile = mkdtempSync(path.join(os.tmpdir(), "clawgate-a2ui-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
  timezoneId: "UTC",
  locale: "en-US",
});
// Nothing leaves this machine, whatever a message names.
await browser.route(
  (url) => url.hostname !== "127.0.0.1",
  (route) => route.abort(),
);

const outlineSource = readFileSync(path.join(here, "outline.js"), "utf8");
const SUBJECT = `
  globalThis.sent = [];
  globalThis.openclawCanvasA2UIAction = { postMessage: (text) => sent.push(JSON.parse(text).userAction) };
  globalThis.subject = {
    get root() { return document.querySelector("openclaw-a2ui-host"); },
    reset() { openclawA2UI.reset(); sent.length = 0; },
    apply: (messages) => openclawA2UI.applyMessages(messages).surfaces,
    actions: () => sent.map(({ name, surfaceId, sourceComponentId, context }) => ({ name, surfaceId, sourceComponentId, context: context ?? {} })),
    settled: async () => {},
  };`;

async function open(where, before = "") {
  const page = await browser.newPage();
  await page.addInitScript(before + outlineSource);
  await page.goto(base + where);
  await page.waitForFunction(
    () =>
      globalThis.subject !== undefined && (globalThis.openclawA2UI !== undefined || location.pathname === "/oracle/"),
  );
  return page;
}

/** Runs one case: what is to be seen after each step, and the actions sent; or the error at which it ended. */
function run(page, steps) {
  return page.evaluate(async (steps) => {
    subject.reset();
    const seen = [];
    try {
      for (const step of steps) {
        const surfaces = step.messages === undefined ? undefined : subject.apply(step.messages);
        if (step.do !== undefined) perform(subject.root, step.do, step.optional);
        await subject.settled();
        seen.push({ surfaces, outline: outline(subject.root) });
      }
    } catch (error) {
      seen.push({ error: String(error) });
    }
    // JSON has no undefined, and a missing value is null here and absent there.
    const actions = subject
      .actions()
      .map((action) => ({
        ...action,
        context: Object.fromEntries(
          Object.entries(action.context).filter(([, value]) => value !== undefined && value !== null),
        ),
      }));
    return JSON.stringify({ seen, actions }, null, 1);
  }, steps);
}

function difference(ours, theirs) {
  const [a, b] = [ours.split("\n"), theirs.split("\n")];
  const at = a.findIndex((line, index) => line !== b[index]);
  return `    ours:\n${a.slice(Math.max(0, at - 4), at + 6).join("\n")}\n    theirs:\n${b.slice(Math.max(0, at - 4), at + 6).join("\n")}`;
}

let code = 1;
try {
  const ours = await open("/page/?platform=android", SUBJECT);
  const theirs = await open("/oracle/");

  console.log("== cases, in both renderers");
  const rows = readFileSync(path.join(checkout, "docs/compatibility.md"), "utf8");
  for (const { name, steps, differs, expect } of cases) {
    const [mine, other] = [await run(ours, steps), await run(theirs, steps)];
    if (differs === undefined) {
      check(name, mine === other && mine.length > 60, difference(mine, other));
      continue;
    }
    // A difference on purpose says what we show instead, and must still be one.
    const last = JSON.parse(mine);
    const shown = JSON.stringify({ outline: last.seen.at(-1).outline, actions: last.actions });
    check(
      `${name} (differs: ${differs})`,
      shown === JSON.stringify({ outline: expect.outline ?? [], actions: expect.actions ?? [] }),
      `    ours: ${shown}`,
    );
    check(`${name}: the published renderer still differs`, mine !== other);
    check(`${name}: docs/compatibility.md says so`, rows.includes(`| \`${differs}\` |`));
  }

  const first = Number(option("--seed", "1"));
  const seeds = Number(option("--seeds", "400"));
  console.log(`== random messages, seeds ${first} to ${first + seeds - 1}`);
  let entries = 0;
  let actions = 0;
  for (let seed = first; seed < first + seeds; seed += 1) {
    const steps = randomSteps(seed);
    const [mine, other] = [await run(ours, steps), await run(theirs, steps)];
    check(`seed ${seed}`, mine === other, difference(mine, other));
    entries += JSON.parse(mine).seen.reduce((sum, { outline }) => sum + (outline?.length ?? 0), 0);
    actions += JSON.parse(mine).actions.length;
  }
  // Messages that show nothing would agree too.
  check(
    `they showed much (${entries} entries) and did much (${actions} actions)`,
    seeds < 50 || (entries > seeds * 4 && actions > seeds / 4),
  );

  console.log("== the page itself");
  await pageSuite({ open, base, check, SUBJECT });

  if (option("--shots") !== undefined) await shots(open, SUBJECT, option("--shots"));
  console.log(`${passed} passed, ${failed} failed`);
  code = failed === 0 && passed > 0 ? 0 : 1;
} finally {
  await browser.close();
  server.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(code);
