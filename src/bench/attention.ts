import type { Verdict } from "../conformance/case.ts";
import type { Device } from "../device/device.ts";
import { ShapeError } from "../errors.ts";
import { causalPairs } from "../plan.ts";
import type { FloatType } from "../tensor.ts";
import { checkSample, drawSample, type ReadHead } from "./check.ts";
import { BenchInputs } from "./inputs.ts";
import { type Contestant, measureInTurns, type Times, timeAwake, timeInARow } from "./measure.ts";
import { BenchTensors, PatternRun } from "./patternRun.ts";
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
  /** Type of q, k and v; the device's first choice if left out. */
  readonly dtype?: FloatType | undefined;
  /** In the model's notation: `dense`, `hash(16)`, `drop(0.7)`, `window(256):4 hash(16):4`. */
  readonly patterns: readonly string[];
  /** Whether keys share their queries' buckets, as in models whose keys are their queries; masks of drop stay apart. */
  readonly sharedQK?: boolean | undefined;
  /** Measured runs of each. */
  readonly rounds: number;
  readonly backward: boolean;
  /** A new device for each measurement of memory; `device` is the one that times are taken on. */
  readonly openDevice: () => Promise<Device>;
  readonly device: Device;
  /** Opened over the same inputs, or null. */
  readonly openPeer: (inputs: BenchInputs) => Promise<Peer | null>;
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/** What was measured of one pattern at one size. */
export interface AttentionMeasurement {
  readonly T: number;
  readonly dtype: FloatType;
  readonly pattern: string;
  /** Whether keys had the buckets of their queries, so that one hashing and one sorting served both. */
  readonly sharedQK: boolean;
  /** Of the forward, hashing or dropping and the staircase. */
  readonly building: Times;
  /** The whole operation: hashing or dropping, the staircase, attention; by the device's clock where it has one. */
  readonly forward: Times;
  /** Gradients of q, k and v, given the forward's staircase. */
  readonly backward: Times | null;
  /** The whole forward once more, timed as the peer is: by the host's clock, several in a row. null without a peer. */
  readonly besidePeer: Times | null;
  readonly visibleShare: number;
  /** 4 D floating-point operations for each visible pair, in 1e9 a second. */
  readonly forwardGflops: number;
  /** 10 D for each visible pair: five products, one of which the forward had made. */
  readonly backwardGflops: number | null;
  /** Most memory held besides inputs and outputs during forward and backward. */
  readonly extraBytes: number;
  readonly check: { readonly forward: Verdict; readonly backward?: Verdict };
}

export interface AttentionBench {
  readonly measurements: readonly AttentionMeasurement[];
  readonly peer: PeerMeasurement | null;
}

export interface PeerMeasurement extends Pick<Peer, "name" | "timed"> {
  readonly forward: Times;
  readonly check: Verdict;
}

const PEER = "peer";

/** A run that is as it is, and one that a device may capture. */
const UNMEASURED_ROUNDS = 2;

/**
 * Times attention for several patterns and a peer on the same random inputs, in turns, and checks each against the
 * reference on a sample.
 */
export async function benchAttention(options: AttentionBenchOptions): Promise<AttentionBench> {
  const { device, shape, patterns, rounds, backward } = options;
  const { B, T, H, Hk, D } = shape;
  const { sharedQK = false } = options;
  if (sharedQK && H !== Hk) {
    throw new ShapeError("bench", "queries and keys that share buckets have as many heads", `H=${H}, Hk=${Hk}`);
  }
  const dtype = options.dtype ?? device.capabilities.floatTypes[0]!;
  const inputs = new BenchInputs({ B, Tq: T, Tk: T, H, Hk, D }, dtype);
  const peer = await options.openPeer(inputs);
  const tensors = new BenchTensors(device, inputs);
  const runs: PatternRun[] = [];
  const contestants: Contestant[] = [];
  let done = 0;
  const tick = (what: string) => {
    const total = contestants.length * (rounds + UNMEASURED_ROUNDS) + patterns.length;
    options.onProgress?.(++done, total, `T ${T}: ${what}`);
  };
  const onItsClock = (name: string, run: () => void) =>
    contestants.push({ name, run: () => timeAwake(() => device.time(run)) });
  const inARow = (name: string, time: (runs: number) => Promise<number>) =>
    contestants.push({ name, run: () => timeInARow(time) });
  try {
    if (peer) inARow(PEER, (runs) => peer.time(runs));
    for (const pattern of patterns) {
      const run = new PatternRun(tensors, pattern, { sharedQK });
      runs.push(run);
      // Neighbours in turn: a backward takes what its own forward left in the common outputs.
      onItsClock(`${pattern} building`, () => run.build());
      onItsClock(`${pattern} forward`, () => run.forward());
      if (backward) onItsClock(`${pattern} backward`, () => run.backward());
      if (peer) inARow(`${pattern} ${PEER}`, (runs) => run.timeForwards(runs));
    }
    const times = await measureInTurns(contestants, { rounds, unmeasured: UNMEASURED_ROUNDS, onRun: tick });
    const measurements: AttentionMeasurement[] = [];
    for (const run of runs) {
      tick(`checking ${run.notation}`);
      measurements.push(await measurementOf(run, times, options));
    }
    return { measurements, peer: peer && (await peerResult(peer, inputs, times.get(PEER)!)) };
  } finally {
    for (const run of runs) run.dispose();
    tensors.dispose();
    await peer?.close();
  }
}

async function measurementOf(
  run: PatternRun,
  times: Map<string, Times>,
  options: AttentionBenchOptions,
): Promise<AttentionMeasurement> {
  const { B, T, H, D } = options.shape;
  const { inputs } = run.tensors;
  const forward = times.get(`${run.notation} forward`)!;
  const backward = times.get(`${run.notation} backward`) ?? null;
  const check = await run.check(options);
  const pairs = await run.visiblePairs();
  return {
    T,
    dtype: inputs.dtype,
    pattern: run.notation,
    sharedQK: options.sharedQK ?? false,
    building: times.get(`${run.notation} building`)!,
    forward,
    backward,
    besidePeer: times.get(`${run.notation} ${PEER}`) ?? null,
    visibleShare: pairs / (B * H * causalPairs({ Tq: T, Tk: T })),
    forwardGflops: (4 * D * pairs) / forward.medianMs / 1e6,
    backwardGflops: backward && (10 * D * pairs) / backward.medianMs / 1e6,
    extraBytes: await extraMemory(options, inputs, run.notation),
    check,
  };
}

async function peerResult(peer: Peer, inputs: BenchInputs, forward: Times): Promise<PeerMeasurement> {
  const output = await peer.output();
  const { Tq, H, Hk, D } = inputs.shape;
  const width = (H / Hk) * D;
  const read: ReadHead = async (_, { b, keyHead }) => {
    const o = new Float32Array(Tq * width);
    for (let t = 0; t < Tq; t++) {
      const from = (b * Tq + t) * H * D + keyHead * width;
      o.set(output.subarray(from, from + width), t * width);
    }
    return o;
  };
  const causal = (_b: number, _h: number, i: number, j: number) => j <= i;
  const sampled = { inputs, sample: drawSample(inputs), mask: causal };
  const check = await checkSample(sampled, read, { gradients: false });
  return { name: peer.name, timed: peer.timed, forward, check: check.forward };
}

/** Most memory that a forward and backward hold on a new device, less their inputs and outputs. */
async function extraMemory(options: AttentionBenchOptions, inputs: BenchInputs, notation: string): Promise<number> {
  const device = await options.openDevice();
  try {
    const tensors = new BenchTensors(device, inputs);
    const held = device.memory.bytes;
    const run = new PatternRun(tensors, notation, { sharedQK: options.sharedQK ?? false });
    run.forward();
    if (options.backward) run.backward();
    await device.synchronize();
    return Math.max(0, device.memory.peakBytes - held);
  } finally {
    device.dispose();
  }
}
