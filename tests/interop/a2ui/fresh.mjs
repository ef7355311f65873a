// What every suite over our page begins with.

export const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** A page of ours with `messages` on it; whatever it says on the console as a warning or an error is kept. */
export async function fresh({ open, SUBJECT }, messages = [], where = "/page/?platform=android") {
  const page = await open(where, SUBJECT);
  page.said = [];
  page.on("console", (message) => ["warning", "error"].includes(message.type()) && page.said.push(message.text()));
  page.on("pageerror", (error) => page.said.push(String(error)));
  page.apply = (...more) => page.evaluate((given) => openclawA2UI.applyMessages(given), more);
  if (messages.length > 0) await page.apply(...messages);
  return page;
}
