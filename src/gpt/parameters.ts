import type { Safetensors, TensorToWrite } from "../data/safetensors.ts";
import type { Device } from "../device/device.ts";
import { ShapeError } from "../errors.ts";
import { normalAt } from "../rng.ts";
import type { FloatType, Tensor } from "../tensor.ts";
import { headDimension, type ModelConfig } from "./config.ts";

/** One parameter: where it lies in the flat tensors, and how it begins. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Elements before it; a multiple of `ALIGNMENT`. */
  readonly offset: number;
  readonly size: number;
  readonly init: { readonly normal: number } | { readonly constant: number };
}

/** Where every parameter lies. Matrices and tables come first: they are what weight decay shrinks. */
export interface ParameterLayout {
  readonly specs: readonly ParameterSpec[];
  /** Elements of the first part, which weight decay shrinks. */
  readonly decayedSize: number;
  /** Elements of the flat tensors, gaps included; gaps hold zeros and keep them. */
  readonly size: number;
}

/** Parameters begin at multiples of this many elements, which suits the strictest device (256 bytes of 2-byte floats). */
const ALIGNMENT = 128;

/** A weight and, where the model has biases, a bias; or their gradients. */
export interface Affine {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

/**
 * Names, shapes and places of a model's parameters. Letters: V vocabulary, P context, C width, O the projection's width
 * (queries, keys and values side by side; no keys where they are the queries).
 *
 *     tokens [V,C]  positions [P,C]  norm [C]  and for each block N:
 *     blocks.N.norm1 [C]  .qkv [C,O]  .out [HD,C]  .norm2 [C]  .up [C,4C]  .down [4C,C]
 *
 * First values as in GPT-2: normal with 0.02, and 0.02 / sqrt(2 * layers) for what ends in the residual stream.
 */
export function parameterLayout(config: ModelConfig): ParameterLayout {
  const { layers, width: C, vocabulary: V, context: P } = config;
  const O = projectionWidth(config);
  const weights: Pick<ParameterSpec, "name" | "shape" | "init">[] = [];
  const rest: typeof weights = [];
  const std = { normal: 0.02 };
  const residualStd = { normal: 0.02 / Math.sqrt(2 * layers) };

  const norm = (name: string) => {
    rest.push({ name: `${name}.weight`, shape: [C], init: { constant: 1 } });
    if (config.biases) rest.push({ name: `${name}.bias`, shape: [C], init: { constant: 0 } });
  };
  const product = (name: string, shape: [number, number], init: ParameterSpec["init"]) => {
    weights.push({ name: `${name}.weight`, shape, init });
    if (config.biases) rest.push({ name: `${name}.bias`, shape: [shape[1]], init: { constant: 0 } });
  };

  weights.push({ name: "tokens", shape: [V, C], init: std });
  if (config.positions === "learned") weights.push({ name: "positions", shape: [P, C], init: std });
  for (let layer = 0; layer < layers; layer++) {
    const block = `blocks.${layer}`;
    norm(`${block}.norm1`);
    product(`${block}.qkv`, [C, O], std);
    product(`${block}.out`, [C, C], residualStd);
    norm(`${block}.norm2`);
    product(`${block}.up`, [C, 4 * C], std);
    product(`${block}.down`, [4 * C, C], residualStd);
  }
  norm("norm");

  let offset = 0;
  const place = (spec: (typeof weights)[number]): ParameterSpec => {
    const size = spec.shape.reduce((n, d) => n * d, 1);
    const placed = { ...spec, offset, size };
    offset += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    return placed;
  };
  const decayed = weights.map(place);
  const decayedSize = offset;
  return { specs: [...decayed, ...rest.map(place)], decayedSize, size: offset };
}

/** Width of the joint projection of queries, keys (unless they are the queries) and values. */
export function projectionWidth(config: ModelConfig): number {
  const D = headDimension(config);
  return config.sharedQK ? 2 * config.width : config.width + 2 * config.kvHeads * D;
}

/** Number of parameters, gaps not counted. */
export function parameterCount(layout: ParameterLayout): number {
  return layout.specs.reduce((n, spec) => n + spec.size, 0);
}

/**
 * A model's parameters on a device: float32 master values in one flat tensor, and, where the model computes in another
 * type, a copy in that type.
 */
export class ModelParameters {
  readonly layout: ParameterLayout;
  /** f32 [layout.size] */
  readonly values: Tensor;
  /** What the model reads: [layout.size] in its compute type; `values` itself where that is f32. */
  readonly computed: Tensor;

  constructor(
    readonly device: Device,
    readonly config: ModelConfig,
    readonly dtype: FloatType = device.capabilities.floatTypes[0]!,
  ) {
    this.layout = parameterLayout(config);
    this.values = device.zeros([this.layout.size]);
    this.computed = dtype === "f32" ? this.values : device.zeros([this.layout.size], dtype);
  }

  /** Sets first values, drawn from the configuration's seed: the same on every device. */
  initialize(): void {
    for (const [stream, spec] of this.layout.specs.entries()) {
      const { init } = spec;
      const data = new Float32Array(spec.size);
      if ("constant" in init) data.fill(init.constant);
      else for (let i = 0; i < data.length; i++) data[i] = init.normal * normalAt(this.config.seed, stream, i);
      viewOf(this.values, spec).write(data);
    }
    this.refresh();
  }

  /**
   * Sets the values to those of another model on the same device, of the same sizes but for the attention and for tables,
   * which may be longer there: of them the first rows are taken. So one `initialize` serves models of several contexts.
   * @throws ShapeError if a parameter is missing there or has another shape
   */
  copyFrom(other: ModelParameters): void {
    const theirs = new Map(other.layout.specs.map((spec) => [spec.name, spec]));
    for (const spec of this.layout.specs) {
      const from = theirs.get(spec.name);
      if (!from || from.size < spec.size || from.shape.slice(1).join() !== spec.shape.slice(1).join()) {
        const rule = `${spec.name} to copy has the shape [${spec.shape}], or more rows`;
        throw new ShapeError("parameters", rule, from ? `[${from.shape}]` : "nothing");
      }
      const x = other.values.view(spec.shape, { offset: from.offset });
      this.device.ops.copy({ x, out: viewOf(this.values, spec) });
    }
    this.refresh();
  }

  /** Brings the copy in the compute type up to date after `values` changed. */
  refresh(): void {
    if (this.computed !== this.values) this.device.ops.cast({ x: this.values, out: this.computed });
  }

  /** Views by name of `flat`, which may be the values, a gradient or an optimizer's moment. */
  views(flat: Tensor): (name: string) => Tensor {
    const views = new Map(this.layout.specs.map((spec) => [spec.name, viewOf(flat, spec)]));
    return (name) => views.get(name)!;
  }

  /**
   * Parameters, or their gradients or moments, for a safetensors file; read from the device one at a time.
   * @param prefix put before each name
   */
  tensorsToWrite({ flat = this.values, prefix = "" }: { flat?: Tensor; prefix?: string } = {}): TensorToWrite[] {
    return this.layout.specs.map((spec) => ({
      name: prefix + spec.name,
      dtype: "F32",
      shape: spec.shape,
      data: () => viewOf(flat, spec).read(),
    }));
  }

  /**
   * Reads what `tensorsToWrite` wrote into a flat tensor; call `refresh` if that is `values`. Nothing is written before
   * all names and shapes are checked.
   * @throws DataError if a parameter is missing or has another shape
   */
  async load(
    file: Safetensors,
    { into = this.values, prefix = "" }: { into?: Tensor; prefix?: string } = {},
  ): Promise<void> {
    for (const { name, shape } of this.layout.specs) file.entry(prefix + name, shape);
    for (const spec of this.layout.specs) viewOf(into, spec).write(await file.readF32(prefix + spec.name));
  }

  dispose(): void {
    this.values.dispose();
    this.computed.dispose();
  }
}

function viewOf(flat: Tensor, spec: ParameterSpec): Tensor {
  return flat.view(spec.shape, { offset: spec.offset });
}
