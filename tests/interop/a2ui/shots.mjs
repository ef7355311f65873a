// Pictures of the demo in every theme, for people: `--shots FOLDER`.
import path from "node:path";
import { demo } from "./demo.mjs";

export async function shots(open, subject, folder) {
  for (const theme of ["light", "dark", "eink"]) {
    for (const [size, width, height] of [
      ["wide", 820, 1500],
      ["phone", 390, 1500],
    ]) {
      const page = await open(`/page/?platform=android&theme=${theme}`, subject);
      await page.setViewportSize({ width, height });
      await page.evaluate((messages) => subject.apply(messages), demo);
      await page.screenshot({ path: path.join(folder, `${theme}-${size}.png`), fullPage: true });
      if (size === "phone") {
        await page.getByRole("tab", { name: "Food" }).click();
        await page.screenshot({ path: path.join(folder, `${theme}-food.png`), fullPage: true });
        await page.getByRole("tab", { name: "When" }).click();
        await page.getByRole("button", { name: "Ask" }).click();
        await page.screenshot({ path: path.join(folder, `${theme}-dialog.png`) });
      }
      await page.close();
    }
  }
}
