// What the published renderer has no part in: the functions and the bridge that apps rely on, themes, how the page is
// served, and what survives an update. Keys and roles are in people.mjs, harm and measure in hostile.mjs.
import { at, begin, button, c, column, ctx, data, define, lit, text } from "./build.mjs";
import { demo } from "./demo.mjs";
import { equal, fresh } from "./fresh.mjs";
import { bounds, hostile } from "./hostile.mjs";
import { keys, roles } from "./people.mjs";

export async function pageSuite({ open, base, check, SUBJECT }) {
  const suite = { open, base, check, SUBJECT };
  for (const part of [functions, bridge, themes, served, survives, keys, roles, hostile, bounds]) {
    console.log(`-- ${part.name}`);
    await part(suite);
  }
}

async function functions(suite) {
  const { check } = suite;
  const page = await fresh(suite);
  const api = await page.evaluate(() => {
    const attempt = (given) => {
      try {
        return openclawA2UI.applyMessages(given);
      } catch (error) {
        return error.message;
      }
    };
    return {
      bad: [attempt(undefined), attempt({}), attempt("[]")],
      none: attempt([]),
      surfaces: openclawA2UI.getSurfaces(),
    };
  });
  check(
    "what is no list of messages is refused",
    api.bad.every((said) => said === "A2UI: expected messages array"),
    JSON.stringify(api),
  );
  check("no messages are fine", equal(api.none, { ok: true, surfaces: [] }) && equal(api.surfaces, []));
  const applied = await page.apply(define(text("root", "hello")), begin(), {
    beginRendering: { surfaceId: "b", root: "x" },
  });
  check("the surfaces are told", equal(applied, { ok: true, surfaces: ["main", "b"] }), JSON.stringify(applied));
  check(
    "they are shown in the host element",
    (await page.locator("openclaw-a2ui-host").innerText()).trim() === "hello",
  );
  const reset = await page.evaluate(() => [openclawA2UI.reset(), openclawA2UI.getSurfaces()]);
  check("reset takes all away", equal(reset, [{ ok: true }, []]) && (await page.getByText("hello").count()) === 0);
  await page.apply({ nonsense: 1 });
  check(
    "a message that is none is logged, not thrown",
    page.said.some((said) => said.includes("A2UI: a message is none of A2UI 0.8 (it has: nonsense)")),
    page.said.join("\n"),
  );

  const canvas = await page.evaluate(() => {
    const { canvas, ctx } = __openclaw;
    ctx.fillRect(0, 0, 10, 10);
    const covers = canvas.getBoundingClientRect();
    return [
      canvas instanceof HTMLCanvasElement,
      ctx instanceof CanvasRenderingContext2D,
      covers.width === innerWidth && covers.height === innerHeight,
      document.querySelector(".a2-empty").hidden,
    ];
  });
  check("the canvas is there to draw on, and the page is quiet then", canvas.every(Boolean), JSON.stringify(canvas));
  const card = page.locator("#openclaw-status");
  check("the status card is hidden", !(await card.isVisible()));
  await page.evaluate(
    () => (__openclaw.setDebugStatusEnabled(true), __openclaw.setStatus("Connected", "<b>studio</b>")),
  );
  check(
    "it shows what it is given, as text",
    (await card.innerText()) === "Connected\n<b>studio</b>",
    await card.innerText(),
  );
  await page.evaluate(() => __openclaw.setDebugStatusEnabled(false));
  check("and goes", !(await card.isVisible()));
  for (const query of ["debugStatus=1", "debug=1"]) {
    const other = await fresh(suite, [], `/page/?${query}`);
    check(`${query} shows it from the start`, await other.locator("#openclaw-status").isVisible());
    await other.close();
  }
  await page.close();
}

async function bridge(suite) {
  const { check, open } = suite;
  const messages = [define(button("root", "t", "go", ctx({ n: lit(1) })), text("t", "Go")), begin()];
  const page = await fresh(suite, messages);
  await page.getByRole("button", { name: "Go" }).click();
  const { sent, last } = await page.evaluate(() => ({ sent: sent[0], last: __openclawLastA2UIAction }));
  check(
    "Android gets JSON with every field",
    equal(Object.keys(sent), ["id", "name", "surfaceId", "sourceComponentId", "timestamp", "context"]) &&
      sent.name === "go" &&
      sent.surfaceId === "main" &&
      sent.sourceComponentId === "root" &&
      equal(sent.context, { n: 1 }),
    JSON.stringify(sent),
  );
  check(
    "the id is a UUID, the time is ISO",
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(sent.id) &&
      new Date(sent.timestamp).toISOString() === sent.timestamp,
  );
  check("the last action is kept", equal(last, sent));
  const toast = page.locator(".a2-toast");
  check("it says that it is sending", (await toast.innerText()) === "Sending…");
  const answer = (detail) =>
    page.evaluate((given) => dispatchEvent(new CustomEvent("openclaw:a2ui-action-status", { detail: given })), detail);
  await answer({ id: "another", ok: true });
  check("an answer to something else changes nothing", (await toast.innerText()) === "Sending…");
  await answer({ id: sent.id, ok: false, error: "<i>offline</i>" });
  check(
    "a refusal is shown with its reason, as text",
    (await toast.innerText()) === "Not sent: <i>offline</i>",
    await toast.innerText(),
  );
  await page.getByRole("button", { name: "Go" }).click();
  await answer({ id: await page.evaluate(() => __openclawLastA2UIAction.id), ok: true });
  check("success is shown", (await toast.innerText()) === "Sent");
  await answer(undefined);
  await page.apply(define(button("root", "t", "bare")));
  await page.getByRole("button", { name: "Go" }).click();
  const bare = await page.evaluate(() => __openclawLastA2UIAction);
  check("without a context there is none", bare.name === "bare" && !("context" in bare), JSON.stringify(bare));
  await page.close();

  const apple = await open(
    "/page/?platform=ios",
    "globalThis.subject = {}; globalThis.got = []; globalThis.webkit = { messageHandlers: { openclawCanvasA2UIAction: { postMessage: (message) => got.push(message) } } };",
  );
  await apple.evaluate((given) => openclawA2UI.applyMessages(given), messages);
  await apple.getByRole("button", { name: "Go" }).click();
  const got = await apple.evaluate(() => got[0]);
  check("iOS gets an object", got?.userAction?.name === "go", JSON.stringify(got));
  await apple.close();

  const alone = await open("/page/", "globalThis.subject = {};");
  await alone.evaluate((given) => openclawA2UI.applyMessages(given), messages);
  await alone.getByRole("button", { name: "Go" }).click();
  check(
    "without an app, it says so",
    (await alone.locator(".a2-toast").innerText()).startsWith("This page is not open in an app"),
  );
  check("and still keeps the action", (await alone.evaluate(() => __openclawLastA2UIAction.name)) === "go");
  await alone.evaluate(
    () =>
      (globalThis.openclawCanvasA2UIAction = {
        postMessage: () => {
          throw new Error("gone");
        },
      }),
  );
  await alone.getByRole("button", { name: "Go" }).click();
  check(
    "a bridge that throws is said",
    (await alone.locator(".a2-toast").innerText()) === "The app did not take it: gone",
  );
  await alone.close();
}

async function themes(suite) {
  const { check } = suite;
  const paper = (page) =>
    page.evaluate(() => [
      document.documentElement.dataset.theme,
      getComputedStyle(document.querySelector(".a2-card")).backgroundColor,
      getComputedStyle(document.querySelector(".a2-card")).boxShadow === "none",
    ]);
  const messages = [
    define(
      c("root", "Card", { child: "b" }),
      text("t", "Go"),
      c("b", "Button", { child: "t", primary: true, action: { name: "x" } }),
    ),
    begin("root", { styles: { primaryColor: "#ffd700" } }),
  ];
  for (const [theme, colour, flat] of [
    ["light", "rgb(255, 255, 255)", false],
    ["dark", "rgb(29, 35, 34)", false],
    ["eink", "rgb(255, 255, 255)", true],
  ]) {
    const page = await fresh(suite, messages, `/page/?theme=${theme}`);
    check(`theme ${theme}`, equal(await paper(page), [theme, colour, flat]), JSON.stringify(await paper(page)));
    const [back, ink] = await page.evaluate(() => [
      getComputedStyle(document.querySelector(".a2-button")).backgroundColor,
      getComputedStyle(document.querySelector(".a2-button")).color,
    ]);
    const asked = theme === "eink" ? ["rgb(0, 0, 0)", "rgb(255, 255, 255)"] : ["rgb(255, 215, 0)", "rgb(0, 0, 0)"];
    check(`the asked colour in ${theme}`, equal([back, ink], asked), `${back} ${ink}`);
    await page.close();
  }
  const page = await fresh(suite, messages, "/page/?theme=nonsense&platform=android");
  for (const scheme of ["dark", "light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForFunction((given) => document.documentElement.dataset.theme === given, scheme);
  }
  check("what its owner prefers is followed, at once", (await paper(page))[0] === "dark");
  check("the platform is noted", (await page.evaluate(() => document.documentElement.dataset.platform)) === "android");
  await page.close();
}

async function served(suite) {
  const { check, open, base } = suite;
  // As browsers are given it: the page's origin is nobody's.
  const sandboxed = await fresh(suite, [], "/sandbox/");
  const asked = [];
  sandboxed.on("request", (request) => asked.push(request.url()));
  await sandboxed.reload();
  await sandboxed.waitForFunction(() => globalThis.openclawA2UI !== undefined);
  await sandboxed.apply(...demo.filter((message) => message.dataModelUpdate === undefined));
  check(
    "it works without an origin",
    (await sandboxed.evaluate(() => origin)) === "null" && (await sandboxed.getByRole("tab").count()) === 3,
  );
  check(
    "with its looks",
    (await sandboxed.evaluate(() => getComputedStyle(document.querySelector(".a2-card")).borderTopLeftRadius)) ===
      "18px",
  );
  const strange = asked.filter(
    (url) => !url.startsWith(base) && !url.startsWith("data:") && !url.startsWith("https://example.com/song.ogg"),
  );
  check(
    "it asks nobody but its own host, and whom the agent names",
    strange.length === 0 && asked.length > 8,
    strange.join(" "),
  );
  check(
    "without a complaint",
    sandboxed.said.filter((said) => !said.includes("example.com") && !said.includes("ERR_FAILED")).length === 0,
    sandboxed.said.join("\n"),
  );
  await sandboxed.close();

  // A page of somebody else's that names the one script.
  const other = await open("/embed/", "globalThis.subject = {};");
  await other.evaluate(
    (given) => openclawA2UI.applyMessages(given),
    [define(c("root", "Card", { child: "t" }), text("t", "embedded")), begin()],
  );
  check("another page needs the element and one script", await other.getByText("embedded").isVisible());
  await other.waitForFunction(
    () => getComputedStyle(document.querySelector(".a2-card")).borderTopLeftRadius === "18px",
  );
  await other.evaluate(() => (document.body.innerHTML = "<openclaw-a2ui-host></openclaw-a2ui-host>"));
  check("an element that comes later shows what there is", await other.getByText("embedded").isVisible());
  await other.close();
}

async function survives(suite) {
  const { check } = suite;
  const page = await fresh(suite, [
    define(
      column("root", "f", "g", "tabs", "m", "a"),
      c("f", "TextField", { label: lit("Bound"), text: at("/f") }),
      c("g", "TextField", { label: lit("Loose"), text: lit("start") }),
      c("tabs", "Tabs", {
        tabItems: [
          { title: lit("One"), child: "one" },
          { title: lit("Two"), child: "two" },
        ],
      }),
      text("one", "first"),
      text("two", at("/x")),
      c("m", "Modal", { entryPointChild: "open", contentChild: "x" }),
      text("ot", "Open"),
      button("open", "ot", "opened"),
      text("x", at("/x")),
      c("a", "AudioPlayer", {
        url: lit("data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="),
      }),
    ),
    data({ f: "", x: "old" }),
    begin(),
  ]);
  await page.getByLabel("Bound").click();
  await page.keyboard.type("abc");
  await page.keyboard.press("ArrowLeft");
  await page.evaluate(() => (document.querySelector("audio").dataset.mark = "same"));
  await page.apply(
    data({ f: "abc", x: "new" }),
    define(text("extra", "e")),
    define(column("root", "extra", "f", "g", "tabs", "m", "a")),
  );
  check(
    "the focus stays, although something came before it",
    await page.getByLabel("Bound").evaluate((input) => input === document.activeElement),
  );
  check("and the place in the text", (await page.getByLabel("Bound").evaluate((input) => input.selectionStart)) === 2);
  check("a player is the same player", (await page.locator("audio").getAttribute("data-mark")) === "same");
  await page.getByLabel("Loose").fill("typed");
  await page.apply(data({ x: "newer" }));
  check("what was typed into a field without a path stays", (await page.getByLabel("Loose").inputValue()) === "typed");
  await page.apply(data({ f: "from the agent" }));
  check("what the agent writes is shown", (await page.getByLabel("Bound").inputValue()) === "from the agent");
  await page.getByRole("button", { name: "Open" }).click();
  await page.apply(data({ x: "in the dialog" }));
  check(
    "an open dialog stays open, and follows",
    await page.getByRole("dialog").getByText("in the dialog").isVisible(),
  );
  await page.apply(define(column("root", "f")));
  check("a dialog whose component is gone is closed", (await page.getByRole("dialog").count()) === 0);
  await page.getByLabel("Bound").fill("free");
  check("and the page can be used", (await page.getByLabel("Bound").inputValue()) === "free");
  check("without a complaint", page.said.length === 0, page.said.join("\n"));
  await page.close();
}
