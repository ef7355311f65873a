// What the published renderer has no part in: the functions and the bridge that apps rely on, keys and roles, what
// survives an update, themes, and content that means harm.
import { at, begin, button, c, column, ctx, data, define, each, kids, lit, text } from "./build.mjs";
import { demo } from "./demo.mjs";

const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export async function pageSuite({ open, base, check, SUBJECT }) {
  const suite = { open, base, check, SUBJECT };
  for (const part of [functions, bridge, themes, served, survives, keys, roles, hostile, bounds]) {
    console.log(`-- ${part.name}`);
    await part(suite);
  }
}

/** A page of ours with `messages` on it; whatever it says on the console as a warning or an error is kept. */
async function fresh({ open, SUBJECT }, messages = [], where = "/page/?platform=android") {
  const page = await open(where, SUBJECT);
  page.said = [];
  page.on("console", (message) => ["warning", "error"].includes(message.type()) && page.said.push(message.text()));
  page.on("pageerror", (error) => page.said.push(String(error)));
  page.apply = (...more) => page.evaluate((given) => openclawA2UI.applyMessages(given), more);
  if (messages.length > 0) await page.apply(...messages);
  return page;
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
    return { bad: [attempt(undefined), attempt({}), attempt("[]")], none: attempt([]), surfaces: openclawA2UI.getSurfaces() };
  });
  check("what is no list of messages is refused", api.bad.every((said) => said === "A2UI: expected messages array"), JSON.stringify(api));
  check("no messages are fine", equal(api.none, { ok: true, surfaces: [] }) && equal(api.surfaces, []));
  const applied = await page.apply(define(text("root", "hello")), begin(), { beginRendering: { surfaceId: "b", root: "x" } });
  check("the surfaces are told", equal(applied, { ok: true, surfaces: ["main", "b"] }), JSON.stringify(applied));
  check("they are shown in the host element", (await page.locator("openclaw-a2ui-host").innerText()).trim() === "hello");
  const reset = await page.evaluate(() => [openclawA2UI.reset(), openclawA2UI.getSurfaces()]);
  check("reset takes all away", equal(reset, [{ ok: true }, []]) && (await page.getByText("hello").count()) === 0);
  await page.apply({ nonsense: 1 });
  check("a message that is none is logged, not thrown", page.said.some((said) => said.includes("A2UI: a message is none of A2UI 0.8 (it has: nonsense)")), page.said.join("\n"));

  const canvas = await page.evaluate(() => {
    const { canvas, ctx } = __openclaw;
    ctx.fillRect(0, 0, 10, 10);
    const covers = canvas.getBoundingClientRect();
    return [canvas instanceof HTMLCanvasElement, ctx instanceof CanvasRenderingContext2D, covers.width === innerWidth && covers.height === innerHeight, document.querySelector(".a2-empty").hidden];
  });
  check("the canvas is there to draw on, and the page is quiet then", canvas.every(Boolean), JSON.stringify(canvas));
  const card = page.locator("#openclaw-status");
  check("the status card is hidden", !(await card.isVisible()));
  await page.evaluate(() => (__openclaw.setDebugStatusEnabled(true), __openclaw.setStatus("Connected", "<b>studio</b>")));
  check("it shows what it is given, as text", (await card.innerText()) === "Connected\n<b>studio</b>", await card.innerText());
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
  check("Android gets JSON with every field", equal(Object.keys(sent), ["id", "name", "surfaceId", "sourceComponentId", "timestamp", "context"]) && sent.name === "go" && sent.surfaceId === "main" && sent.sourceComponentId === "root" && equal(sent.context, { n: 1 }), JSON.stringify(sent));
  check("the id is a UUID, the time is ISO", /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(sent.id) && new Date(sent.timestamp).toISOString() === sent.timestamp);
  check("the last action is kept", equal(last, sent));
  const toast = page.locator(".a2-toast");
  check("it says that it is sending", (await toast.innerText()) === "Sending…");
  const answer = (detail) => page.evaluate((given) => dispatchEvent(new CustomEvent("openclaw:a2ui-action-status", { detail: given })), detail);
  await answer({ id: "another", ok: true });
  check("an answer to something else changes nothing", (await toast.innerText()) === "Sending…");
  await answer({ id: sent.id, ok: false, error: "<i>offline</i>" });
  check("a refusal is shown with its reason, as text", (await toast.innerText()) === "Not sent: <i>offline</i>", await toast.innerText());
  await page.getByRole("button", { name: "Go" }).click();
  await answer({ id: await page.evaluate(() => __openclawLastA2UIAction.id), ok: true });
  check("success is shown", (await toast.innerText()) === "Sent");
  await answer(undefined);
  await page.close();

  const apple = await open("/page/?platform=ios", "globalThis.subject = {}; globalThis.got = []; globalThis.webkit = { messageHandlers: { openclawCanvasA2UIAction: { postMessage: (message) => got.push(message) } } };");
  await apple.evaluate((given) => openclawA2UI.applyMessages(given), messages);
  await apple.getByRole("button", { name: "Go" }).click();
  const got = await apple.evaluate(() => got[0]);
  check("iOS gets an object", got?.userAction?.name === "go", JSON.stringify(got));
  await apple.close();

  const alone = await open("/page/", "globalThis.subject = {};");
  await alone.evaluate((given) => openclawA2UI.applyMessages(given), messages);
  await alone.getByRole("button", { name: "Go" }).click();
  check("without an app, it says so", (await alone.locator(".a2-toast").innerText()).startsWith("This page is not open in an app"));
  check("and still keeps the action", (await alone.evaluate(() => __openclawLastA2UIAction.name)) === "go");
  await alone.evaluate(() => (globalThis.openclawCanvasA2UIAction = { postMessage: () => { throw new Error("gone"); } }));
  await alone.getByRole("button", { name: "Go" }).click();
  check("a bridge that throws is said", (await alone.locator(".a2-toast").innerText()) === "The app did not take it: gone");
  await alone.close();
}

async function themes(suite) {
  const { check } = suite;
  const paper = (page) => page.evaluate(() => [document.documentElement.dataset.theme, getComputedStyle(document.querySelector(".a2-card")).backgroundColor, getComputedStyle(document.querySelector(".a2-card")).boxShadow === "none"]);
  const messages = [define(c("root", "Card", { child: "b" }), text("t", "Go"), c("b", "Button", { child: "t", primary: true, action: { name: "x" } })), begin("root", { styles: { primaryColor: "#ffd700" } })];
  for (const [theme, colour, flat] of [["light", "rgb(255, 255, 255)", false], ["dark", "rgb(29, 35, 34)", false], ["eink", "rgb(255, 255, 255)", true]]) {
    const page = await fresh(suite, messages, `/page/?theme=${theme}`);
    check(`theme ${theme}`, equal(await paper(page), [theme, colour, flat]), JSON.stringify(await paper(page)));
    const [back, ink] = await page.evaluate(() => [getComputedStyle(document.querySelector(".a2-button")).backgroundColor, getComputedStyle(document.querySelector(".a2-button")).color]);
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
  check("it works without an origin", (await sandboxed.evaluate(() => origin)) === "null" && (await sandboxed.getByRole("tab").count()) === 3);
  check("with its looks", (await sandboxed.evaluate(() => getComputedStyle(document.querySelector(".a2-card")).borderTopLeftRadius)) === "18px");
  const strange = asked.filter((url) => !url.startsWith(base) && !url.startsWith("data:") && !url.startsWith("https://example.com/song.ogg"));
  check("it asks nobody but its own host, and whom the agent names", strange.length === 0 && asked.length > 8, strange.join(" "));
  check("without a complaint", sandboxed.said.filter((said) => !said.includes("example.com") && !said.includes("ERR_FAILED")).length === 0, sandboxed.said.join("\n"));
  await sandboxed.close();

  // A page of somebody else's that names the one script.
  const other = await open("/embed/", "globalThis.subject = {};");
  await other.evaluate((given) => openclawA2UI.applyMessages(given), [define(c("root", "Card", { child: "t" }), text("t", "embedded")), begin()]);
  check("another page needs the element and one script", await other.getByText("embedded").isVisible());
  await other.waitForFunction(() => getComputedStyle(document.querySelector(".a2-card")).borderTopLeftRadius === "18px");
  await other.evaluate(() => (document.body.innerHTML = "<openclaw-a2ui-host></openclaw-a2ui-host>"));
  check("an element that comes later shows what there is", await other.getByText("embedded").isVisible());
  await other.close();
}

async function survives(suite) {
  const { check } = suite;
  const page = await fresh(suite, [
    define(column("root", "f", "g", "tabs", "m", "a"), c("f", "TextField", { label: lit("Bound"), text: at("/f") }), c("g", "TextField", { label: lit("Loose"), text: lit("start") }), c("tabs", "Tabs", { tabItems: [{ title: lit("One"), child: "one" }, { title: lit("Two"), child: "two" }] }), text("one", "first"), text("two", at("/x")), c("m", "Modal", { entryPointChild: "open", contentChild: "x" }), text("ot", "Open"), button("open", "ot", "opened"), text("x", at("/x")), c("a", "AudioPlayer", { url: lit("data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=") })),
    data({ f: "", x: "old" }),
    begin(),
  ]);
  await page.getByLabel("Bound").click();
  await page.keyboard.type("abc");
  await page.keyboard.press("ArrowLeft");
  await page.evaluate(() => (document.querySelector("audio").dataset.mark = "same"));
  await page.apply(data({ f: "abc", x: "new" }), define(text("extra", "e")), define(column("root", "extra", "f", "g", "tabs", "m", "a")));
  check("the focus stays, although something came before it", await page.getByLabel("Bound").evaluate((input) => input === document.activeElement));
  check("and the place in the text", (await page.getByLabel("Bound").evaluate((input) => input.selectionStart)) === 2);
  check("a player is the same player", (await page.locator("audio").getAttribute("data-mark")) === "same");
  await page.getByLabel("Loose").fill("typed");
  await page.apply(data({ x: "newer" }));
  check("what was typed into a field without a path stays", (await page.getByLabel("Loose").inputValue()) === "typed");
  await page.apply(data({ f: "from the agent" }));
  check("what the agent writes is shown", (await page.getByLabel("Bound").inputValue()) === "from the agent");
  await page.getByRole("button", { name: "Open" }).click();
  await page.apply(data({ x: "in the dialog" }));
  check("an open dialog stays open, and follows", await page.getByRole("dialog").getByText("in the dialog").isVisible());
  await page.apply(define(column("root", "f")));
  check("a dialog whose component is gone is closed", (await page.getByRole("dialog").count()) === 0);
  await page.getByLabel("Bound").fill("free");
  check("and the page can be used", (await page.getByLabel("Bound").inputValue()) === "free");
  check("without a complaint", page.said.length === 0, page.said.join("\n"));
  await page.close();
}

async function keys(suite) {
  const { check } = suite;
  const page = await fresh(suite, demo);
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText?.trim() ?? "");
  const stops = [];
  await page.evaluate(() => document.activeElement.blur());
  for (let i = 0; i < 10; i += 1) {
    await page.keyboard.press("Tab");
    stops.push(await focused());
  }
  check("Tab goes through everything, in order", equal(stops.slice(0, 4), ["I am in", "Not this time", "Ask", "You"]) && equal(stops.slice(5, 9), ["Name", "E-mail", "Code", "Remind me the day before"]), JSON.stringify(stops));
  await page.keyboard.press("Shift+Tab");
  const tick = page.getByLabel("Remind me");
  await tick.focus();
  await page.keyboard.press("Space");
  check("Space unticks a box", !(await tick.isChecked()));
  await page.getByRole("button", { name: "I am in" }).focus();
  await page.keyboard.press("Enter");
  check("Enter presses a button", equal(await page.evaluate(() => [sent.at(-1).name, sent.at(-1).context]), ["join", { trip: 7 }]));

  await page.getByRole("tab", { name: "You" }).focus();
  const selected = () => page.getByRole("tab", { selected: true }).innerText();
  const walked = [];
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"]) {
    await page.keyboard.press(key);
    walked.push(await selected());
  }
  check("arrows, Home and End walk the tabs", equal(walked, ["When", "Food", "You", "Food", "You", "Food"]), JSON.stringify(walked));
  check("only the chosen tab is a stop", equal(await page.getByRole("tab").evaluateAll((tabs) => tabs.map((tab) => tab.tabIndex)), [-1, -1, 0]));
  await page.getByLabel("Tea", { exact: true }).focus();
  await page.keyboard.press("ArrowDown");
  check("arrows choose among one-of-many", await page.getByLabel("Coffee").isChecked());
  await page.getByLabel("Cheese").check();
  check("no more than allowed can be chosen", (await page.getByLabel("Vegetables").isDisabled()) && (await page.getByText("2 of at most 2 chosen").isVisible()));
  await page.getByLabel("Fish").uncheck();
  check("and room comes back", !(await page.getByLabel("Vegetables").isDisabled()));

  await page.getByRole("button", { name: "Ask" }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "What would you like to know?" });
  check("Enter opens the dialog, which has a name", await dialog.isVisible());
  const inside = [];
  for (let i = 0; i < 5; i += 1) {
    inside.push(await focused());
    await page.keyboard.press("Tab");
  }
  check("Tab stays inside, round and round", equal(inside, ["Close", "Your question", "Send", "Close", "Your question"]), JSON.stringify(inside));
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  check("backwards too", (await focused()) === "Send", await focused());
  await page.keyboard.press("Enter");
  check("what comes of it is said inside the dialog", await dialog.getByRole("status").filter({ hasText: "Sending…" }).isVisible());
  await page.keyboard.press("Escape");
  check("Escape closes, and the focus is back", (await dialog.count()) === 0 && (await focused()) === "Ask", await focused());
  await page.getByRole("button", { name: "Ask" }).click();
  await page.mouse.click(3, 3);
  check("a click beside it closes too", (await dialog.count()) === 0);

  const entry = await fresh(suite, [define(c("root", "Modal", { entryPointChild: "t", contentChild: "x" }), text("t", "Only words"), text("x", "Inside")), begin()]);
  await entry.getByRole("button", { name: "Only words" }).focus();
  await entry.keyboard.press("Space");
  check("words that open a dialog are a button", await entry.getByRole("dialog", { name: "Dialog" }).isVisible());
  await entry.close();

  const field = page.getByLabel("E-mail");
  await page.getByRole("tab", { name: "You" }).click();
  await field.fill("nobody");
  check("nobody is told while typing", !(await page.getByText("This is not in the expected form.").isVisible()));
  await field.blur();
  check("then what does not fit is said", (await page.getByText("This is not in the expected form.").isVisible()) && (await field.getAttribute("aria-invalid")) === "true");
  await field.fill("ada@example.com");
  check("until it fits", (await field.getAttribute("aria-invalid")) === null);
  await page.close();
}

async function roles(suite) {
  const { check } = suite;
  const page = await fresh(suite, demo);
  const tree = await page.locator("openclaw-a2ui-host").ariaSnapshot();
  const expected = `
- img "Hills at a lake"
- img "Ada"
- heading "A weekend at the lake" [level=2]
- paragraph: Two nights by the lake, proposed by Ada
- img "calendar today"
- paragraph: 12–14 June
- img "location on"
- paragraph: Lake Walen
- img "payment"
- paragraph: CHF 240
- separator
- list:
  - listitem:
    - img "star"
    - paragraph: Ada
    - paragraph: planned it
  - listitem:
    - img "check"
    - paragraph: Bo
    - paragraph: is coming
  - listitem:
    - img "help"
    - paragraph: Cy
    - paragraph: asks about the train
- button "I am in":
  - paragraph: I am in
- button "Not this time":
  - paragraph: Not this time
- button "help Ask":
  - img "help"
  - paragraph: Ask
- tablist:
  - tab "You" [selected]
  - tab "When"
  - tab "Food"
- tabpanel "You":
  - text: Name
  - textbox "Name": Dee
  - text: E-mail
  - textbox "E-mail": dee@example.com
  - text: Code
  - textbox "Code": secret
  - checkbox "Remind me the day before" [checked]
  - text: Remind me the day before
- heading "Listen on the way" [level=4]
- paragraph: "Everything on this page came from an agent as data: words stay words, <b>even these</b>."
- heading "h5, the smallest heading" [level=5]
- figure "Steam on the lake"
- img "Image not available"
`;
  check("a screen reader hears what is there", tree.trim() === expected.trim(), tree);
  check("nothing on the page has a name twice, or an id of the agent's", await page.evaluate(() => {
    const ids = [...document.querySelectorAll("openclaw-a2ui-host [id]")].map((each) => each.id);
    return ids.length > 10 && new Set(ids).size === ids.length && ids.every((id) => /^a2-\d+$/.test(id));
  }));
  await page.close();
  const every = await fresh(suite, [define(c("root", "Row", { children: each("i", "/names") }), c("i", "Icon", { name: at(".") })), { dataModelUpdate: { surfaceId: "main", contents: [{ key: "names", valueString: JSON.stringify(await (await fresh(suite)).evaluate(() => Object.keys(clawgateA2UI.ICONS))) }] } }, begin()]);
  const drawn = await every.locator(".a2-icon path").evaluateAll((paths) => paths.map((path) => path.getTotalLength() > 10));
  check(`every icon draws (${drawn.length})`, drawn.length > 49 && drawn.every(Boolean) && every.said.length === 0, every.said.join("\n"));
  await every.close();
}

async function hostile(suite) {
  const { check } = suite;
  const evil = '"><img src=x onerror="globalThis.pwned=1"><script>globalThis.pwned=1</script><style>*{display:none}</style>';
  const page = await fresh(suite);
  const requested = [];
  page.on("request", (request) => requested.push(request.url()));
  const before = await page.evaluate(() => document.querySelectorAll("script, style, link, iframe, object, embed, base, form, meta").length);
  const url = (value) => lit(value);
  const properties = { text: lit(evil), label: lit(evil), name: lit(evil), description: lit(evil), altText: lit(evil), value: lit(evil), url: url("javascript:globalThis.pwned=1"), usageHint: evil, fit: evil, axis: evil, direction: evil, alignment: evil, distribution: evil, textFieldType: evil, validationRegexp: evil, options: [{ label: lit(evil), value: evil }], selections: { literalArray: [evil] }, tabItems: [{ title: lit(evil), child: "leaf" }], child: "leaf", children: kids("leaf"), entryPointChild: "leaf", contentChild: "leaf", action: { name: evil, context: [{ key: evil, value: lit(evil) }] } };
  const types = ["Text", "Image", "Icon", "Video", "AudioPlayer", "Row", "Column", "List", "Card", "Tabs", "Divider", "Modal", "Button", "CheckBox", "TextField", "DateTimeInput", "MultipleChoice", "Slider", evil];
  await page.apply(
    define(column("root", ...types.map((_, i) => `openclaw-canvas${i}`)), text("leaf", evil), ...types.map((type, i) => c(`openclaw-canvas${i}`, type, properties)), c("openclaw-canvas", "Text", { text: lit(evil) })),
    begin("root", { styles: { primaryColor: evil, font: `x";}${evil}` } }),
    { [evil]: {} },
  );
  for (const target of await page.locator("openclaw-a2ui-host button:visible").all()) await target.click({ timeout: 2_000 }).catch(() => undefined);
  check("no text becomes an element", (await page.evaluate(() => document.querySelectorAll("script, style, link, iframe, object, embed, base, form, meta").length)) === before);
  check("nor an attribute that acts", (await page.evaluate(() => [...document.querySelectorAll("openclaw-a2ui-host *")].flatMap((each) => each.getAttributeNames()).filter((name) => name.startsWith("on") || name === "srcdoc" || name === "formaction").length)) === 0);
  check("nothing of it ran", (await page.evaluate(() => globalThis.pwned)) === undefined);
  check("it stands there as text", (await page.evaluate((given) => [...document.querySelectorAll(".a2-text")].filter((each) => each.textContent === given).length, evil)) > 3);
  check("the canvas is still the page's own", await page.evaluate(() => document.querySelectorAll("#openclaw-canvas").length === 1 && __openclaw.canvas === document.querySelector("canvas")));
  check("nothing was asked for", requested.length === 0, requested.join(" "));
  check("a style is a colour or it is nothing", (await page.evaluate(() => document.querySelector(".a2-surface").getAttribute("style"))) === null);

  const addresses = ["javascript:alert(1)", " JavaScript:alert(1)", "java\tscript:alert(1)", "data:text/html,<script>1</script>", "file:///etc/passwd", "blob:null/1", "view-source:http://127.0.0.1/", "ftp://127.0.0.1/x.png"];
  await page.apply(define(column("root", ...addresses.flatMap((_, i) => ["Image", "Video", "AudioPlayer"].map((type) => `${type}${i}`))), ...addresses.flatMap((address, i) => ["Image", "Video", "AudioPlayer"].map((type) => c(`${type}${i}`, type, { url: lit(address) })))));
  check("addresses that are not for loading are not loaded", (await page.locator("openclaw-a2ui-host [src]").count()) === 0 && requested.length === 0, requested.join(" "));
  check("and it is said", (await page.locator(".a2-missing:visible").count()) === addresses.length * 3);
  await page.close();
}

async function bounds(suite) {
  const { check } = suite;
  const page = await fresh(suite);
  // Each of these takes for ever, or all memory, if nobody counts. The browser's own time limit is the test's.
  await page.apply(define(...Array.from({ length: 40 }, (_, i) => column(i === 0 ? "root" : `c${i}`, `c${i + 1}`, `c${i + 1}`)), text("c40", "x")), begin());
  check("two to the fortieth components", (await page.locator("openclaw-a2ui-host *").count()) < 10_000 && (await page.getByText("More than 4000 components; the rest is left out.").count()) === 1);
  await page.apply(define(column("root", "a"), column("a", "root")));
  check("a circle", await page.getByText("“root” contains itself.").isVisible());
  await page.apply(define(...Array.from({ length: 3000 }, (_, i) => column(i === 0 ? "root" : `d${i}`, `d${i + 1}`))));
  check("three thousand inside one another", await page.getByText("More than 64 components inside one another.").isVisible());
  await page.apply(define(c("root", "Column", { children: each("row", "/l") }), c("row", "Row", { children: each("t", "/l") }), text("t", at("."))), data({ l: JSON.stringify(Array.from({ length: 5000 }, (_, i) => i)) }));
  check("five thousand times five thousand copies", (await page.locator("openclaw-a2ui-host *").count()) < 10_000);
  await page.apply(define(c("root", "TextField", { label: lit("Slow"), text: lit(""), validationRegexp: "(a+)+$" })));
  await page.getByLabel("Slow").fill(`${"a".repeat(60)}!`);
  await page.getByLabel("Slow").blur();
  check("a pattern that never ends is not tried", await page.getByLabel("Slow").isVisible());
  await page.apply(define(text("root", "fine")));
  check("and the page goes on", (await page.locator("openclaw-a2ui-host").innerText()).trim() === "fine");
  await page.close();
}
