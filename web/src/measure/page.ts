import { Chart, type Series } from "../ui/chart.ts";
import { button, type Control, checkbox, select, slider } from "../ui/controls.ts";
import { fill, h } from "../ui/dom.ts";
import { cores, hasThreads } from "../ui/machine.ts";
import { notice, PlainError } from "../ui/messages.ts";
import { pageOf } from "../ui/page.ts";
import { connect, type Remote } from "../workers/calls.ts";
import {
  type DeviceKind,
  type DeviceResult,
  decodeResult,
  deviceLabels,
  encodeResult,
  type MeasurementResult,
  type Point,
  type Settings,
} from "./result.ts";
import type { GpuFacts, handlers } from "./worker.ts";

type Worked = Remote<typeof handlers>;

const colors: Readonly<Record<DeviceKind, string>> = { webgpu: "var(--run1)", cpu: "var(--run2)" };
const tierLabels = {
  f32: "f32 arithmetic",
  subgroups: "f16 tensors, subgroups",
  matrices: "subgroup matrices",
} as const;

/** Measure: dense and sparse attention, forward and backward, on this machine. */
export function measurePage(): HTMLElement {
  return new MeasurePage().element;
}

function startWorker(): Worked {
  return connect<typeof handlers>(
    new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "measure" }),
  );
}

class MeasurePage {
  readonly element: HTMLElement;
  readonly #notice = notice();
  readonly #chart = new Chart();
  readonly #says = h("p", { class: "says", "aria-live": "polite" });
  readonly #table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Times as a table" });
  readonly #gpuFacts = h("dl", { class: "list" });
  readonly #start: HTMLButtonElement;
  readonly #stop: HTMLButtonElement;
  readonly #share: readonly HTMLButtonElement[];
  readonly #settings: Controls;
  #isStopped = false;
  #worker: Worked | null = null;
  #result: MeasurementResult | null = null;

  constructor() {
    this.#settings = new Controls();
    this.#start = button("Measure", () => void this.#measure(), { class: "primary" });
    this.#stop = button("Stop", () => this.#end());
    this.#stop.disabled = true;
    this.#share = [
      button(
        "Copy as JSON",
        () => void this.#copy((result) => JSON.stringify(result, null, 2), "The result was copied as JSON."),
      ),
      button("Copy a link", () => void this.#copy(linkTo, "A link to this result was copied.")),
    ];
    this.element = pageOf(
      "Measure",
      "Attention of one sequence, forward and backward, dense and sparse in turns, for growing T: on this machine, in this browser.",
      h(
        "div",
        { class: "split" },
        h(
          "section",
          { class: "card stack controls", "aria-label": "What to measure" },
          ...this.#settings.elements,
          h("div", { class: "buttons" }, this.#start, this.#stop),
        ),
        h(
          "section",
          { class: "card", "aria-label": "Result" },
          this.#notice.element,
          this.#chart.element,
          this.#says,
          h("div", { class: "buttons row" }, ...this.#share),
          this.#table,
        ),
      ),
      h(
        "section",
        { class: "card", "aria-labelledby": "machine-title" },
        h("h2", { id: "machine-title" }, "This machine"),
        this.#gpuFacts,
      ),
    );
    this.#show(null);
    this.#readLink();
    addEventListener("hashchange", () => this.#readLink());
    void this.#survey();
  }

  /** A result that the address holds, from somebody's link. */
  #readLink(): void {
    const text = /^#\/measure\?result=(.+)$/.exec(location.hash)?.[1];
    if (text === undefined) return;
    try {
      const result = decodeResult(text);
      this.#show(result);
      this.#notice.say(h("strong", {}, "From a link: "), `measured ${result.when.slice(0, 10)} in ${result.browser}`);
    } catch (error) {
      this.#notice.fail(error);
    }
  }

  /** Tiers and limits; and WebGPU cannot be chosen where there is none. */
  async #survey(): Promise<void> {
    const worker = startWorker();
    try {
      const gpu = await worker.call("gpu", undefined);
      this.#settings.offerGpu(gpu);
      fill(this.#gpuFacts, ...factsOf(gpu));
    } catch (error) {
      this.#notice.fail(error);
    } finally {
      worker.close();
    }
  }

  async #measure(): Promise<void> {
    const kinds = this.#settings.kinds;
    if (kinds.length === 0) {
      this.#notice.fail(new PlainError("Nothing is chosen.", "Tick WebGPU or WASM."));
      return;
    }
    const settings = this.#settings.value;
    const devices: DeviceResult[] = [];
    const update = () => this.#show({ ...head(settings), devices: structuredClone(devices) });
    this.#running(true);
    update();
    try {
      for (const kind of kinds) {
        if (!this.#isStopped) await this.#measureOn(kind, settings, devices, update);
      }
      if (this.#isStopped) this.#notice.say("Stopped. What was measured so far is shown.");
      else this.#notice.clear();
    } catch (error) {
      if (this.#isStopped) this.#notice.say("Stopped. What was measured so far is shown.");
      else this.#notice.fail(error);
    } finally {
      this.#running(false);
    }
  }

  async #measureOn(kind: DeviceKind, settings: Settings, devices: DeviceResult[], update: () => void): Promise<void> {
    const points: Point[] = [];
    const index = devices.length;
    this.#notice.say(`${deviceLabels[kind]}: opening, and compiling kernels ...`);
    this.#worker = startWorker();
    try {
      await this.#worker.call(
        "measure",
        { kind, tier: this.#settings.tier, settings },
        {
          onEvent: (event) => {
            if (event.type === "opened") devices[index] = { device: kind, description: event.description, points };
            else if (event.type === "progress")
              this.#notice.say(`${deviceLabels[kind]}: measuring at ${event.what} ...`);
            else points.push(event.point);
            update();
          },
        },
      );
    } finally {
      this.#worker.close();
      this.#worker = null;
    }
  }

  /** Ends the worker, in the middle of whatever it does. */
  #end(): void {
    this.#isStopped = true;
    this.#worker?.close();
  }

  #running(isRunning: boolean): void {
    if (isRunning) this.#isStopped = false;
    this.#start.disabled = isRunning;
    this.#stop.disabled = !isRunning;
    this.#settings.disable(isRunning);
  }

  #show(result: MeasurementResult | null): void {
    this.#result = result;
    const devices = result?.devices ?? [];
    const hasPoints = devices.some(({ points }) => points.length > 0);
    for (const one of this.#share) one.disabled = !hasPoints;
    const series = devices.flatMap(seriesOf);
    const sentences = devices.flatMap(({ device, points }) => sentenceOf(device, points));
    this.#chart.show({
      label: `Milliseconds against tokens. ${sentences.join(" ") || "Nothing is measured yet."}`,
      x: { title: "tokens (T)", isLog: true, base: 2, format: tokens },
      y: { title: "forward + backward, milliseconds", isLog: true, format: (value) => value.toLocaleString("en") },
      series,
    });
    fill(this.#says, sentences.join(" ") || "Press Measure. Each point is the median of a few runs in turns.");
    fill(this.#table, hasPoints && tableOf(devices));
    this.#table.hidden = !hasPoints;
  }

  async #copy(render: (result: MeasurementResult) => string, done: string): Promise<void> {
    const text = render(this.#result!);
    try {
      await navigator.clipboard.writeText(text);
      this.#notice.say(done);
    } catch {
      const field = h("textarea", { rows: 4, readonly: true, "aria-label": "The result to copy" });
      field.value = text;
      this.#notice.say("This browser does not let the page copy. Here it is, to copy by hand:", field);
      field.select();
    }
  }
}

/** What can be set. */
class Controls {
  readonly #webgpu = checkbox({ label: "WebGPU", value: false });
  readonly #wasm = checkbox({ label: hasThreads ? `WASM, ${cores} threads` : "WASM, one thread", value: true });
  readonly #tier = select<"auto" | "f32" | "subgroups" | "matrices">({
    label: "WebGPU's tier",
    value: "auto",
    choices: [
      { value: "auto", label: "the highest it has" },
      ...(["f32", "subgroups", "matrices"] as const).map((value) => ({ value, label: tierLabels[value] })),
    ],
  });
  readonly #sparse = select({
    label: "Sparse pattern",
    value: "hash(16)",
    choices: [
      ...[4, 8, 16, 32, 64].map((n) => ({ value: `hash(${n})`, label: `Hash, ${n} buckets` })),
      ...[64, 256].map((n) => ({ value: `window(${n})`, label: `Window of ${n}` })),
    ],
  });
  readonly #heads = slider({ label: "Heads", value: 4, values: [1, 2, 4, 8, 12] });
  readonly #dimension = slider({ label: "Head dimension", value: 64, values: [16, 32, 64, 128] });
  readonly #longest = slider({
    label: "Up to",
    value: 8192,
    values: [256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536],
    format: (T) => `${tokens(T)} tokens`,
  });
  readonly #limit = slider({ label: "Longest step", value: 4, values: [1, 2, 4, 8, 16, 30], format: (s) => `${s} s` });

  readonly #all: readonly Pick<Control<never>, "element" | "disable">[] = [
    this.#webgpu,
    this.#wasm,
    this.#tier,
    this.#sparse,
    this.#heads,
    this.#dimension,
    this.#longest,
    this.#limit,
  ];
  #hasGpu = false;

  get elements(): HTMLElement[] {
    return [
      h("fieldset", { class: "stack" }, h("legend", {}, "Devices"), this.#webgpu.element, this.#wasm.element),
      ...this.#all.slice(2).map(({ element }) => element),
    ];
  }

  get kinds(): DeviceKind[] {
    return [...(this.#webgpu.value ? (["webgpu"] as const) : []), ...(this.#wasm.value ? (["cpu"] as const) : [])];
  }

  get tier() {
    return this.#tier.value === "auto" ? null : this.#tier.value;
  }

  get value(): Settings {
    return {
      H: this.#heads.value,
      D: this.#dimension.value,
      longest: this.#longest.value,
      sparse: this.#sparse.value,
      limitMs: 1000 * this.#limit.value,
    };
  }

  /** Lets WebGPU be chosen where there is a GPU; one in hardware is chosen at once. */
  offerGpu(gpu: GpuFacts | null): void {
    this.#hasGpu = gpu !== null;
    this.#webgpu.set(gpu !== null && !gpu.isSoftware);
    this.disable(false);
  }

  disable(disabled: boolean): void {
    for (const control of this.#all) control.disable(disabled);
    if (this.#hasGpu) return;
    this.#webgpu.disable(true);
    this.#tier.disable(true);
  }
}

function head(settings: Settings) {
  return {
    kind: "scfa-measurement",
    version: 1,
    when: new Date().toISOString(),
    browser: navigator.userAgent,
    settings,
  } as const;
}

function linkTo(result: MeasurementResult): string {
  return `${location.href.split("#")[0]}#/measure?result=${encodeResult(result)}`;
}

function seriesOf({ device, points }: DeviceResult): Series[] {
  return [...new Set(points.map((point) => point.pattern))].map((pattern) => ({
    name: `${deviceLabels[device]}, ${pattern}`,
    color: colors[device],
    isDashed: pattern === "dense",
    hasMarks: true,
    points: points
      .filter((point) => point.pattern === pattern)
      .map((point) => [point.T, point.forwardMs + point.backwardMs] as const),
  }));
}

/** What it comes to at the longest T where both were measured. */
function sentenceOf(device: DeviceKind, points: readonly Point[]): string[] {
  const sum = (point: Point) => point.forwardMs + point.backwardMs;
  const dense = points.filter((point) => point.pattern === "dense").at(-1);
  const sparse = points.find((point) => point.pattern !== "dense" && point.T === dense?.T);
  if (!dense || !sparse) return [];
  const share = (100 * sparse.visibleShare).toFixed(1);
  return [
    `${deviceLabels[device]} at ${tokens(dense.T)} tokens: ${sparse.pattern} takes ${milliseconds(sum(sparse))}, dense ${milliseconds(sum(dense))}: ${(sum(dense) / sum(sparse)).toFixed(1)} times as fast, with ${share} % of the pairs.`,
  ];
}

function tableOf(devices: readonly DeviceResult[]): HTMLElement {
  const rows = devices.flatMap(({ device, points }) => points.map((point) => ({ device, point, all: points })));
  const cells = ({ device, point, all }: (typeof rows)[number]) => {
    const dense = all.find(({ T, pattern }) => T === point.T && pattern === "dense");
    const total = point.forwardMs + point.backwardMs;
    const ratio = dense && point !== dense ? `${((dense.forwardMs + dense.backwardMs) / total).toFixed(1)}×` : "-";
    return [
      point.pattern,
      tokens(point.T),
      milliseconds(point.forwardMs),
      milliseconds(point.backwardMs),
      ratio,
      `${(100 * point.visibleShare).toFixed(1)} %`,
      point.dtype,
      point.worstDifference.toExponential(1),
    ].map((text, i) => (i === 0 ? h("td", {}, `${deviceLabels[device]}, ${text}`) : h("td", {}, text)));
  };
  const heads = ["", "T", "forward", "backward", "speed-up", "pairs", "type", "difference from float64"];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...heads.map((text) => (text === "" ? h("td", {}) : h("th", { scope: "col" }, text))))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...cells(row)))),
  );
}

function factsOf(gpu: GpuFacts | null): HTMLElement[] {
  const rows: [string, string][] = [];
  if (gpu) {
    rows.push(["GPU", gpu.name]);
    for (const { tier, lacks } of gpu.tiers) {
      rows.push([
        `Tier ${tier}`,
        lacks.length === 0 ? `yes: ${tierLabels[tier]}` : `no: the GPU or the browser lacks ${lacks.join(", ")}`,
      ]);
    }
    for (const [name, value] of Object.entries(gpu.limits)) rows.push([limitLabels[name] ?? name, limit(name, value)]);
  } else rows.push(["GPU", "this browser offers no WebGPU; WASM is measured"]);
  rows.push(["WASM", hasThreads ? `${cores} threads` : "one thread: the page is not cross-origin isolated"]);
  return rows.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
}

const limitLabels: Readonly<Record<string, string>> = {
  maxBufferSize: "Largest buffer",
  maxStorageBufferBindingSize: "Largest binding",
  maxStorageBuffersPerShaderStage: "Buffers of a kernel",
  maxComputeWorkgroupStorageSize: "Workgroup memory",
  maxComputeInvocationsPerWorkgroup: "Threads of a workgroup",
};

function limit(name: string, value: number): string {
  if (/Size$/.test(name) && value >= 1024) {
    return value >= 2 ** 20
      ? `${(value / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 0 })} MiB`
      : `${value / 1024} KiB`;
  }
  return value.toLocaleString("en");
}

function tokens(T: number): string {
  return T >= 1024 ? `${T / 1024}k` : String(T);
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
}
