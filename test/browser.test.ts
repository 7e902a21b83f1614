import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromiumPath, openChromium, serve } from "./browser/chromium.ts";
import type { PageOutcome } from "./browser/main.ts";

// Without a Chromium on the PATH there is no page to run in; CI installs one.
describe.skipIf(!chromiumPath)("a page that bundles the package", () => {
  let context: BrowserContext;
  const folder = mkdtempSync(join(tmpdir(), "scfa-page-"));

  beforeAll(async () => {
    await build({
      root: join(import.meta.dirname, "browser"),
      build: { outDir: folder, target: "es2022" },
      logLevel: "warn",
    });
    context = await openChromium();
  }, 120_000);
  afterAll(() => context?.close());

  test.each([
    { isolated: true, threads: /[2-9]\d* threads/ },
    { isolated: false, threads: /1 thread\b/ },
  ])(
    "passes every conformance case, cross-origin isolated: $isolated",
    async ({ isolated, threads }) => {
      const { url, server } = await serve(folder, { isolated });
      const page = await context.newPage();
      const trouble: string[] = [];
      page.on("pageerror", (error) => trouble.push(error.message));
      await page.goto(url);
      await page.waitForFunction(() => "outcome" in globalThis, undefined, { timeout: 170_000 });
      const outcome = (await page.evaluate(() => (globalThis as { outcome?: unknown }).outcome)) as PageOutcome;
      await page.close();
      server.close();
      expect(outcome).toMatchObject({ crossOriginIsolated: isolated, failed: [] });
      expect(outcome.description).toMatch(threads);
      expect(outcome.ran).toBeGreaterThan(50);
      expect(trouble).toEqual([]);
    },
    180_000,
  );
});
