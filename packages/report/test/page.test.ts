import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { expect, it } from "vitest";
import { sampleReport } from "./sample.ts";

const browserPath = [process.env["CHROMIUM_PATH"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path !== undefined && existsSync(path));
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

it("opens in a browser without an error or a request, light and dark, wide and narrow, even when every text is hostile", async ({ annotate }) => {
  if (browserPath === undefined) {
    await annotate("no Chromium on this machine: install one or name it in CHROMIUM_PATH to check the page in a browser");
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), "report-"));
  const browser = await chromium.launch({ executablePath: browserPath, args: ARGUMENTS });
  try {
    for (const [name, text] of [["plain", (words: string) => words], ["hostile", (words: string) => `${words}"'><img src=x onerror="document.title='broken'"><script>document.title='broken'</script>`]] as const) {
      const file = join(folder, `${name}.html`);
      await writeFile(file, sampleReport(text));
      for (const [colorScheme, width] of [["light", 1200], ["dark", 390]] as const) {
        const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
        const page = await context.newPage();
        const problems: string[] = [];
        const requests: string[] = [];
        page.on("console", (message) => problems.push(message.text()));
        page.on("pageerror", (error) => problems.push(String(error)));
        page.on("request", (request) => requests.push(request.url()));
        await page.goto(pathToFileURL(file).href);
        expect(problems).toEqual([]);
        expect(requests.filter((url) => !url.startsWith("data:"))).toEqual([pathToFileURL(file).href]);
        expect(await page.title()).toMatch(/^A report 报告/u);
        const facts: unknown = await page.evaluate("[document.scripts.length, document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor, document.querySelectorAll('section').length, document.querySelectorAll('img').length]");
        expect(facts).toEqual([0, width, colorScheme === "light" ? "rgb(246, 244, 240)" : "rgb(19, 21, 23)", 4, 3]);
        await context.close();
      }
    }
  } finally {
    await browser.close();
    await rm(folder, { recursive: true });
  }
});
