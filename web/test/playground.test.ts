import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import axe from "axe-core";
import type { BrowserContext, Page } from "playwright-core";
import { type Device, openDevice } from "scfa";
import { decodeModel, decodeSafetensors, Gpt } from "scfa/gpt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromiumPath, openChromium } from "../../test/browser/chromium.ts";
import { catalogue, type PatternName, usualNumbers } from "../src/explore/catalogue.ts";
import { planChoice } from "../src/explore/patterns.ts";
import { measureGrowing } from "../src/measure/measure.ts";
import type { MeasurementResult, Point } from "../src/measure/result.ts";
import { Lane } from "../src/train/lane.ts";
import type { TrainSettings } from "../src/train/settings.ts";
import { times } from "../src/ui/format.ts";
import { buildSite, fact, Site, slideTo } from "./site.ts";

const pages = ["explore", "measure", "train"] as const;

// Without a Chromium on the PATH there is no page to open; CI installs one.
describe.skipIf(!chromiumPath)("the playground", () => {
  let context: BrowserContext;
  let folder: string;
  let site: Site;
  let device: Device;

  beforeAll(async () => {
    folder = await buildSite({ modelSteps: 8 });
    context = await openChromium();
    site = await Site.open(folder, context, { isolated: true });
    device = await openDevice("cpu", { threads: 1 });
  }, 240_000);
  afterAll(async () => {
    await context?.close();
    site?.close();
    device?.dispose();
  });

  test("Explore shows what the package plans, for every pattern", async () => {
    const page = await site.page("explore");
    await slideTo(page, "Sequence", "128 tokens");
    await slideTo(page, "Tiles", "8 × 8");
    for (const [name, { label }] of Object.entries(catalogue)) {
      await page.getByLabel("Pattern", { exact: true }).selectOption(label);
      const numbers = usualNumbers(name as PatternName);
      const choice = { name: name as PatternName, numbers, T: 128, tile: 8, seed: 1 };
      const { visiblePairs, tiles, denseTiles, parts } = await planChoice(device, choice);
      await page.getByText(`${visiblePairs.toLocaleString("en")} of dense attention's`).waitFor();
      await page.getByText(`${tiles.partial + tiles.full} of its ${denseTiles}`).waitFor();
      const shown = await Promise.all(["skipped", "partial", "full"].map((key) => fact(page, key)));
      expect(shown.map((text) => Number(text.replaceAll(",", "")))).toEqual([tiles.skipped, tiles.partial, tiles.full]);
      expect(await fact(page, "speedTiles")).toBe(times(denseTiles / (tiles.partial + tiles.full)));
      expect(await page.getByLabel("Part of the union").locator("option").count()).toBe(parts.length);
      if (name === "windowHash") await page.getByLabel("Part of the union").selectOption("hash");
    }
    await page.close();
  }, 120_000);

  test("Explore follows every pattern's own sliders", async () => {
    const T = 128;
    const page = await site.page("explore");
    await slideTo(page, "Sequence", `${T} tokens`);
    await slideTo(page, "Tiles", "8 × 8");
    for (const [name, { label, numbers: offered }] of Object.entries(catalogue)) {
      await page.getByLabel("Pattern", { exact: true }).selectOption(label);
      const numbers = usualNumbers(name as PatternName);
      for (const { key, label, values, format = String } of offered) {
        numbers[key] = values(T).find((value) => value > numbers[key]!)!;
        await slideTo(page, label, format(numbers[key]));
        const { visiblePairs } = await planChoice(device, { name: name as PatternName, numbers, T, tile: 8, seed: 1 });
        await page.getByText(`${visiblePairs.toLocaleString("en")} of dense attention's`).waitFor();
      }
    }
    await page.close();
  }, 120_000);

  test("Explore draws exactly the visible pairs, and says what a query sees", async () => {
    const page = await site.page("explore");
    await slideTo(page, "Sequence", "64 tokens");
    await slideTo(page, "Buckets", "4");
    await slideTo(page, "Skew of the buckets", "3 of 10");
    await page.getByRole("button", { name: "Draw other random numbers" }).click();
    const choice = { name: "hash" as const, numbers: { buckets: 4, skew: 3 }, T: 64, tile: 16, seed: 2 };
    const plan = await planChoice(device, choice);
    const { qRows, kRows, lo, hi } = plan.parts[0]!;
    await page.getByText(`${plan.visiblePairs.toLocaleString("en")} of dense attention's`).waitFor();
    const expected = new Set<string>();
    for (let n = 0; n < 64; n++) for (let m = lo[n]!; m < hi[n]!; m++) expected.add(`${qRows[n]},${kRows[m]}`);
    expect(new Set(await drawnPairs(page, 64))).toEqual(expected);

    await slideTo(page, "Query", "at position 40");
    const n = qRows.indexOf(40);
    await page.getByText(`Query 40 stands at place ${n} and sees ${hi[n]! - lo[n]!} keys`).waitFor();
    await page
      .locator("canvas")
      .first()
      .hover({ position: { x: 20, y: 1 } });
    await page.getByText("Query 0 stands at place").waitFor();

    await page.getByRole("button", { name: "Play" }).click();
    await page.waitForFunction(() => document.querySelector("[aria-valuetext$=sorted]") !== null);
    await page.getByLabel("Order", { exact: true }).and(page.locator('[aria-valuetext="in visit order"]')).waitFor();
    await slideTo(page, "Order", "by position");
    await page.close();
  }, 120_000);

  test("Explore reads a text, and shows the package's own attention weights", async () => {
    const text = "a whale, a whale";
    const page = await site.page("explore");
    await page.getByLabel("Text", { exact: true }).fill(text);
    await page.getByLabel(/^Chosen byte/).fill("12");
    await page.getByLabel("Head", { exact: true }).selectOption("layer 2, head 3: hash(8)");
    const says = page.getByText(/at 13 sees/);
    await says.waitFor();
    const [, count, best] = /sees (\d+) of 13, most of all “(.)” at/.exec(await says.innerText())!;

    const file = await decodeSafetensors(readFileSync(join(folder, "model.safetensors")), "model");
    const { parameters } = await decodeModel(file, device);
    const tokens = Int32Array.from(new TextEncoder().encode(text));
    const model = new Gpt(parameters, { batch: 1, context: tokens.length });
    await model.evaluate({ tokens, targets: tokens }, { draw: { seed: 1, index: 0 } });
    const { weights, T } = await model.attentionWeights(1);
    const row = [...weights.subarray((2 * T + 12) * T, (2 * T + 13) * T)];
    expect(Number(count)).toBe(row.filter((weight) => weight > 0).length);
    expect(best).toBe(text[row.indexOf(Math.max(...row))]);

    await page.getByLabel("The model may see").selectOption("every earlier byte");
    await page.getByText("sees 13 of 13").waitFor();
    await page.getByLabel("Pattern", { exact: true }).selectOption("Stripes");
    await page.getByLabel("The model may see").selectOption("the pattern above");
    await page.getByText('A model\'s heads know no pattern "Stripes"').waitFor();
    await page.close();
  }, 120_000);

  test("Measure times dense and sparse on WebGPU and WASM; the result is copied as JSON, and a link opens it", async () => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const page = await site.page("measure");
    await page.getByText("yes: f32 arithmetic").waitFor();
    await page
      .getByText(/^no: the GPU or the browser lacks shader-f16/)
      .first()
      .waitFor();
    await page.getByLabel("WebGPU", { exact: true }).check();
    await page.getByLabel("WebGPU's tier").selectOption("f32 arithmetic");
    await page.getByLabel("Sparse pattern").selectOption("Window of 64");
    await slideTo(page, "Heads", "1");
    await slideTo(page, "Head dimension", "16");
    await slideTo(page, "Up to", "256 tokens");
    await slideTo(page, "Longest step", "1 s");
    await page.getByRole("button", { name: "Measure" }).click();
    await page.getByText(/WASM at 256 tokens: window\(64\) takes/).waitFor({ timeout: 200_000 });
    await page.getByRole("button", { name: "Measure" }).and(page.locator(":enabled")).waitFor();
    expect(await page.locator(".chart circle").count()).toBeGreaterThanOrEqual(4);

    await page.getByRole("button", { name: "Copy as JSON" }).click();
    await page.getByText("The result was copied as JSON.").waitFor();
    const result: MeasurementResult = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    expect(result.devices.map((one) => one.device)).toEqual(["webgpu", "cpu"]);
    const settings = { H: 1, D: 16, longest: 256, sparse: "window(64)", limitMs: 1000 };
    expect(result.settings).toEqual(settings);
    const own: Point[] = [];
    await measureGrowing(device, settings, { onPoint: (point) => own.push(point), onProgress: () => {} });
    for (const { points } of result.devices) {
      expect(points.map((point) => point.pattern)).toEqual(["dense", "window(64)"]);
      for (const [i, point] of points.entries()) {
        expect(point.visibleShare).toBe(own[i]!.visibleShare);
        expect(point.worstDifference).toBeLessThan(1e-5);
        expect(Math.min(point.forwardMs, point.backwardMs)).toBeGreaterThan(0);
      }
    }

    await page.getByRole("button", { name: "Copy a link" }).click();
    await page.getByText("A link to this result was copied.").waitFor();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    const sentence = await page.locator(".says").innerText();
    await page.close();
    const other = await site.page(link.split("#/")[1]!);
    await other.getByText("From a link:").waitFor();
    expect(await other.locator(".says").innerText()).toBe(sentence);
    await other.close();
    const broken = await site.page("measure?result=abc");
    await broken.getByText("The link holds no measurement.").waitFor();
    await slideTo(broken, "Up to", "64k tokens");
    await broken.getByLabel("WebGPU", { exact: true }).uncheck();
    await broken.getByLabel(/^WASM/).uncheck();
    await broken.getByRole("button", { name: "Measure" }).click();
    await broken.getByText("Nothing is chosen.").waitFor();
    await broken.getByLabel(/^WASM/).check();
    await broken.getByRole("button", { name: "Measure" }).click();
    await broken.locator(".chart circle").first().waitFor();
    await broken.getByRole("button", { name: "Stop" }).click();
    await broken.getByText("Stopped. What was measured so far is shown.").waitFor();
    await broken.close();
  }, 240_000);

  test("Train: losses fall, a reload resumes to the losses of a run that never stopped, scfa sample reads the weights", async () => {
    const whale = "The whale swam. The captain saw the whale swim, and the ship sailed on. ".repeat(40);
    let page = await site.page("train");
    const fileInput = () => page.locator("input[type=file]");
    await fileInput().setInputFiles({
      name: "photo.png",
      mimeType: "image/png",
      buffer: Buffer.from([137, 80, 78, 71, 0, 255]),
    });
    await page.getByText("photo.png is not a text file.").waitFor();
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByText("There is no text yet.").waitFor();
    await page.getByLabel("Text to learn from").fill("pasted");
    await page.getByText("6 characters").waitFor();
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByText("There are only 6 bytes of text.").waitFor();
    await page.getByRole("button", { name: "Use Moby-Dick" }).click();
    await page.getByText("Moby-Dick: 1,204,997 bytes").waitFor();
    await drop(page, ".drop", { name: "whale.txt", text: whale });
    await page.getByText("whale.txt: 2,880 bytes").waitFor();
    await page.getByLabel("Models", { exact: true }).selectOption("Tiny: 1 layer of 64");
    await slideTo(page, "Context", "128 bytes");
    await page.getByLabel("The sparse one sees").selectOption("hash, 16 balanced buckets");
    await slideTo(page, "Learning rate", "0.005");
    await page.getByLabel("Device", { exact: true }).selectOption("WASM");
    await page.getByRole("button", { name: "Start" }).click();
    await stepsReach(page, 20);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText(/^Kept in this browser/).waitFor();
    const before = await laneFacts(page);
    expect(Math.max(before.dense.loss, before.sparse.loss)).toBeLessThan(4.5);
    await page.getByText("steps", { exact: true }).click();
    await page.getByText("loss, nats a byte").waitFor();
    await page.close();

    page = await site.page("train");
    await page.getByText("A run is kept in this browser,").waitFor();
    expect(await laneFacts(page)).toEqual(before);
    await page.getByRole("button", { name: "Resume" }).click();
    await stepsReach(page, before.dense.steps + 15);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText(/^Kept in this browser/).waitFor();
    await page.getByRole("button", { name: "Resume" }).waitFor();
    const resumed = await keptLosses(page);

    await page.getByLabel("Begin their writing with").fill("The whale");
    await page.getByRole("button", { name: "Let them write" }).click();
    const written = page.getByLabel("What the sparse model writes");
    await page.waitForFunction(() => document.querySelectorAll(".writing")[1]!.textContent!.length > 100);
    expect(await written.innerText()).toMatch(/^The whale/);
    const downloading = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download the weights of the sparse model" }).click();
    const path = join(folder, "downloaded.safetensors");
    await (await downloading).saveAs(path);
    const flags = ["--prompt", "The whale", "--count", "20", "--device", "cpu"];
    const sampled = execFileSync(process.execPath, ["dist/cli/main.js", "sample", path, ...flags], {
      encoding: "utf8",
    });
    expect(sampled).toMatch(/^The whale/);

    await page.getByRole("button", { name: "New run" }).click();
    await page.getByRole("button", { name: "Start" }).click();
    await stepsReach(page, before.dense.steps + 8);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText(/^Kept in this browser/).waitFor();
    const unbroken = await keptLosses(page);
    const settings: TrainSettings = { size: "tiny", T: 128, sparse: "balanced", learningRate: 0.005, device: "cpu" };
    for (const name of ["dense", "sparse"] as const) {
      const both = Math.min(resumed[name].length, unbroken[name].length);
      expect(both).toBeGreaterThan(before[name].steps);
      expect(resumed[name].slice(0, both)).toEqual(unbroken[name].slice(0, both));
      expect(mean(resumed[name].slice(-10))).toBeLessThan(before[name].loss);
      // Here, in Node; another build of the kernels rounds otherwise, which may tip a vector into another bucket.
      const digits = name === "dense" ? 3 : 1;
      const text = Buffer.from(whale);
      const lane = new Lane(await openDevice("cpu", { threads: 1 }), { name, settings, text, state: null });
      await lane.warmUp();
      for (const loss of resumed[name].slice(0, 10)) expect((await lane.step()).loss).toBeCloseTo(loss, digits);
      lane.dispose();
    }
    await page.getByRole("button", { name: "New run" }).click();
    await page.getByRole("button", { name: "Start" }).waitFor();
    await page.reload();
    await page.getByRole("button", { name: "Start" }).waitFor();
    await page.close();
  }, 180_000);

  test("has no fault that axe knows for people who use no mouse or no eyes, in light and dark, and fits a phone", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      for (const name of pages) {
        const page = await site.page(name, {
          before: (made) => made.emulateMedia({ colorScheme, reducedMotion: "reduce" }),
        });
        await page.setViewportSize({ width: 360, height: 740 });
        await page.locator("h1").waitFor();
        if (name === "explore") await page.getByText(/at \d+ sees/).waitFor();
        await page.evaluate(axe.source);
        const found = await page.evaluate(async () => {
          const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run();
          return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0]!.html}`);
        });
        expect(found).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
        await page.close();
      }
    }
  }, 120_000);

  test("is used by keyboard: the skip link, the pages, the theme, a slider", async () => {
    const page = await site.page("explore");
    await page.locator("h1").waitFor();
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement!.textContent)).toBe("Skip to the page");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement!.tagName)).toBe("MAIN");
    await page.getByRole("link", { name: "Measure" }).focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(
      () => document.activeElement?.textContent === "Measure" && document.activeElement.tagName === "H1",
    );
    expect(await page.title()).toBe("Measure - scfa playground");
    await page.getByRole("radio", { name: "Auto" }).focus();
    await page.keyboard.press("ArrowLeft");
    expect(await page.evaluate(() => document.documentElement.dataset["theme"])).toBe("dark");
    await page.reload();
    expect(await page.evaluate(() => getComputedStyle(document.body).colorScheme)).toBe("dark");
    await page.getByText("Light", { exact: true }).click();
    expect(await page.evaluate(() => getComputedStyle(document.body).colorScheme)).toBe("light");
    await page.getByRole("radio", { name: "Auto" }).check({ force: true });
    await page.getByLabel("Heads").focus();
    await page.keyboard.press("ArrowRight");
    expect(await page.getByLabel("Heads").getAttribute("aria-valuetext")).toBe("8");
    await page.close();
  }, 60_000);

  test("works on a host without the headers, in a browser without WebGPU, built without a model, and says so", async () => {
    const bare = await buildSite({ modelSteps: null });
    const withoutGpu = await openChromium({ gpu: false });
    const plain = await Site.open(bare, withoutGpu, { isolated: false });
    const page = await plain.page("explore");
    await page.getByText("The trained model is missing:").waitFor();
    await page.getByText("4,285 of dense attention's").waitFor();
    await page.getByText("This browser offers no WebGPU").waitFor();
    await page.getByText(/WASM: one thread, because this page was served without the headers/).waitFor();
    await page.getByRole("link", { name: "Train" }).click();
    await page.getByRole("button", { name: "Use Moby-Dick" }).click();
    await page.getByText("The novel is missing").waitFor();
    await page.getByRole("link", { name: "Measure" }).click();
    await page.getByText("this browser offers no WebGPU; WASM is measured").waitFor();
    expect(await page.getByLabel("WebGPU", { exact: true }).isDisabled()).toBe(true);
    await slideTo(page, "Heads", "1");
    await slideTo(page, "Up to", "256 tokens");
    await page.getByRole("button", { name: "Measure" }).click();
    await page.getByText(/WASM at 256 tokens: hash\(16\) takes/).waitFor({ timeout: 60_000 });
    expect([...site.trouble, ...plain.trouble]).toEqual([]);
    await withoutGpu.close();
    plain.close();
  }, 120_000);

  test("all its script, kernels left out, is under 300 KB gzipped", () => {
    const assets = join(folder, "assets");
    // Those of WebGPU are texts within their device's script.
    const scripts = readdirSync(assets).filter((name) => name.endsWith(".js") && !/^(kernels|webgpu)-/.test(name));
    const bytes = scripts.reduce((sum, name) => sum + gzipSync(readFileSync(join(assets, name))).length, 0);
    expect(scripts.length).toBeGreaterThan(5);
    expect(bytes).toBeLessThan(300_000);
  });
});

/** The pairs of the picture by position that are not transparent, as "query,key". */
function drawnPairs(page: Page, T: number): Promise<string[]> {
  return page.evaluate((T) => {
    const canvas = document.querySelector("canvas")!;
    const { data, width } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    const cell = width / T;
    const pairs: string[] = [];
    for (let i = 0; i < T; i++) {
      for (let j = 0; j < T; j++) {
        const at = Math.floor((i + 0.5) * cell) * width + Math.floor((j + 0.5) * cell);
        if (data[4 * at + 3]! > 0) pairs.push(`${i},${j}`);
      }
    }
    return pairs;
  }, T);
}

/** Drops a text file, as from the desktop. */
async function drop(page: Page, onto: string, file: { name: string; text: string }): Promise<void> {
  const dataTransfer = await page.evaluateHandle(({ name, text }) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name, { type: "text/plain" }));
    return transfer;
  }, file);
  await page.dispatchEvent(onto, "drop", { dataTransfer });
}

async function stepsReach(page: Page, steps: number): Promise<void> {
  await page.waitForFunction(
    (least) => [...document.querySelectorAll('[data-fact="steps"]')].every((one) => Number(one.textContent) >= least),
    steps,
    { timeout: 90_000 },
  );
}

/** Every step's loss, as the browser keeps them. */
function keptLosses(page: Page): Promise<{ dense: number[]; sparse: number[] }> {
  return page.evaluate(async () => {
    const done = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve) => {
        request.onsuccess = () => resolve(request.result);
      });
    const database = await done(indexedDB.open("scfa-playground"));
    const { lanes } = await done(database.transaction("races").objectStore("races").get("state"));
    database.close();
    return { dense: lanes.dense.history.losses, sparse: lanes.sparse.history.losses };
  });
}

async function laneFacts(page: Page) {
  const of = async (name: string) => ({
    loss: Number(await fact(page, "loss", `[data-lane="${name}"]`)),
    steps: Number(await fact(page, "steps", `[data-lane="${name}"]`)),
  });
  return { dense: await of("dense"), sparse: await of("sparse") };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
