import { type Control, checkbox, select, slider } from "../ui/controls.ts";
import { h } from "../ui/dom.ts";
import { tokens } from "../ui/format.ts";
import { cores, hasThreads } from "../ui/machine.ts";
import { powers } from "../ui/powers.ts";
import { type GpuFacts, tierLabels } from "./machine.ts";
import type { DeviceKind, Settings } from "./result.ts";

/** What can be set. */
export class Controls {
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
    values: powers(256, 65536),
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
