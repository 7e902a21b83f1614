import type { Device } from "./device/device.ts";
import { DTypeError, ShapeError, UnsupportedError } from "./errors.ts";
import { type DevicePart, lowerPattern } from "./pattern/lower.ts";
import type { AttentionShape, Pattern } from "./pattern/pattern.ts";
import type { RuleSize } from "./staircase/build.ts";
import type { Staircase, StaircaseRule } from "./staircase/staircase.ts";
import { allocateStaircase, disposeStaircase, isDataDependent, uploadStaircases } from "./staircase/tensors.ts";
import type { DType, Tensor } from "./tensor.ts";

export interface AttentionOptions {
  /** What each query sees; see `pattern`. */
  readonly pattern: Pattern;
  /** What scores are multiplied by; default 1 / sqrt(D). */
  readonly scale?: number;
  /** Whether `backward` will be called; `false` gives the staircase back at once. Default true. */
  readonly gradients?: boolean;
}

export interface AttentionResult {
  /** [B, Tq, H, D], dtype of q; zero where a query sees no key. Yours to dispose. */
  readonly o: Tensor;
  /** f32 [B, H, Tq]: natural log of the sum of exp of the scaled scores; -Infinity where a query sees no key. Yours. */
  readonly lse: Tensor;
  /**
   * Gradients of a loss whose gradient with respect to o is `dout`; q, k, v, o and lse must still hold their values.
   * @param dout [B, Tq, H, D], dtype of q
   * @returns dq [B, Tq, H, D]; dk, dv [B, Tk, Hk, D]; all new, dtype of q
   * @throws ShapeError, DTypeError; UnsupportedError after `dispose` or with `gradients: false`
   */
  backward(dout: Tensor): { dq: Tensor; dk: Tensor; dv: Tensor };
  /** Gives back the staircase, which `backward` needs; o and lse stay. */
  dispose(): void;
}

/**
 * Sparse causal attention: softmax(scale * q k^T over the visible keys) v.
 * @param q [B, Tq, H, D], f32 | f16 | bf16, any view with a contiguous last dimension
 * @param k [B, Tk, Hk, D], dtype of q; Hk divides H; query head h reads key head floor(h * Hk / H)
 * @param v [B, Tk, Hk, D], dtype of q
 * @throws ShapeError, DTypeError, UnsupportedError
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { pattern, scale, gradients = true }: AttentionOptions,
): AttentionResult {
  const { shape, D } = validate(q, k, v);
  const { device } = q;
  const prepared = new PreparedAttention(device, { shape, pattern, scale: scale ?? 1 / Math.sqrt(D) });
  const o = device.empty(q.shape, q.dtype);
  const lse = device.empty([shape.B, shape.H, shape.Tq]);
  disposeOnError([prepared, o, lse], () => prepared.forward({ q, k, v, o, lse }));
  if (!gradients) prepared.dispose();
  return {
    o,
    lse,
    backward(dout) {
      requireLike("dout", dout, q);
      const [dq, dk, dv] = [q, k, v].map((x) => device.empty(x.shape, x.dtype));
      disposeOnError([dq, dk, dv], () => prepared.backward({ q, k, v, o, lse, dout, dq, dk, dv }));
      return { dq, dk, dv };
    },
    dispose: () => prepared.dispose(),
  };
}

/** What a forward reads (q, k, v) and writes (o, lse); shapes as in `attention`, strided. */
export interface ForwardTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly o: Tensor;
  readonly lse: Tensor;
}

/** What a backward reads (q, k, v, o, lse, dout) and writes (dq, dk, dv, delta). */
export interface BackwardTensors extends ForwardTensors {
  readonly dout: Tensor;
  /** Every row is written. */
  readonly dq: Tensor;
  readonly dk: Tensor;
  readonly dv: Tensor;
  /** Scratch, f32 [B, H, Tq], for unions; made once and kept if left out. */
  readonly delta?: Tensor;
}

/**
 * Attention of one shape and pattern, planned once and run many times: what `attention` does, but a step allocates no
 * device memory. The staircases are made on construction; when the tensors that the pattern holds (buckets, masks, ids)
 * have new values, `build` makes them again in place.
 */
export class PreparedAttention {
  readonly shape: AttentionShape;
  readonly scale: number;
  readonly #parts: readonly PreparedPart[];
  #delta: Tensor | undefined;
  #disposed = false;

  /**
   * @param shape sizes of every call
   * @param scale what scores are multiplied by, usually 1 / sqrt(D)
   * @throws ShapeError if the pattern does not fit the shape; UnsupportedError if its tensors live on another device
   */
  constructor(
    readonly device: Device,
    { shape, pattern, scale }: { shape: AttentionShape; pattern: Pattern; scale: number },
  ) {
    this.shape = shape;
    this.scale = scale;
    this.#parts = lowerPattern(pattern, shape).map((part) => preparePart(device, part, shape));
  }

  /** Makes the staircases again from what the pattern's tensors hold now, in order with the work enqueued so far. */
  build(): void {
    this.#mustBeAlive();
    for (const { rule, staircase } of this.#parts) {
      if (rule && isDataDependent(rule)) this.device.ops.staircase({ rule, out: staircase });
    }
  }

  /** Writes every row of o and lse. */
  forward(tensors: ForwardTensors): void {
    this.#mustBeAlive();
    for (const { part, staircase } of this.#parts) {
      const { scale } = this;
      const merge = part.addsToQueries;
      this.device.ops.attentionForward({ ...headsOf(part, tensors), staircase, scale, merge });
    }
  }

  /** Writes every row of dq, dk and dv. */
  backward({ delta: scratch, ...tensors }: BackwardTensors): void {
    this.#mustBeAlive();
    const { ops } = this.device;
    // Where parts share queries, delta is of all their parts together; else each part may as well make its own.
    const isUnion = this.#parts.some(({ part }) => part.addsToQueries);
    const delta = isUnion ? (scratch ?? this.#scratch()) : null;
    if (delta) ops.attentionDelta({ o: tensors.o, dout: tensors.dout, delta });
    for (const { part, staircase } of this.#parts) {
      ops.attentionBackward({
        ...headsOf(part, tensors),
        staircase,
        scale: this.scale,
        delta: delta && queryHeads(part, delta, 1),
        dout: queryHeads(part, tensors.dout, 2),
        accumulateQ: part.addsToQueries,
        accumulateKV: part.addsToKeys,
        dq: queryHeads(part, tensors.dq, 2),
        dk: keyHeads(part, tensors.dk),
        dv: keyHeads(part, tensors.dv),
      });
    }
  }

  /** How many (query, key) pairs the staircases show as built last, over all heads and batch entries; waits for the device. */
  async visiblePairs(): Promise<number> {
    this.#mustBeAlive();
    let pairs = 0;
    for (const { part, staircase } of this.#parts) {
      const [lo, hi] = await Promise.all([staircase.lo.read(), staircase.hi.read()]);
      const heads = (this.shape.B * part.headCount * this.shape.Tq) / lo.length;
      pairs += heads * hi.reduce((sum, end, n) => sum + end - lo[n], 0);
    }
    return pairs;
  }

  /** Gives the staircases and the scratch back. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { staircase } of this.#parts) disposeStaircase(staircase);
    this.#delta?.dispose();
  }

  #scratch(): Tensor {
    this.#mustBeAlive();
    const { B, H, Tq } = this.shape;
    this.#delta ??= this.device.empty([B, H, Tq]);
    return this.#delta;
  }

  #mustBeAlive(): void {
    if (!this.#disposed) return;
    throw new UnsupportedError(
      "attention",
      "the staircase is still held",
      "one given back",
      "Do not dispose it before.",
    );
  }
}

interface PreparedPart {
  readonly part: DevicePart;
  readonly staircase: Staircase;
  /** null for staircases made on the host. */
  readonly rule: StaircaseRule | null;
}

function preparePart(device: Device, part: DevicePart, { B, Tq, Tk }: AttentionShape): PreparedPart {
  const size: RuleSize = { B, Tq, Tk, H: part.headCount, Hk: part.keyHeadCount };
  if ("host" in part.staircase) {
    return { part, staircase: uploadStaircases(device, part.staircase.host, size), rule: null };
  }
  const { rule } = part.staircase;
  for (const tensor of [rule.documents, rule.qGroups, rule.kGroups]) {
    if (tensor) requireDevice(device, "the pattern's tensors", tensor);
  }
  const staircase = allocateStaircase(device, rule, size);
  device.ops.staircase({ rule, out: staircase });
  return { part, staircase, rule };
}

function headsOf(part: DevicePart, { q, k, v, o, lse }: ForwardTensors): ForwardTensors {
  return {
    q: queryHeads(part, q, 2),
    k: keyHeads(part, k),
    v: keyHeads(part, v),
    o: queryHeads(part, o, 2),
    lse: queryHeads(part, lse, 1),
  };
}

function queryHeads({ firstHead, headCount }: DevicePart, tensor: Tensor, axis: 1 | 2): Tensor {
  return headCount === tensor.shape[axis] ? tensor : tensor.slice(axis, firstHead, headCount);
}

function keyHeads({ firstKeyHead, keyHeadCount }: DevicePart, tensor: Tensor): Tensor {
  return keyHeadCount === tensor.shape[2] ? tensor : tensor.slice(2, firstKeyHead, keyHeadCount);
}

function disposeOnError(owned: readonly { dispose(): void }[], run: () => void): void {
  try {
    run();
  } catch (error) {
    for (const thing of owned) thing.dispose();
    throw error;
  }
}

function validate(q: Tensor, k: Tensor, v: Tensor): { shape: AttentionShape; D: number } {
  for (const [name, x] of Object.entries({ q, k, v })) {
    if (x.shape.length !== 4)
      throw new ShapeError("attention", `${name} is [B, T, heads, D]`, `[${x.shape.join(", ")}]`);
    if ((x.dtype as DType) === "i32") throw new DTypeError("attention", `${name} has a float type`, x.dtype);
    requireDevice(q.device, name, x);
  }
  requireLike("v", v, k);
  const [B, Tq, H, D] = q.shape;
  const [Bk, Tk, Hk, Dk] = k.shape;
  if (k.dtype !== q.dtype) throw new DTypeError("attention", "q, k and v have one dtype", `${q.dtype} and ${k.dtype}`);
  if (B !== Bk) throw new ShapeError("attention", "q and k have one batch size B", `${B} and ${Bk}`);
  if (D !== Dk) throw new ShapeError("attention", "q and k have one head dimension D", `${D} and ${Dk}`);
  if (Hk === 0 || H === 0 || H % Hk !== 0) {
    throw new ShapeError("attention", "H must be a multiple of Hk", `H=${H}, Hk=${Hk}`);
  }
  if (D < 16 || D > 256 || D % 8 !== 0) {
    throw new UnsupportedError("attention", "the head dimension D is 16 to 256 in steps of 8", `${D}`);
  }
  return { shape: { B, Tq, Tk, H, Hk }, D };
}

function requireLike(name: string, x: Tensor, like: Tensor): void {
  if (x.shape.join() !== like.shape.join()) {
    const rule = `${name} must be [${like.shape.join(", ")}]`;
    throw new ShapeError("attention", rule, `[${x.shape.join(", ")}]`);
  }
  if (x.dtype !== like.dtype) throw new DTypeError("attention", `${name} must be ${like.dtype}`, x.dtype);
}

function requireDevice(device: Device, name: string, x: Tensor<DType>): void {
  if (x.device === device) return;
  throw new UnsupportedError(
    "attention",
    `${name} must be on one device with q`,
    `${x.device.description} and ${device.description}`,
    "Read it there and make it anew here.",
  );
}
