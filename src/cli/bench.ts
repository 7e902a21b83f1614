import type { AttentionBench, AttentionMeasurement, BenchShape } from "../bench/attention.ts";
import type { Provenance } from "../bench/record.ts";
import type { TrainMeasurement } from "../bench/train.ts";
import type { Device } from "../device/device.ts";
import { CommandFailure, defineCommand, type FlagValues, flag, type Invocation, UsageError } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";
import { type Progress, progressOn, type ShowProgress } from "./progress.ts";
import { bytes, textTable, thousands } from "./terminal.ts";

const length = flag.count("", { most: 2 ** 20, kilo: true, placeholder: "<T>" });
const pattern = flag.text("", { placeholder: "<pattern>" });

const flags = {
  ...deviceFlags,
  lengths: { ...flag.list(length), help: "sequence lengths, 8k for 8192", byDefault: "2k,8k; train: 4k" },
  patterns: {
    ...flag.list(pattern),
    help: "what attention sees: dense, window(n), hash(n), drop(share), union(window(n), hash(n)), or groups of heads as in window(256):4 hash(16):4",
    byDefault: "dense,hash(16),drop(0.7)",
  },
  batch: flag.count("sequences", { byDefault: "1" }),
  heads: flag.count("heads", { byDefault: "8; train: 4" }),
  kvHeads: flag.count("key and value heads (attention)", { byDefault: "as many as heads" }),
  headDimension: flag.count("head dimension", { byDefault: "64; train: 32" }),
  layers: flag.count("layers (train)", { byDefault: "2" }),
  rounds: flag.count("measured runs of each; the median counts", { byDefault: "5" }),
  forwardOnly: flag.toggle("leave out the backward (attention)"),
  noPeer: flag.toggle("leave out onnxruntime-node (attention)"),
  json: flag.toggle("print JSON lines instead of a table"),
  jsonOut: flag.text("also append JSON lines to this file", { placeholder: "<file>" }),
};

type BenchFlags = FlagValues<typeof flags>;

export const command = defineCommand({
  name: "bench",
  summary: "time attention, or whole training steps, for several patterns on this machine",
  description:
    "Everything is run in turns on the same inputs; the median counts. `attention` times the whole operation (hashing, staircase, attention) and checks every result against exact arithmetic on sampled rows. If onnxruntime-node can be found from the working folder, its causal GroupQueryAttention runs beside: ONNXRUNTIME_NODE_INSTALL=skip npm install --no-save onnxruntime-node. `train` times training steps of small language models that differ in their attention alone.",
  args: { usage: "<attention|train>", least: 1, most: 1 },
  flags,
  examples: [
    { line: "scfa bench attention", says: "dense, hash and drop at 2k and 8k tokens" },
    {
      line: "scfa bench attention --lengths 1k,4k,16k,64k --patterns 'dense,hash(16)' --heads 2 --rounds 2",
      says: "how time and memory grow",
    },
    { line: "scfa bench train --lengths 8k --patterns 'dense,hash(16),window(256):2 hash(16):2'", says: "tokens/s" },
  ],
  async run(invocation) {
    const [what] = invocation.args;
    if (what !== "attention" && what !== "train") {
      throw new UsageError(`scfa bench times attention or train, got "${what}".`);
    }
    await withDevice(invocation.flags, invocation.terminal, (device) =>
      what === "attention" ? benchAttention(device, invocation) : benchTrain(device, invocation),
    );
  },
});

async function benchAttention(device: Device, invocation: Invocation<typeof flags>): Promise<void> {
  const { flags, terminal } = invocation;
  const [{ benchAttention: measure }, { findPeer, openPeer, peerInstall }, { openDevice }] = await Promise.all([
    import("../bench/attention.ts"),
    import("../bench/peer.ts"),
    import("../device/open.ts"),
  ]);
  const { heads: H = 8, kvHeads: Hk = H, headDimension: D = 64, batch: B = 1, rounds = 5 } = flags;
  const found = flags.noPeer ? null : await findPeer();
  if (!found && !flags.noPeer)
    terminal.err(`No peer beside: onnxruntime-node is not installed here (${peerInstall}).\n`);
  const threads = flags.threads ?? (await import("./machine.ts")).describeMachine().cores;
  const failures: string[] = [];
  for (const T of flags.lengths ?? [2048, 8192]) {
    const shape: BenchShape = { B, T, H, Hk, D };
    const progress = lateProgress(await progressOn(terminal));
    const result = await measure({
      shape,
      patterns: flags.patterns ?? ["dense", "hash(16)", "drop(0.7)"],
      rounds,
      backward: !flags.forwardOnly,
      device,
      openDevice: () =>
        openDevice(flags.device ?? "auto", flags.threads === undefined ? {} : { threads: flags.threads }),
      openPeer: async (inputs) => (found ? openPeer(found, { shape, inputs, threads }) : null),
      onProgress: (done, of, text) => progress.update(done, of, text),
    }).finally(() => progress.stop());
    await output(invocation, device, attentionRecords(shape, result), () => attentionTable(shape, result));
    failures.push(...failedChecks(T, result));
  }
  if (failures.length > 0)
    throw new CommandFailure(`wrong results, so the times mean nothing: ${failures.join("; ")}.`);
}

function attentionTable(shape: BenchShape, { measurements, peer }: AttentionBench): string {
  const dense = measurements.find(({ pattern }) => pattern === "dense");
  const ratio = (than: number | undefined, ms: number) => (than === undefined ? "-" : `${(than / ms).toFixed(2)}x`);
  const rows = measurements.map(({ pattern, forward, backward, visibleShare, forwardGflops, extraBytes, check }) => [
    pattern,
    forward.medianMs.toFixed(1),
    backward?.medianMs.toFixed(1) ?? "-",
    `${(100 * visibleShare).toFixed(2)} %`,
    forwardGflops.toFixed(1),
    ratio(dense?.forward.medianMs, forward.medianMs),
    ratio(peer?.forward.medianMs, forward.medianMs),
    bytes(extraBytes),
    check.forward.pass && check.backward?.pass !== false ? "yes" : "NO",
  ]);
  if (peer) {
    const { forward, check } = peer;
    const ms = forward.medianMs.toFixed(1);
    rows.push([
      peer.name,
      ms,
      "-",
      "100.00 %",
      "-",
      ratio(dense?.forward.medianMs, forward.medianMs),
      "1.00x",
      "-",
      check.pass ? "yes" : "NO",
    ]);
  }
  const { B, T, H, Hk, D } = shape;
  const head = [
    "pattern",
    "forward ms",
    "backward ms",
    "visible",
    "GFLOP/s",
    "vs dense",
    "vs peer",
    "extra memory",
    "correct",
  ];
  return `\nB ${B}, T ${T}, H ${H}${Hk === H ? "" : `, Hk ${Hk}`}, D ${D}\n${textTable(head, rows)}`;
}

function attentionRecords(shape: BenchShape, { measurements, peer }: AttentionBench): object[] {
  const common = { bench: "attention", ...shape };
  const ours = ({ forward, backward, check, ...rest }: AttentionMeasurement) => ({
    ...common,
    ...rest,
    forwardMs: forward.medianMs,
    forwardAllMs: forward.allMs,
    ...(backward && { backwardMs: backward.medianMs, backwardAllMs: backward.allMs }),
    peer: peer && { name: peer.name, forwardMs: peer.forward.medianMs, forwardAllMs: peer.forward.allMs },
    check,
  });
  return measurements.map(ours);
}

function failedChecks(T: number, { measurements, peer }: AttentionBench): string[] {
  const checks = measurements.flatMap(({ pattern, check }) =>
    Object.entries(check).map(([pass, verdict]) => ({ what: `${pattern} ${pass}`, verdict })),
  );
  if (peer) checks.push({ what: peer.name, verdict: peer.check });
  return checks
    .filter(({ verdict }) => !verdict.pass)
    .map(({ what, verdict }) => {
      const { where, worstError, budget } = verdict;
      return `T ${T} ${what} at ${where} by ${worstError.toPrecision(3)} (allowed ${budget.toPrecision(3)})`;
    });
}

async function benchTrain(device: Device, invocation: Invocation<typeof flags>): Promise<void> {
  const { flags, terminal } = invocation;
  const [{ benchTrain: measure }, { parseModelConfig }] = await Promise.all([
    import("../bench/train.ts"),
    import("../gpt/config.ts"),
  ]);
  const { heads = 4, headDimension = 32, layers = 2, batch = 1, rounds = 5 } = flags;
  for (const context of flags.lengths ?? [4096]) {
    const shape = { layers, heads, width: heads * headDimension, vocabulary: 256, context };
    const patterns = flags.patterns ?? ["dense", "hash(16)", "drop(0.7)"];
    const models = patterns.map((attention) => ({
      attention,
      config: parseModelConfig({ ...shape, sharedQK: true, attention }),
    }));
    const progress = lateProgress(await progressOn(terminal));
    const results = await measure({
      device,
      models,
      batch,
      rounds,
      onProgress: (done, of, text) => progress.update(done, of, `T ${context}: ${text}`),
    }).finally(() => progress.stop());
    const records = results.map(({ step, ...rest }) => ({
      bench: "train",
      ...shape,
      batch,
      ...rest,
      stepMs: step.medianMs,
      stepAllMs: step.allMs,
    }));
    await output(invocation, device, records, () => trainTable({ ...shape, batch }, results));
  }
}

function trainTable(
  shape: { layers: number; heads: number; width: number; context: number; batch: number },
  results: readonly TrainMeasurement[],
): string {
  const dense = results.find(({ attention }) => attention === "dense");
  const rows = results.map(({ attention, step, tokensPerS, visibleShare }) => [
    attention,
    step.medianMs.toFixed(0),
    thousands(tokensPerS),
    `${(100 * visibleShare).toFixed(2)} %`,
    dense ? `${(tokensPerS / dense.tokensPerS).toFixed(2)}x` : "-",
  ]);
  const { layers, heads, width, context, batch } = shape;
  const title = `${layers} layers, ${heads} heads, width ${width}, ${batch} x ${context} tokens a step`;
  return `\n${title}\n${textTable(["attention", "step ms", "tokens/s", "visible", "vs dense"], rows)}`;
}

/** Prints and keeps what was measured. */
async function output(
  { flags, terminal, commandLine }: { flags: BenchFlags } & Pick<Invocation, "terminal" | "commandLine">,
  device: Device,
  records: readonly object[],
  table: () => string,
): Promise<void> {
  const { describeMachine, sourceCommit } = await import("./machine.ts");
  const { packageVersion } = await import("./version.ts");
  const provenance: Provenance = {
    date: new Date().toISOString(),
    version: packageVersion(),
    commit: sourceCommit(),
    command: commandLine,
    machine: describeMachine(),
    device: device.description,
  };
  if (flags.json) for (const record of records) terminal.out(`${JSON.stringify({ ...record, ...provenance })}\n`);
  else terminal.out(table());
  if (flags.jsonOut) await (await import("../bench/record.ts")).appendRecords(flags.jsonOut, provenance, records);
}

/** A progress whose total is known only once the work has begun. */
function lateProgress(show: ShowProgress) {
  let progress: Progress | undefined;
  return {
    update(done: number, total: number, text: string): void {
      progress ??= show({ total, label: "bench" });
      progress.update(done, [text]);
    },
    stop: () => progress?.stop(),
  };
}
