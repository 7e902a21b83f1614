import type { TrainMeasurement } from "../bench/train.ts";
import type { Device } from "../device/device.ts";
import type { ModelOptions } from "../gpt/config.ts";
import {
  type BenchFlags,
  type BenchInvocation,
  checkedType,
  lateProgress,
  openAnother,
  output,
} from "./benchCommon.ts";
import { flagName, UsageError } from "./command.ts";
import { progressOn } from "./progress.ts";
import { bytes, textTable, thousands } from "./terminal.ts";

/** `scfa bench train` */
export async function benchTrain(device: Device, invocation: BenchInvocation): Promise<void> {
  const { flags, terminal } = invocation;
  const [{ benchTrain: measure }, { modelPresets, parseModelConfig }, { ModelParameters }] = await Promise.all([
    import("../bench/train.ts"),
    import("../gpt/config.ts"),
    import("../gpt/parameters.ts"),
  ]);
  const dtype = checkedType(device, flags);
  const base = baseModel(flags, modelPresets);
  const { patterns = ["dense", "hash(16)", "drop(0.7)"], lengths = DEFAULT_LENGTHS, rounds = 5 } = flags;
  const sizes = lengths.map((context) => ({
    context,
    batch: flags.tokens ? flags.tokens / context : (flags.batch ?? 1),
  }));
  const configOf = (context: number, attention: string) => parseModelConfig({ ...base, context, attention });
  // Drawn once for all models and lengths: the table of positions of the longest holds those of the others.
  const firstValues = new ModelParameters(device, configOf(Math.max(...lengths), "dense"), dtype);
  try {
    firstValues.initialize();
    for (const { context, batch } of sizes) {
      const progress = lateProgress(await progressOn(terminal));
      const results = await measure({
        device,
        openDevice: () => openAnother(flags),
        models: patterns.map((attention) => ({ attention, config: configOf(context, attention) })),
        dtype,
        batch,
        rounds,
        firstValues,
        onProgress: (done, of, text) => progress.update(done, of, `T ${context}: ${text}`),
      }).finally(() => progress.stop());
      const { layers, heads, width, vocabulary } = base;
      const shape = { layers, heads, width, vocabulary, context, batch, dtype: firstValues.dtype };
      const records = results.map(({ step, ...rest }) => ({
        bench: "train",
        ...(flags.preset && { preset: flags.preset }),
        ...shape,
        ...rest,
        stepMs: step.medianMs,
        stepAllMs: step.allMs,
      }));
      await output(invocation, device, records, () => trainTable(shape, results));
    }
  } finally {
    firstValues.dispose();
  }
}

const DEFAULT_LENGTHS = [4096];

/** What no flag can say alone. @throws UsageError */
export function checkTrainFlags(flags: BenchFlags): void {
  const { preset, tokens, batch, lengths = DEFAULT_LENGTHS } = flags;
  const given = (["heads", "headDimension", "layers"] as const).find((name) => flags[name] !== undefined);
  if (preset !== undefined && given) {
    throw new UsageError(`--preset sets the model's size, got ${flagName(given)} beside it. Leave one out.`);
  }
  if (tokens === undefined) return;
  if (batch !== undefined) throw new UsageError("--tokens and --batch both say how large a step is. Leave one out.");
  const odd = lengths.find((context) => tokens % context !== 0);
  if (odd) throw new UsageError(`--tokens is a multiple of every length, got ${tokens} for sequences of ${odd}.`);
}

/** The model but for context and attention. */
function baseModel(
  { preset, heads = 4, headDimension = 32, layers = 2 }: BenchFlags,
  presets: Record<string, ModelOptions>,
): Omit<ModelOptions, "context"> & Pick<ModelOptions, "heads" | "layers" | "width" | "vocabulary"> {
  if (preset === undefined) return { layers, heads, width: heads * headDimension, vocabulary: 256, sharedQK: true };
  return presets[preset]!;
}

function trainTable(
  shape: { layers: number; heads: number; width: number; context: number; batch: number; dtype: string },
  results: readonly TrainMeasurement[],
): string {
  const dense = results.find(({ attention }) => attention === "dense");
  const rows = results.map(({ attention, step, tokensPerS, visibleShare, peakBytes }) => [
    attention,
    step.medianMs.toFixed(step.medianMs < 100 ? 1 : 0),
    thousands(tokensPerS),
    `${(100 * visibleShare).toFixed(2)} %`,
    dense ? `${(tokensPerS / dense.tokensPerS).toFixed(2)}x` : "-",
    peakBytes === null ? "-" : bytes(peakBytes),
  ]);
  const { layers, heads, width, context, batch, dtype } = shape;
  const title = `${layers} layers, ${heads} heads, width ${width}, ${dtype}, ${batch} x ${context} tokens a step`;
  const head = ["attention", "step ms", "tokens/s", "visible", "vs dense", "peak memory"];
  return `\n${title}\n${textTable(head, rows)}`;
}
