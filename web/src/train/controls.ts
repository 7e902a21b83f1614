import { select, slider } from "../ui/controls.ts";
import { findAdapter, isSoftware } from "../ui/machine.ts";
import { powers } from "../ui/powers.ts";
import { type SizeName, type SparseName, sizes, sparsePatterns, type TrainSettings } from "./settings.ts";
import { shortestContext } from "./text.ts";

/** How to train: fixed once a run has begun. */
export class Controls {
  readonly #size = select<SizeName>({
    label: "Models",
    value: "small",
    choices: Object.entries(sizes).map(([value, { label }]) => ({ value: value as SizeName, label })),
  });
  readonly #T = slider({
    label: "Context",
    value: 2048,
    values: powers(shortestContext, 8192),
    format: (T) => `${T} bytes`,
  });
  readonly #sparse = select<SparseName>({
    label: "The sparse one sees",
    value: "windowHash",
    choices: Object.entries(sparsePatterns).map(([value, { label }]) => ({ value: value as SparseName, label })),
  });
  readonly #rate = slider({ label: "Learning rate", value: 0.003, values: [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01] });
  readonly #device = select<TrainSettings["device"]>({
    label: "Device",
    value: "cpu",
    choices: [
      { value: "cpu", label: "WASM" },
      { value: "webgpu", label: "WebGPU" },
    ],
  });
  readonly #all = [this.#size, this.#T, this.#sparse, this.#rate, this.#device];
  readonly elements = this.#all.map(({ element }) => element);

  constructor() {
    void findAdapter().then((adapter) => {
      if (adapter && !isSoftware(adapter)) this.#device.set("webgpu");
    });
  }

  get value(): TrainSettings {
    return {
      size: this.#size.value,
      T: this.#T.value,
      sparse: this.#sparse.value,
      learningRate: this.#rate.value,
      device: this.#device.value,
    };
  }

  set({ size, T, sparse, learningRate, device }: TrainSettings): void {
    this.#size.set(size);
    this.#T.set(T);
    this.#sparse.set(sparse);
    this.#rate.set(learningRate);
    this.#device.set(device);
  }

  disable(disabled: boolean): void {
    for (const control of this.#all) control.disable(disabled);
  }
}
