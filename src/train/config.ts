import { z } from "zod";
import { checkedBy, type ModelConfig, modelSchema, parseModelConfig } from "../gpt/config.ts";
import type { Schedule } from "./schedule.ts";

const count = () => z.int().min(1);
const share = () => z.number().min(0).max(1);

/** How to train, as it stands in `config.json`. Each field's description is what `--help` prints. */
export const trainSchema = z.strictObject({
  steps: count().default(1000).describe("optimizer steps of the whole run"),
  batch: count().default(1).describe("sequences computed at once"),
  accumulate: count().default(1).describe("batches whose gradients add up to one step"),
  context: count().optional().describe("tokens of each sequence (default: the model's context)"),
  lr: z.number().positive().default(1e-3).describe("highest learning rate"),
  schedule: z
    .enum(["one-cycle", "cosine", "linear", "constant"])
    .default("one-cycle")
    .describe("how the learning rate goes up and down"),
  warmupShare: share().default(0.02).describe("share of the steps in which the learning rate rises"),
  startShare: share().default(0.01).describe("first learning rate of one-cycle, as a share of the highest"),
  endShare: share().default(0.2).describe("last learning rate, as a share of the highest"),
  beta1: share().default(0.9).describe("AdamW: memory of the gradient"),
  beta2: share().default(0.95).describe("AdamW: memory of its square"),
  adamEpsilon: z.number().positive().default(1e-8).describe("AdamW: added to the square root"),
  weightDecay: z.number().min(0).default(0.1).describe("AdamW: decay of matrices and tables"),
  clip: z
    .number()
    .positive()
    .nullable()
    .default(1)
    .describe("longest gradient; a longer one is scaled down to it (null: no limit)"),
  seed: z.int().min(0).max(0xffffffff).default(1).describe("seed of the order of the data and of dropped rows"),
  dtype: z.enum(["f32", "f16", "bf16"]).optional().describe("type to compute in (default: the device's first choice)"),
  evalEvery: z.int().min(0).default(100).describe("steps between evaluations (0: only at the end)"),
  evalBatches: z.int().min(0).default(8).describe("validation batches of an evaluation (0: no evaluation)"),
  checkpointEvery: z.int().min(0).default(100).describe("steps between checkpoints (0: only at the end)"),
  keepCheckpoints: count().default(2).describe("how many of the newest checkpoints stay"),
});

/** Where the tokens are. */
export const dataSchema = z.strictObject({
  folder: z.string().min(1).describe("folder of train.bin, val.bin and meta.json"),
  tokenizer: z.string().optional().describe("what made the tokens, where there is no meta.json"),
});

/** What `config.json` of a run folder holds. */
export const runSchema = z.strictObject({ model: modelSchema, train: trainSchema.prefault({}), data: dataSchema });

/** A run's configuration as a person writes it: fields with defaults may be left out. */
export type RunOptions = z.input<typeof runSchema>;
export type TrainConfig = z.output<typeof trainSchema>;
export type DataConfig = z.output<typeof dataSchema>;
export interface RunConfig {
  readonly model: ModelConfig;
  readonly train: TrainConfig;
  readonly data: DataConfig;
}

/** Ready training settings; a field given beside a preset replaces the preset's. */
export const trainPresets = {
  /** The paper's (arXiv 2306.01160, section 4) for T = 8192: 64 sequences a step on one device. */
  "paper-8k": { steps: 15000, batch: 4, accumulate: 16, clip: null },
  /** The paper's for T = 16384: 30 sequences a step. */
  "paper-16k": { steps: 15000, batch: 6, accumulate: 5, clip: null },
  demo: { steps: 150, batch: 1, warmupShare: 0.1, lr: 3e-3, evalEvery: 25, evalBatches: 4, checkpointEvery: 50 },
} as const satisfies Record<string, z.input<typeof trainSchema>>;

/**
 * Checks a run's configuration and fills in what was left out.
 * @throws ShapeError with one sentence about the first thing that is wrong
 */
export function parseRunConfig(options: unknown): RunConfig {
  const { model, ...rest } = checkedBy(runSchema, "config", options);
  return { model: parseModelConfig(model), ...rest };
}

/** The learning rate's course in a run. */
export function scheduleOf({ schedule, lr, steps, warmupShare, startShare, endShare }: TrainConfig): Schedule {
  return { shape: schedule, lr, steps, warmupShare, startShare, endShare };
}
