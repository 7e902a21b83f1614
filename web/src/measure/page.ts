import { Chart, type Series } from "../ui/chart.ts";
import { button } from "../ui/controls.ts";
import { fill, h } from "../ui/dom.ts";
import { tokens } from "../ui/format.ts";
import { notice, PlainError } from "../ui/messages.ts";
import { pageOf } from "../ui/page.ts";
import { connect, type Remote } from "../workers/calls.ts";
import { Controls } from "./controls.ts";
import { factsOf } from "./machine.ts";
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
import { sentenceOf, tableOf } from "./words.ts";
import type { handlers } from "./worker.ts";

type Worked = Remote<typeof handlers>;

const colors: Readonly<Record<DeviceKind, string>> = { webgpu: "var(--run1)", cpu: "var(--run2)" };

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

/** What a result begins with: when, where, and what was asked for. */
function head(settings: Settings) {
  return {
    kind: "scfa-measurement",
    version: 1,
    when: new Date().toISOString(),
    browser: navigator.userAgent,
    settings,
  } as const;
}
