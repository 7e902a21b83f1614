import type { Provenance } from "../bench/record.ts";
import type { Device } from "../device/device.ts";
import { UnsupportedError } from "../errors.ts";
import { type FlagValues, flag, type Invocation } from "./command.ts";
import { deviceFlags, openOptions } from "./options.ts";
import type { Progress, ShowProgress } from "./progress.ts";

/** Names of `modelPresets`; spelled here so that help does not load the models. */
const presetNames = ["paper-124m", "gpt2", "demo"] as const;

const length = flag.count("", { most: 2 ** 20, kilo: true, placeholder: "<T>" });
const pattern = flag.text("", { placeholder: "<pattern>" });

/** Flags of `scfa bench`. */
export const benchFlags = {
  ...deviceFlags,
  lengths: { ...flag.list(length), help: "sequence lengths, 8k for 8192", byDefault: "2k,8k; train: 4k" },
  patterns: {
    ...flag.list(pattern),
    help: "what attention sees: dense, window(n), hash(n), hash(n, balanced=true), drop(share), union(window(n), hash(n)), or groups of heads as in window(256):4 hash(16):4",
    byDefault: "dense,hash(16),drop(0.7)",
  },
  batch: flag.count("sequences", { byDefault: "1" }),
  tokens: flag.count("tokens of each step, in place of --batch (train): as many sequences as that makes", {
    kilo: true,
  }),
  dtype: flag.choice("type to compute in", ["f32", "f16", "bf16"], { byDefault: "the device's first choice" }),
  preset: flag.choice("a ready model, in place of --heads, --head-dimension and --layers (train)", presetNames),
  heads: flag.count("heads", { byDefault: "8; train: 4" }),
  kvHeads: flag.count("key and value heads (attention)", { byDefault: "as many as heads" }),
  sharedQk: flag.toggle("keys share their queries' buckets, so that one hashing serves both (attention)"),
  headDimension: flag.count("head dimension", { byDefault: "64; train: 32" }),
  layers: flag.count("layers (train)", { byDefault: "2" }),
  rounds: flag.count("measured runs of each; the median counts", { byDefault: "5" }),
  forwardOnly: flag.toggle("leave out the backward (attention)"),
  peer: flag.choice("run onnxruntime-node beside, on its own CPU or WebGPU (attention)", ["cpu", "webgpu", "none"], {
    byDefault: "where --device is, if it is installed",
  }),
  json: flag.toggle("print JSON lines instead of a table"),
  jsonOut: flag.text("also append JSON lines to this file", { placeholder: "<file>" }),
};

export type BenchFlags = FlagValues<typeof benchFlags>;
export type BenchInvocation = Invocation<typeof benchFlags>;

/** Opens another device like the one that the flags name, for a measurement of memory. */
export async function openAnother(flags: BenchFlags): Promise<Device> {
  const { openDevice } = await import("../device/open.ts");
  return openDevice(flags.device ?? "auto", openOptions(flags));
}

/** The type that `--dtype` asks for, if it does. @throws UnsupportedError if the device lacks it */
export function checkedType(device: Device, { dtype }: BenchFlags) {
  const { floatTypes } = device.capabilities;
  if (dtype && !floatTypes.includes(dtype)) {
    const rule = `the type must be one of ${floatTypes.join(", ")} on ${device.description}`;
    throw new UnsupportedError("bench", rule, dtype);
  }
  return dtype;
}

/** Prints and keeps what was measured. */
export async function output(
  { flags, terminal, commandLine }: BenchInvocation,
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
export function lateProgress(show: ShowProgress) {
  let progress: Progress | undefined;
  return {
    update(done: number, total: number, text: string): void {
      progress ??= show({ total, label: "bench" });
      progress.update(done, [text]);
    },
    stop: () => progress?.stop(),
  };
}
