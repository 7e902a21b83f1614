import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromiumPath, openChromium, serve } from "./browser/chromium.ts";
import type { PageOutcome } from "./browser/main.ts";

/** Bundles a folder as its user would. @returns where the page lies */
async function bundle(root: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "scfa-page-"));
  await build({
    root,
    configFile: false,
    resolve: { alias: { scfa: resolve("dist/index.js") } },
    build: { outDir: folder, emptyOutDir: true, target: "es2022" },
    logLevel: "warn",
  });
  return folder;
}

// Without a Chromium on the PATH there is no page to run in; CI installs one.
describe.skipIf(!chromiumPath)("a page that bundles the package", () => {
  let context: BrowserContext;
  let folder: string;
  beforeAll(async () => {
    folder = await bundle(join(import.meta.dirname, "browser"));
    context = await openChromium();
  }, 120_000);
  afterAll(() => context?.close());

  /** Opens a page of a folder, and returns what `use` makes of it and the errors that nobody caught. */
  async function visit<T>(folder: string, query: string, isolated: boolean, use: (page: Page) => Promise<T>) {
    const { url, server } = await serve(folder, { isolated });
    const page = await context.newPage();
    const trouble: string[] = [];
    page.on("pageerror", (error) => trouble.push(error.message));
    try {
      await page.goto(url + query);
      return { result: await use(page), trouble };
    } finally {
      await page.close();
      server.close();
    }
  }

  const outcomeOf = async (page: Page) => {
    await page.waitForFunction(() => "outcome" in globalThis, undefined, { timeout: 590_000 });
    return (await page.evaluate(() => (globalThis as { outcome?: unknown }).outcome)) as PageOutcome;
  };

  test.each([
    { isolated: true, threads: /[2-9]\d* threads/ },
    { isolated: false, threads: /1 thread\b/ },
  ])(
    "passes every conformance case, cross-origin isolated: $isolated",
    async ({ isolated, threads }) => {
      const { result: outcome, trouble } = await visit(folder, "", isolated, outcomeOf);
      expect(outcome).toMatchObject({ crossOriginIsolated: isolated, failed: [] });
      expect(outcome.description).toMatch(threads);
      expect(outcome.ran).toBeGreaterThan(50);
      expect(trouble).toEqual([]);
    },
    180_000,
  );

  // SwiftShader compiles for seconds where a case needs another build, so few are run; SCFA_WEBGPU=all runs all.
  const few =
    /^(fill|copy|embed|layerNorm|normalizeRows|rope|gradNorm|adamw|keepMask):? |^attention: (hash|dense), D = 16$/;
  const cases = (process.env["SCFA_WEBGPU"] === "all" ? /./ : few).source;

  test("passes conformance cases on WebGPU", async () => {
    const query = `?${new URLSearchParams({ device: "webgpu", cases })}`;
    const { result: outcome, trouble } = await visit(folder, query, true, outcomeOf);
    expect(outcome).toMatchObject({ failed: [] });
    expect(outcome.description).toMatch(/^webgpu \(/);
    expect(outcome.ran).toBeGreaterThan(30);
    expect(trouble).toEqual([]);
  }, 600_000);

  test.skipIf(!existsSync("dist/index.js"))(
    "runs the example: attention on WebGPU, forward and backward",
    async () => {
      const example = await bundle("examples/browser");
      const { result: text, trouble } = await visit(example, "", false, async (page) => {
        await page.waitForFunction(() => document.title === "done", undefined, { timeout: 100_000 });
        return page.textContent("#out");
      });
      expect(text).toMatch(/^webgpu \(/);
      expect(text!.match(/(o|dq|dk|dv): .* pass$/gm)).toHaveLength(4);
      expect(trouble).toEqual([]);
    },
    120_000,
  );
});
