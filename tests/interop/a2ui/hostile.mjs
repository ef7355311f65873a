// Content that means harm, and content without measure.
import { at, begin, c, column, data, define, each, kids, lit, text } from "./build.mjs";
import { fresh } from "./fresh.mjs";

export async function hostile(suite) {
  const { check } = suite;
  const evil =
    '"><img src=x onerror="globalThis.pwned=1"><script>globalThis.pwned=1</script><style>*{display:none}</style>';
  const page = await fresh(suite);
  const requested = [];
  page.on("request", (request) => requested.push(request.url()));
  const before = await page.evaluate(
    () => document.querySelectorAll("script, style, link, iframe, object, embed, base, form, meta").length,
  );
  const url = (value) => lit(value);
  const properties = {
    text: lit(evil),
    label: lit(evil),
    name: lit(evil),
    description: lit(evil),
    altText: lit(evil),
    value: lit(evil),
    url: url("javascript:globalThis.pwned=1"),
    usageHint: evil,
    fit: evil,
    axis: evil,
    direction: evil,
    alignment: evil,
    distribution: evil,
    textFieldType: evil,
    validationRegexp: evil,
    options: [{ label: lit(evil), value: evil }],
    selections: { literalArray: [evil] },
    tabItems: [{ title: lit(evil), child: "leaf" }],
    child: "leaf",
    children: kids("leaf"),
    entryPointChild: "leaf",
    contentChild: "leaf",
    action: { name: evil, context: [{ key: evil, value: lit(evil) }] },
  };
  const types = [
    "Text",
    "Image",
    "Icon",
    "Video",
    "AudioPlayer",
    "Row",
    "Column",
    "List",
    "Card",
    "Tabs",
    "Divider",
    "Modal",
    "Button",
    "CheckBox",
    "TextField",
    "DateTimeInput",
    "MultipleChoice",
    "Slider",
    evil,
  ];
  await page.apply(
    define(
      column("root", ...types.map((_, i) => `openclaw-canvas${i}`)),
      text("leaf", evil),
      ...types.map((type, i) => c(`openclaw-canvas${i}`, type, properties)),
      c("openclaw-canvas", "Text", { text: lit(evil) }),
    ),
    begin("root", { styles: { primaryColor: evil, font: `x";}${evil}` } }),
    { [evil]: {} },
  );
  for (const target of await page.locator("openclaw-a2ui-host button:visible").all())
    await target.click({ timeout: 2_000 }).catch(() => undefined);
  check(
    "no text becomes an element",
    (await page.evaluate(
      () => document.querySelectorAll("script, style, link, iframe, object, embed, base, form, meta").length,
    )) === before,
  );
  check(
    "nor an attribute that acts",
    (await page.evaluate(
      () =>
        [...document.querySelectorAll("openclaw-a2ui-host *")]
          .flatMap((each) => each.getAttributeNames())
          .filter((name) => name.startsWith("on") || name === "srcdoc" || name === "formaction").length,
    )) === 0,
  );
  check("nothing of it ran", (await page.evaluate(() => globalThis.pwned)) === undefined);
  check(
    "it stands there as text",
    (await page.evaluate(
      (given) => [...document.querySelectorAll(".a2-text")].filter((each) => each.textContent === given).length,
      evil,
    )) > 3,
  );
  check(
    "the canvas is still the page's own",
    await page.evaluate(
      () =>
        document.querySelectorAll("#openclaw-canvas").length === 1 &&
        __openclaw.canvas === document.querySelector("canvas"),
    ),
  );
  check("nothing was asked for", requested.length === 0, requested.join(" "));
  check(
    "a style is a colour or it is nothing",
    (await page.evaluate(() => document.querySelector(".a2-surface").getAttribute("style"))) === null,
  );

  const addresses = [
    "javascript:alert(1)",
    " JavaScript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>1</script>",
    "file:///etc/passwd",
    "blob:null/1",
    "view-source:http://127.0.0.1/",
    "ftp://127.0.0.1/x.png",
  ];
  await page.apply(
    define(
      column("root", ...addresses.flatMap((_, i) => ["Image", "Video", "AudioPlayer"].map((type) => `${type}${i}`))),
      ...addresses.flatMap((address, i) =>
        ["Image", "Video", "AudioPlayer"].map((type) => c(`${type}${i}`, type, { url: lit(address) })),
      ),
    ),
  );
  check(
    "addresses that are not for loading are not loaded",
    (await page.locator("openclaw-a2ui-host [src]").count()) === 0 && requested.length === 0,
    requested.join(" "),
  );
  check("and it is said", (await page.locator(".a2-missing:visible").count()) === addresses.length * 3);
  await page.close();
}

export async function bounds(suite) {
  const { check } = suite;
  const page = await fresh(suite);
  // Each of these takes for ever, or all memory, if nobody counts. The browser's own time limit is the test's.
  await page.apply(
    define(
      ...Array.from({ length: 40 }, (_, i) => column(i === 0 ? "root" : `c${i}`, `c${i + 1}`, `c${i + 1}`)),
      text("c40", "x"),
    ),
    begin(),
  );
  check(
    "two to the fortieth components",
    (await page.locator("openclaw-a2ui-host *").count()) < 10_000 &&
      (await page.getByText("More than 4000 components; the rest is left out.").count()) === 1,
  );
  await page.apply(define(column("root", "a"), column("a", "root")));
  check("a circle", await page.getByText("“root” contains itself.").isVisible());
  await page.apply(define(...Array.from({ length: 3000 }, (_, i) => column(i === 0 ? "root" : `d${i}`, `d${i + 1}`))));
  check(
    "three thousand inside one another",
    await page.getByText("More than 64 components inside one another.").isVisible(),
  );
  await page.apply(
    define(
      c("root", "Column", { children: each("row", "/l") }),
      c("row", "Row", { children: each("t", "/l") }),
      text("t", at(".")),
    ),
    data({ l: JSON.stringify(Array.from({ length: 5000 }, (_, i) => i)) }),
  );
  check("five thousand times five thousand copies", (await page.locator("openclaw-a2ui-host *").count()) < 10_000);
  await page.apply(define(c("root", "TextField", { label: lit("Slow"), text: lit(""), validationRegexp: "(a+)+$" })));
  await page.getByLabel("Slow").fill(`${"a".repeat(60)}!`);
  await page.getByLabel("Slow").blur();
  check("a pattern that never ends is not tried", await page.getByLabel("Slow").isVisible());
  await page.apply(define(text("root", "fine")));
  check("and the page goes on", (await page.locator("openclaw-a2ui-host").innerText()).trim() === "fine");
  await page.close();
}
