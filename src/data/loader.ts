import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DataError } from "../errors.ts";
import { verifyFile } from "../files/checksum.ts";
import { errorCode, fileError } from "../files/errors.ts";
import { readJson } from "../files/json.ts";
import { type FileSource, openFile } from "../files/open.ts";
import { type DatasetMeta, metaName, metaSchema, trainName, validationName } from "./meta.ts";
import { getTokenizer, type TokenizerName } from "./tokenizers.ts";
import { Tokens } from "./tokens.ts";

export interface OpenTokensOptions {
  /** Which file of a folder; "train" if left out. */
  split?: "train" | "validation";
  /** What made the tokens. Left out: what `meta.json` says, or gpt2 where there is none, as in nanoGPT's own folders. */
  tokenizer?: TokenizerName;
  /** Also check the SHA-256 of the whole file against `meta.json`; reads all of it once. */
  verify?: boolean;
}

/**
 * Opens prepared tokens: a folder of `train.bin`, `val.bin` and `meta.json`, a plain nanoGPT folder without `meta.json`,
 * or one `.bin` file (with the `meta.json` beside it, if that speaks of it).
 * @throws DataError if a file is missing, damaged, or does not agree with `meta.json`
 */
export async function openTokens(path: string, options: OpenTokensOptions = {}): Promise<Tokens> {
  const isFolder = await isDirectory(path);
  const folder = isFolder ? path : dirname(path);
  const file = isFolder ? (options.split === "validation" ? validationName : trainName) : basename(path);
  const meta = await readMeta(folder);
  const entry = file === trainName || file === validationName ? meta?.files[file] : undefined;
  const tokenizer = await chooseTokenizer(folder, entry && meta, options.tokenizer);
  const binPath = isFolder ? join(folder, file) : path;
  const source = await openFile(binPath);
  try {
    const tokens = new Tokens(source, { tokenizer, vocabularySize: getTokenizer(tokenizer).vocabularySize });
    if (entry && entry.tokens !== tokens.count) {
      const detail = `${metaName} speaks of ${entry.tokens} tokens, but the file holds ${tokens.count}`;
      throw new DataError(binPath, "length", detail, "One of them is damaged; prepare the data again.");
    }
    if (entry && options.verify) await verifyFile(binPath, { bytes: entry.tokens * 2, sha256: entry.sha256 });
    return tokens;
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Both files of a prepared folder. */
export interface Dataset {
  train: Tokens;
  validation: Tokens;
  meta: DatasetMeta | undefined;
  close(): Promise<void>;
}

/**
 * Opens both files of a prepared folder.
 * @throws DataError as `openTokens`
 */
export async function openDataset(folder: string, options: Omit<OpenTokensOptions, "split"> = {}): Promise<Dataset> {
  const train = await openTokens(folder, { ...options, split: "train" });
  try {
    const validation = await openTokens(folder, { ...options, split: "validation" });
    const close = async () => {
      await Promise.all([train.close(), validation.close()]);
    };
    return { train, validation, meta: await readMeta(folder), close };
  } catch (error) {
    await train.close();
    throw error;
  }
}

/**
 * Reads and checks the `meta.json` of a folder.
 * @returns undefined if there is none
 * @throws DataError if it is damaged or contradicts itself
 */
export async function readMeta(folder: string): Promise<DatasetMeta | undefined> {
  let source: FileSource;
  try {
    source = await openFile(join(folder, metaName));
  } catch (error) {
    if (errorCode((error as Error).cause) === "ENOENT") return undefined;
    throw error;
  }
  const meta = await readJson(source, metaSchema).finally(() => source.close());
  const { vocabularySize } = getTokenizer(meta.tokenizer);
  if (meta.vocabularySize !== vocabularySize) {
    const detail = `"${meta.tokenizer}" has ${vocabularySize} tokens, but the file says ${meta.vocabularySize}`;
    throw new DataError(source.name, "at vocabularySize", detail, "Prepare the data again.");
  }
  return meta;
}

async function chooseTokenizer(
  folder: string,
  meta: DatasetMeta | undefined,
  given: TokenizerName | undefined,
): Promise<TokenizerName> {
  if (meta && given && meta.tokenizer !== given) {
    const detail = `the tokens were made by "${meta.tokenizer}", but "${given}" is asked for`;
    throw new DataError(join(folder, metaName), "at tokenizer", detail, `Use "${meta.tokenizer}", or prepare again.`);
  }
  if (meta || given) return meta?.tokenizer ?? given!;
  const names = await readdir(folder).catch(() => [] as string[]);
  if (names.includes("meta.pkl")) {
    const detail = "these tokens are characters of nanoGPT's own table, which is a Python pickle";
    throw new DataError(
      join(folder, "meta.pkl"),
      "open",
      detail,
      "Prepare the text again with the tokenizer bytes or gpt2.",
    );
  }
  return "gpt2";
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    throw fileError(path, "open", error);
  }
}
