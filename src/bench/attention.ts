import { attention } from "../attention.ts";
import type { Verdict } from "../conformance/case.ts";
import type { Device } from "../device/device.ts";
import { causalPairs } from "../plan.ts";
import { normalAt } from "../rng.ts";
import type { Tensor } from "../tensor.ts";
import { checkRows, type HostInputs, sampleRows } from "./check.ts";
import { type Contestant, measureInTurns, type Times } from "./measure.ts";
import { makePattern } from "./patterns.ts";
import type { Peer } from "./peer.ts";

/** Sizes of the calls to time; T is both Tq and Tk. */
export interface BenchShape {
  readonly B: number;
  readonly T: number;
  readonly H: number;
  readonly Hk: number;
  readonly D: number;
}

export interface AttentionBenchOptions {
  readonly shape: BenchShape;
  /** In the model's notation: `dense`, `hash(16)`, `drop(0.7)`, `window(256):4 hash(16):4`. */
  readonly patterns: readonly string[];
  /** Measured runs of each. */
  readonly rounds: number;
  readonly backward: boolean;
  /** A new device for each measurement of memory; `device` is the one that times are taken on. */
  readonly openDevice: () => Promise<Device>;
  readonly device: Device;
  /** Opened over the same inputs, or null. */
  readonly openPeer: (inputs: HostInputs) => Promise<Peer | null>;
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/** What was measured of one pattern at one size. */
export interface AttentionMeasurement {
  readonly T: number;
  readonly pattern: string;
  /** The whole operation: hashing or dropping, the staircase, attention. */
  readonly forward: Times;
  /** Gradients of q, k and v, given the forward's staircase. */
  readonly backward: Times | null;
  readonly visibleShare: number;
  /** 4 D floating-point operations for each visible pair, in 1e9 a second. */
  readonly forwardGflops: number;
  /** Most memory held besides inputs and outputs during forward and backward. */
  readonly extraBytes: number;
  readonly check: { readonly forward: Verdict; readonly backward?: Verdict };
}

export interface AttentionBench {
  readonly measurements: readonly AttentionMeasurement[];
  readonly peer: { readonly name: string; readonly forward: Times; readonly check: Verdict } | null;
}

/**
 * Times attention for several patterns and a peer on the same random inputs, in turns, and checks each against the
 * reference on sampled rows.
 */
export async function benchAttention(options: AttentionBenchOptions): Promise<AttentionBench> {
  const { device, shape, patterns, rounds, backward } = options;
  const host = randomInputs(shape);
  const peer = await options.openPeer(host);
  const runs = patterns.map((pattern) => new PatternRun(device, host, pattern));
  const contestants: Contestant[] = [
    ...(peer ? [{ name: peerKey, run: async () => void (await peer.run()) }] : []),
    ...runs.flatMap((run) => [
      { name: `${run.notation} forward`, run: () => run.forward() },
      ...(backward ? [{ name: `${run.notation} backward`, run: () => run.backward() }] : []),
    ]),
  ];
  const total = contestants.length * (rounds + 1) + patterns.length;
  let done = 0;
  const tick = (what: string) => options.onProgress?.(++done, total, `T ${shape.T}: ${what}`);
  try {
    const times = await measureInTurns(contestants, { rounds, onRun: tick });
    const peerOutput = peer && (await peer.run()).slice();
    const measurements: AttentionMeasurement[] = [];
    for (const run of runs) {
      tick(`checking ${run.notation}`);
      const forward = times.get(`${run.notation} forward`)!;
      const { pairs, check } = await run.check({ backward });
      const dense = shape.B * shape.H * causalPairs({ Tq: shape.T, Tk: shape.T });
      measurements.push({
        T: shape.T,
        pattern: run.notation,
        forward,
        backward: times.get(`${run.notation} backward`) ?? null,
        visibleShare: pairs / dense,
        forwardGflops: (4 * shape.D * pairs) / forward.medianMs / 1e6,
        extraBytes: await extraMemory(options, host, run.notation),
        check,
      });
    }
    const causal = (_b: number, _h: number, i: number, j: number) => j <= i;
    return {
      measurements,
      peer: peer && {
        name: peer.name,
        forward: times.get(peerKey)!,
        check: checkRows(host, causal, { o: peerOutput! }).forward,
      },
    };
  } finally {
    for (const run of runs) run.dispose();
    await peer?.close();
  }
}

const peerKey = "peer";

/** Normal inputs; the upstream gradient is zero but in the rows that are checked. */
function randomInputs({ B, T, H, Hk, D }: BenchShape): HostInputs {
  const normal = (stream: number, heads: number) =>
    Float32Array.from({ length: B * T * heads * D }, (_, i) => normalAt(1, stream, i));
  const rows = sampleRows({ Tq: T, seed: 1 });
  const dout = new Float32Array(B * T * H * D);
  for (let b = 0; b < B; b++) {
    for (const row of rows) {
      const from = (b * T + row) * H * D;
      for (let i = from; i < from + H * D; i++) dout[i] = normalAt(1, 5, i);
    }
  }
  const shape = { B, Tq: T, Tk: T, H, Hk, D };
  return { shape, rows, q: normal(2, H), k: normal(3, Hk), v: normal(4, Hk), dout };
}

/** One pattern's calls on one device. */
class PatternRun {
  readonly #q: Tensor;
  readonly #k: Tensor;
  readonly #v: Tensor;
  /** Nowhere zero, for times. */
  readonly #dout: Tensor;
  #last: { dispose(): void; backward(dout: Tensor): void } | null = null;

  constructor(
    readonly device: Device,
    readonly host: HostInputs,
    readonly notation: string,
  ) {
    const { B, Tq, Tk, H, Hk, D } = host.shape;
    this.#q = device.tensor(host.q, [B, Tq, H, D]);
    this.#k = device.tensor(host.k, [B, Tk, Hk, D]);
    this.#v = device.tensor(host.v, [B, Tk, Hk, D]);
    this.#dout = device.tensor(host.q, [B, Tq, H, D]);
  }

  /** The whole forward, its staircase kept for `backward`. */
  async forward(): Promise<void> {
    this.#last?.dispose();
    const { made, result } = this.#attend();
    await this.device.synchronize();
    this.#last = {
      backward: (dout) => disposeAll(Object.values(result.backward(dout))),
      dispose: () => {
        result.dispose();
        made.dispose();
        disposeAll([result.o, result.lse]);
      },
    };
  }

  /** The gradients of the last forward. */
  async backward(): Promise<void> {
    this.#last!.backward(this.#dout);
    await this.device.synchronize();
  }

  #attend() {
    const made = makePattern(this.notation, { q: this.#q, k: this.#k, seed: 1 });
    return { made, result: attention(this.#q, this.#k, this.#v, { pattern: made.pattern }) };
  }

  /** Runs once more, holds the outputs against the reference, and counts the visible pairs. */
  async check({ backward }: { backward: boolean }) {
    const { made, result } = this.#attend();
    const dout = this.device.tensor(this.host.dout, this.#q.shape);
    const gradients = backward ? result.backward(dout) : null;
    const mask = await made.pattern.mask(this.host.shape);
    const { plan } = await import("../plan.ts");
    const { visiblePairs } = await plan(made.pattern, this.host.shape, { verify: false });
    const outputs = {
      o: await result.o.read(),
      ...(gradients && {
        gradients: { dq: await gradients.dq.read(), dk: await gradients.dk.read(), dv: await gradients.dv.read() },
      }),
    };
    const check = checkRows(this.host, mask, outputs);
    result.dispose();
    made.dispose();
    disposeAll([result.o, result.lse, dout, ...Object.values(gradients ?? {})]);
    return { pairs: visiblePairs, check };
  }

  dispose(): void {
    this.#last?.dispose();
    disposeAll([this.#q, this.#k, this.#v, this.#dout]);
  }
}

/** Most memory that a forward and backward hold on a new device, less q, k, v, dout, o, lse, dq, dk and dv. */
async function extraMemory(options: AttentionBenchOptions, host: HostInputs, notation: string): Promise<number> {
  const device = await options.openDevice();
  try {
    const run = new PatternRun(device, host, notation);
    const inputs = device.memory.bytes;
    await run.forward();
    if (options.backward) await run.backward();
    const { B, Tq, H } = host.shape;
    const forward = 4 * (host.q.length + B * Tq * H);
    const gradients = options.backward ? 4 * (host.q.length + host.k.length + host.v.length) : 0;
    const extra = device.memory.peakBytes - inputs - forward - gradients;
    run.dispose();
    return Math.max(0, extra);
  } finally {
    device.dispose();
  }
}

function disposeAll(tensors: readonly Tensor[]): void {
  for (const tensor of tensors) tensor.dispose();
}
