import { DataError, ShapeError } from "../errors.ts";
import { publishFolder } from "../files/publish.ts";
import type { FileDigest, FileSink } from "../files/write.ts";
import { threefry2x32 } from "../rng.ts";
import { type DocumentPiece, type ReadOptions, readDocuments } from "./documents.ts";
import { expandInputs, type Input } from "./inputs.ts";
import { type DatasetMeta, metaName, trainName, validationName } from "./meta.ts";
import { getTokenizer, type Tokenizer, type TokenizerName } from "./tokenizers.ts";

export interface PrepareOptions {
  /** Text files, `.jsonl`, `.parquet`, folders of them, and patterns (`*`, `?`, `**`). */
  files: readonly string[];
  /** The folder to make. */
  out: string;
  tokenizer: TokenizerName;
  /** How much goes to `val.bin`: 0 to 0.5; a tenth if left out. */
  validationShare?: number;
  /**
   * What goes to `val.bin`. "tail": the last part of every text file. "document": whole documents, each chosen by a hash of
   * its number and the seed; never the first, always the second. "auto" (if left out): by document when there are JSON
   * lines, Parquet, or at least 2 / validationShare text files; else by tail.
   */
  splitBy?: "auto" | "tail" | "document";
  /** Of the choice by document; 0 if left out. */
  seed?: number;
  /** Field of a JSON line or column of a Parquet file that holds the text; "text" if left out. */
  textField?: string;
  /** Replace an earlier dataset in `out`. */
  overwrite?: boolean;
  onProgress?: (progress: PrepareProgress) => void;
  /** Stops the work; what was written is removed. */
  signal?: AbortSignal;
}

export interface PrepareProgress {
  doneBytes: number;
  totalBytes: number;
  tokens: number;
  /** The file being read. */
  file: string;
}

/**
 * Turns texts into a folder of tokens in nanoGPT's format: `train.bin` and `val.bin` (raw little-endian uint16) and
 * `meta.json`. The folder appears in one step when all is done; a run that is stopped leaves nothing that a loader takes
 * for data. Memory does not grow with the input, but for single JSON lines and Parquet pages.
 * @returns what `meta.json` says
 * @throws DataError naming the file and the place of what cannot be read or written
 */
export async function prepare(options: PrepareOptions): Promise<DatasetMeta> {
  const { out, validationShare = 0.1, seed = 0, overwrite = false } = options;
  if (!(validationShare >= 0 && validationShare <= 0.5)) {
    throw new ShapeError("prepare", "the validation share must be 0 .. 0.5", `${validationShare}`);
  }
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) {
    throw new ShapeError("prepare", "the seed must be a whole number of 0 .. 2^32 - 1", `${seed}`);
  }
  const tokenizer = getTokenizer(options.tokenizer);
  const inputs = await expandInputs(options.files);
  const split = { by: chooseSplit(inputs, options), validationShare, seed };
  const names = [trainName, validationName, metaName];
  return publishFolder(
    out,
    async (folder) => {
      const writers = { train: new TokenWriter(await folder.create(trainName)) } as Writers;
      try {
        writers.validation = new TokenWriter(await folder.create(validationName));
        const { documents, sources } = await encodeAll(inputs, { ...options, tokenizer, split, writers });
        const files = {
          [trainName]: await writers.train.finish(),
          [validationName]: await writers.validation.finish(),
        };
        const { name, vocabularySize, separator } = tokenizer;
        const meta: DatasetMeta = {
          format: "scfa-tokens",
          version: 1,
          tokenizer: name,
          vocabularySize,
          separator,
          split,
          files,
          documents,
          sources,
        };
        await folder.write(metaName, `${JSON.stringify(meta, null, 2)}\n`);
        return meta;
      } catch (error) {
        await Promise.all([writers.train.abandon(), writers.validation?.abandon()]);
        throw error;
      }
    },
    { overwrite, expected: names },
  );
}

interface Writers {
  train: TokenWriter;
  validation: TokenWriter;
}

interface EncodeOptions extends Omit<PrepareOptions, "tokenizer"> {
  tokenizer: Tokenizer;
  split: DatasetMeta["split"];
  writers: Writers;
}

async function encodeAll(
  inputs: readonly Input[],
  options: EncodeOptions,
): Promise<Pick<DatasetMeta, "documents" | "sources">> {
  const { split, writers, textField = "text" } = options;
  const documents = { train: 0, validation: 0, empty: 0 };
  const sources: DatasetMeta["sources"] = [];
  const report = reporter(inputs, options);
  const tailShare = split.by === "tail" ? split.validationShare : 0;
  for (const input of inputs) {
    const before = documents.train + documents.validation;
    const sha256 = await encodeInput(input, { textField, tailShare }, { ...options, documents, report });
    const { name, kind, bytes } = input;
    const found = documents.train + documents.validation - before;
    // Head and tail of a text are one document.
    sources.push({ name, kind, bytes, sha256, documents: kind === "text" ? Math.min(1, found) : found });
    report(input, bytes, { isEnd: true });
  }
  checkResult(inputs, documents, { ...options, writers });
  return { documents, sources };
}

/** @returns the SHA-256 of the input */
async function encodeInput(
  input: Input,
  read: ReadOptions,
  options: EncodeOptions & { documents: DatasetMeta["documents"]; report: (input: Input, doneBytes: number) => void },
): Promise<string> {
  const pieces = readDocuments(input, read);
  try {
    let encoder: DocumentEncoder | undefined;
    for (;;) {
      const next = await pieces.next();
      if (next.done) return next.value;
      options.signal?.throwIfAborted();
      encoder ??= startDocument(next.value, options.documents, options);
      await encoder.push(next.value);
      if (next.value.isEnd) {
        options.documents[await encoder.end()]++;
        encoder = undefined;
      }
      options.report(input, next.value.doneBytes);
    }
  } finally {
    // Closes the file when the loop was left early.
    await pieces.return("");
  }
}

interface DocumentEncoder {
  push(piece: DocumentPiece): Promise<void>;
  /** Where the document went. */
  end(): Promise<"train" | "validation" | "empty">;
}

function startDocument(
  first: DocumentPiece,
  counts: DatasetMeta["documents"],
  options: EncodeOptions,
): DocumentEncoder {
  const { tokenizer, split, writers } = options;
  const number = counts.train + counts.validation;
  const isChosen = split.by === "tail" ? first.isTail : isForValidation(number, split);
  const goal = isChosen ? "validation" : "train";
  const stream = tokenizer.stream(first.place);
  let isEmpty = true;
  return {
    async push({ bytes }) {
      // A document in one piece may be long; its tokens are made a part at a time.
      for (let start = 0; start < bytes.length; start += partBytes) {
        await writers[goal].add(stream.push(bytes.subarray(start, start + partBytes)));
        isEmpty = false;
      }
    },
    async end() {
      await writers[goal].add(stream.end());
      if (isEmpty) return "empty";
      await writers[goal].add([tokenizer.separator]);
      return goal;
    },
  };
}

const partBytes = 1 << 18;
/** Second key word of the stream that chooses documents; spelled to stay clear of small numbers. */
const splitStream = 0x73706c69;

function isForValidation(document: number, { validationShare, seed }: DatasetMeta["split"]): boolean {
  // So that two documents are enough for both files.
  if (document < 2) return document === 1 && validationShare > 0;
  const [word] = threefry2x32([seed, splitStream], [document >>> 0, Math.floor(document / 2 ** 32)]);
  return (word! + 0.5) / 2 ** 32 < validationShare;
}

function chooseSplit(inputs: readonly Input[], options: PrepareOptions): "tail" | "document" {
  const { splitBy = "auto", validationShare = 0.1 } = options;
  const records = inputs.find(({ kind }) => kind !== "text");
  if (splitBy === "tail" && records) {
    const detail = "only text files have a tail to split off, but this is a file of many documents";
    throw new DataError(records.path, "split", detail, 'Split by "document".');
  }
  if (splitBy !== "auto") return splitBy;
  return records || inputs.length * validationShare >= 2 ? "document" : "tail";
}

function checkResult(
  inputs: readonly Input[],
  documents: DatasetMeta["documents"],
  { out, split, writers }: EncodeOptions,
): void {
  const first = inputs[0]!.path;
  if (documents.train + documents.validation === 0) {
    const what = inputs.length === 1 ? "the file holds no text" : `none of the ${inputs.length} files holds any text`;
    throw new DataError(inputs.length === 1 ? first : out, "input", what, "Give some text.");
  }
  if (split.validationShare > 0 && writers.validation.count === 0) {
    const [detail, fix] =
      split.by === "tail"
        ? ["the text is too short to give a part of it to validation", "Give a longer text."]
        : ["there is one document only, so none is left for validation", "Give more documents or a share of 0."];
    throw new DataError(inputs.length === 1 ? first : out, "split", detail, fix);
  }
}

/** Progress at most ten times a second, and at the end of each file. */
function reporter(inputs: readonly Input[], { onProgress, writers }: EncodeOptions) {
  const totalBytes = inputs.reduce((n, { bytes }) => n + bytes, 0);
  const startOf = new Map<Input, number>();
  inputs.reduce((start, input) => {
    startOf.set(input, start);
    return start + input.bytes;
  }, 0);
  let lastMs = Number.NEGATIVE_INFINITY;
  return (input: Input, doneBytes: number, { isEnd = false } = {}) => {
    if (!onProgress || (!isEnd && performance.now() - lastMs < 100)) return;
    lastMs = performance.now();
    const tokens = writers.train.count + writers.validation.count;
    onProgress({ doneBytes: startOf.get(input)! + doneBytes, totalBytes, tokens, file: input.path });
  };
}

/** Collects tokens and writes them in large pieces. */
class TokenWriter {
  count = 0;
  readonly #sink: FileSink;
  readonly #buffer = new Uint16Array(1 << 19);
  #filled = 0;

  constructor(sink: FileSink) {
    this.#sink = sink;
  }

  async add(tokens: ArrayLike<number>): Promise<void> {
    for (let i = 0; i < tokens.length; i++) {
      if (this.#filled === this.#buffer.length) await this.#flush();
      this.#buffer[this.#filled++] = tokens[i]!;
    }
    this.count += tokens.length;
  }

  async finish(): Promise<{ tokens: number; sha256: string }> {
    await this.#flush();
    const { sha256 }: FileDigest = await this.#sink.finish();
    return { tokens: this.count, sha256 };
  }

  async abandon(): Promise<void> {
    await this.#sink.abandon();
  }

  async #flush(): Promise<void> {
    await this.#sink.write(new Uint8Array(this.#buffer.buffer, 0, this.#filled * 2));
    this.#filled = 0;
  }
}
