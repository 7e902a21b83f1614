import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { build } from "vite";
import { serve } from "../../test/browser/chromium.ts";

/** Builds the playground as it is published, with a model of few steps or with none. @returns where it lies */
export async function buildSite({ modelSteps }: { modelSteps: number | null }): Promise<string> {
  const [out, data] = ["site", "data"].map((name) => mkdtempSync(join(tmpdir(), `scfa-web-${name}-`)));
  if (modelSteps !== null) {
    const script = resolve("web/scripts/model.mjs");
    execFileSync(process.execPath, [script, "--steps", String(modelSteps), "--out", data!], { stdio: "ignore" });
  }
  await build({
    configFile: resolve("web/vite.config.ts"),
    publicDir: data!,
    build: { outDir: out!, emptyOutDir: true },
    logLevel: "error",
  });
  return out!;
}

/** A served folder and the pages that are opened of it, with the errors that nobody caught. */
export class Site {
  readonly trouble: string[] = [];

  private constructor(
    readonly url: string,
    readonly server: Server,
    readonly context: BrowserContext,
  ) {}

  static async open(folder: string, context: BrowserContext, { isolated }: { isolated: boolean }): Promise<Site> {
    const { url, server } = await serve(folder, { isolated });
    return new Site(url, server, context);
  }

  async page(hash: string, { before }: { before?: (page: Page) => Promise<unknown> } = {}): Promise<Page> {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.trouble.push(error.message));
    await before?.(page);
    await page.goto(`${this.url}#/${hash}`);
    return page;
  }

  close(): void {
    this.server.close();
  }
}

/** Moves a slider to the value that it shows as `text`. */
export async function slideTo(page: Page, label: string, text: string): Promise<void> {
  const slider = page.getByLabel(label, { exact: true });
  const most = Number(await slider.getAttribute("max"));
  for (let place = 0; place <= most; place++) {
    await slider.fill(String(place));
    if ((await slider.getAttribute("aria-valuetext")) === text) return;
  }
  throw new Error(`the slider "${label}" must offer "${text}"`);
}

/** A number that the page shows under the key of a fact. */
export function fact(page: Page, key: string, within = "body"): Promise<string> {
  return page.locator(`${within} [data-fact="${key}"]`).innerText();
}
