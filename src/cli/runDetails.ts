import { join } from "node:path";
import { getTokenizer } from "../data/tokenizers.ts";
import type { Device } from "../device/device.ts";
import { writeDurably } from "../files/index.ts";
import { layerAttentions, type ModelConfig } from "../gpt/config.ts";
import { Gpt } from "../gpt/model.ts";
import { formatAttention } from "../gpt/notation.ts";
import type { ModelParameters } from "../gpt/parameters.ts";
import { generate } from "../gpt/sampling.ts";
import { readRun, runFiles } from "../report/readRun.ts";
import type { HeadPicture, RunDetails } from "../report/run.ts";
import type { HostStaircase } from "../staircase/staircase.ts";
import type { TokenSource } from "../train/data.ts";
import { describeMachine, sourceCommit } from "./machine.ts";
import { packageVersion } from "./version.ts";

/** What a run's folder says of its origin. */
export function runOrigin(options: {
  readonly commandLine: string;
  readonly device: Device;
  readonly model: ModelConfig;
  readonly parameters: number;
  readonly tokenizer: string;
  readonly data: string;
}): RunDetails {
  const { commandLine, device, model, parameters, tokenizer, data } = options;
  const commit = sourceCommit();
  return {
    command: commandLine,
    date: new Date().toISOString(),
    version: packageVersion(),
    ...(commit && { commit }),
    machine: describeMachine().text,
    device: device.description,
    parameters,
    tokenizer,
    attention: describeAttention(model),
    data,
  };
}

/** The model's notation; layers that differ stand between bars. */
export function describeAttention(model: ModelConfig): string {
  return [...new Set(layerAttentions(model).map(formatAttention))].join(" | ");
}

/** Writes what a report shows beside the metrics. */
export async function writeRunDetails(folder: string, details: RunDetails): Promise<void> {
  const plain = JSON.stringify(details, (_key, value) =>
    ArrayBuffer.isView(value) ? [...(value as Int32Array)] : value,
  );
  await writeDurably(join(folder, runFiles.details), `${plain}\n`);
}

/** Adds to a run's folder what its finished model shows: a sample, and pictures of its attention. */
export async function addFindings(
  folder: string,
  parameters: ModelParameters,
  { validation, tokenizer }: { validation: TokenSource; tokenizer: string },
): Promise<void> {
  const { details } = await readRun(folder);
  const sample = await sampleText(parameters, { validation, tokenizer, count: 400 });
  await writeRunDetails(folder, { ...details, sample, heads: await headPictures(parameters, { validation }) });
}

/** Text that the model writes after the first words of a validation text. */
export async function sampleText(
  parameters: ModelParameters,
  options: {
    readonly validation: TokenSource;
    readonly tokenizer: string;
    readonly promptTokens?: number;
    readonly count: number;
  },
): Promise<{ prompt: string; text: string }> {
  const { validation, promptTokens = 64, count } = options;
  const tokenizer = getTokenizer(options.tokenizer);
  const T = Math.min(promptTokens, parameters.config.context);
  const { tokens } = await validation.sequential({ B: 1, T, index: 0 });
  const made: number[] = [];
  const choices = { count, temperature: 0.8, topK: 40, seed: 1, tokenLimit: tokenizer.vocabularySize };
  for await (const token of generate(parameters, tokens, choices)) made.push(token);
  return { prompt: tokenizer.decode(tokens), text: tokenizer.decode(made) };
}

/** Longest sequence whose attention is kept as a picture. */
const pictureTokens = 8192;

/** What the heads of a model see in a validation text: for each pattern, one head of the last layer that has it. */
export async function headPictures(
  parameters: ModelParameters,
  { validation }: { validation: TokenSource },
): Promise<HeadPicture[]> {
  const { config } = parameters;
  const T = Math.min(config.context, pictureTokens);
  const model = new Gpt(parameters, { batch: 1, context: T, training: false });
  try {
    await model.evaluate(await validation.sequential({ B: 1, T, index: 0 }), { draw: { seed: 1, index: 0 } });
    const seen = new Set<string>();
    const pictures: HeadPicture[] = [];
    const layers = [...layerAttentions(config).entries()];
    for (const [layer, groups] of layers.reverse()) {
      const { parts } = await model.plan(layer);
      let firstHead = 0;
      for (const { heads, pattern } of groups) {
        const name = formatAttention([{ heads, pattern }]);
        const head = firstHead + (heads >> 1);
        firstHead += heads;
        if (seen.has(name)) continue;
        seen.add(name);
        pictures.push({
          label: `layer ${layer + 1}, head ${head + 1}: ${name}`,
          staircases: parts.flatMap((part) => part.heads.filter(({ h }) => h === head).map(staircaseOf)),
        });
      }
    }
    return pictures;
  } finally {
    model.dispose();
  }
}

function staircaseOf({ qRows, kRows, lo, hi }: HostStaircase): HostStaircase {
  return { qRows, kRows, lo, hi };
}
