import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Dataset, openDataset } from "../data/loader.ts";
import { prepare } from "../data/prepare.ts";
import { getTokenizer, type TokenizerName } from "../data/tokenizers.ts";
import { fileError } from "../files/errors.ts";
import type { Run } from "../train/run.ts";
import type { Terminal } from "./terminal.ts";
import { thousands } from "./terminal.ts";

/** Folder inside a run's, for tokens that were made for it alone. */
const ownDataName = "data";

/** Prepared tokens, and what to call them. */
export interface PreparedData {
  readonly folder: string;
  readonly dataset: Dataset;
  readonly tokenizer: TokenizerName;
  /** For people: `my.txt (1,215,236 tokens to train on, 135,026 to validate)`. */
  readonly description: string;
}

/**
 * Opens a folder of prepared tokens; anything else (a text, JSON lines, Parquet) is prepared first, into the run's folder.
 * @throws DataError if it cannot be read
 */
export async function openTrainingData(
  path: string,
  options: {
    runFolder: string;
    tokenizer?: TokenizerName;
    terminal: Terminal;
    signal?: AbortSignal;
    /** What to call it; the file's name if left out. */
    title?: string;
  },
): Promise<PreparedData> {
  const { runFolder, terminal, signal, title = basename(path) } = options;
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    (error: unknown) => {
      throw fileError(path, "open", error);
    },
  );
  const folder = isFolder ? path : join(runFolder, ownDataName);
  if (!isFolder) {
    terminal.err(`preparing ${title}\n`);
    await prepare({
      files: [path],
      out: folder,
      tokenizer: options.tokenizer ?? "bytes",
      overwrite: true,
      ...(signal && { signal }),
    });
  }
  const dataset = await openDataset(folder, isFolder && options.tokenizer ? { tokenizer: options.tokenizer } : {});
  const { train, validation } = dataset;
  const counts = `${thousands(train.count)} tokens to train on, ${thousands(validation.count)} to validate`;
  return { folder, dataset, tokenizer: train.tokenizer, description: `${title} (${counts})` };
}

/** Rows of the embedding table for a tokenizer: its tokens, for GPT-2's padded to a multiple of 128. */
export function vocabularyFor(tokenizer: TokenizerName): number {
  const { vocabularySize } = getTokenizer(tokenizer);
  return vocabularySize <= 256 ? vocabularySize : Math.ceil(vocabularySize / 128) * 128;
}

/** Where a run's tokens are: in its own folder, which may have been moved, or where its configuration says. */
export async function dataFolder({ folder, config }: Run): Promise<string> {
  const own = join(folder, ownDataName);
  return (await stat(own).catch(() => null)) ? own : config.data.folder;
}

/** The tokenizer of a run: what its configuration says, or what its vocabulary suggests. */
export function tokenizerOf({ config }: Run): TokenizerName {
  const { tokenizer } = config.data;
  return tokenizer === undefined ? (config.model.vocabulary <= 256 ? "bytes" : "gpt2") : getTokenizer(tokenizer).name;
}
