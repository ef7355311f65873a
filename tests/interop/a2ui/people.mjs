// What a keyboard and a screen reader find on our page.
import { at, begin, c, define, each, text } from "./build.mjs";
import { demo } from "./demo.mjs";
import { equal, fresh } from "./fresh.mjs";

export async function keys(suite) {
  const { check } = suite;
  const page = await fresh(suite, demo);
  const focused = () =>
    page.evaluate(
      () =>
        document.activeElement.getAttribute("aria-label") ??
        document.activeElement.labels?.[0]?.innerText ??
        document.activeElement.innerText?.trim() ??
        "",
    );
  const stops = [];
  await page.evaluate(() => document.activeElement.blur());
  for (let i = 0; i < 10; i += 1) {
    await page.keyboard.press("Tab");
    stops.push(await focused());
  }
  check(
    "Tab goes through everything, in order",
    equal(stops.slice(0, 4), ["I am in", "Not this time", "Ask", "You"]) &&
      equal(stops.slice(5, 9), ["Name", "E-mail", "Code", "Remind me the day before"]),
    JSON.stringify(stops),
  );
  await page.keyboard.press("Shift+Tab");
  const tick = page.getByLabel("Remind me");
  await tick.focus();
  await page.keyboard.press("Space");
  check("Space unticks a box", !(await tick.isChecked()));
  await page.getByRole("button", { name: "I am in" }).focus();
  await page.keyboard.press("Enter");
  check(
    "Enter presses a button",
    equal(await page.evaluate(() => [sent.at(-1).name, sent.at(-1).context]), ["join", { trip: 7 }]),
  );

  await page.getByRole("tab", { name: "You" }).focus();
  const selected = () => page.getByRole("tab", { selected: true }).innerText();
  const walked = [];
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"]) {
    await page.keyboard.press(key);
    walked.push(await selected());
  }
  check(
    "arrows, Home and End walk the tabs",
    equal(walked, ["When", "Food", "You", "Food", "You", "Food"]),
    JSON.stringify(walked),
  );
  check(
    "only the chosen tab is a stop",
    equal(await page.getByRole("tab").evaluateAll((tabs) => tabs.map((tab) => tab.tabIndex)), [-1, -1, 0]),
  );
  await page.getByLabel("Tea", { exact: true }).focus();
  await page.keyboard.press("ArrowDown");
  check("arrows choose among one-of-many", await page.getByLabel("Coffee").isChecked());
  await page.getByLabel("Cheese").check();
  check(
    "no more than allowed can be chosen",
    (await page.getByLabel("Vegetables").isDisabled()) && (await page.getByText("2 of at most 2 chosen").isVisible()),
  );
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
  check(
    "Tab stays inside, round and round",
    equal(inside, ["Close", "Your question", "Send", "Close", "Your question"]),
    JSON.stringify(inside),
  );
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  check("backwards too", (await focused()) === "Send", await focused());
  await page.keyboard.press("Enter");
  check(
    "what comes of it is said inside the dialog",
    await dialog.getByRole("status").filter({ hasText: "Sending…" }).isVisible(),
  );
  await page.keyboard.press("Escape");
  check(
    "Escape closes, and the focus is back",
    (await dialog.count()) === 0 && (await focused()) === "Ask",
    await focused(),
  );
  await page.getByRole("button", { name: "Ask" }).click();
  await page.mouse.click(3, 3);
  check("a click beside it closes too", (await dialog.count()) === 0);

  const entry = await fresh(suite, [
    define(
      c("root", "Modal", { entryPointChild: "t", contentChild: "x" }),
      text("t", "Only words"),
      text("x", "Inside"),
    ),
    begin(),
  ]);
  await entry.getByRole("button", { name: "Only words" }).focus();
  await entry.keyboard.press("Space");
  check("words that open a dialog are a button", await entry.getByRole("dialog", { name: "Dialog" }).isVisible());
  await entry.close();

  const field = page.getByLabel("E-mail");
  await page.getByRole("tab", { name: "You" }).click();
  await field.fill("nobody");
  check("nobody is told while typing", !(await page.getByText("This is not in the expected form.").isVisible()));
  await field.blur();
  check(
    "then what does not fit is said",
    (await page.getByText("This is not in the expected form.").isVisible()) &&
      (await field.getAttribute("aria-invalid")) === "true",
  );
  await field.fill("ada@example.com");
  check("until it fits", (await field.getAttribute("aria-invalid")) === null);
  await page.close();
}

export async function roles(suite) {
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
  check(
    "nothing on the page has a name twice, or an id of the agent's",
    await page.evaluate(() => {
      const ids = [...document.querySelectorAll("openclaw-a2ui-host [id]")].map((each) => each.id);
      return ids.length > 10 && new Set(ids).size === ids.length && ids.every((id) => /^a2-\d+$/.test(id));
    }),
  );
  await page.close();
  const every = await fresh(suite, [
    define(c("root", "Row", { children: each("i", "/names") }), c("i", "Icon", { name: at(".") })),
    {
      dataModelUpdate: {
        surfaceId: "main",
        contents: [
          {
            key: "names",
            valueString: JSON.stringify(await (await fresh(suite)).evaluate(() => Object.keys(clawgateA2UI.ICONS))),
          },
        ],
      },
    },
    begin(),
  ]);
  const drawn = await every
    .locator(".a2-icon path")
    .evaluateAll((paths) => paths.map((path) => path.getTotalLength() > 10));
  check(
    `every icon draws (${drawn.length})`,
    drawn.length > 49 && drawn.every(Boolean) && every.said.length === 0,
    every.said.join("\n"),
  );
  await every.close();
}
