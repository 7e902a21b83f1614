import { defineCommand, flag, UsageError } from "./command.ts";
import { withInterrupt } from "./interrupt.ts";
import { showProgress } from "./progress.ts";
import { bytes, thousands } from "./terminal.ts";

export const command = defineCommand({
  name: "prepare",
  summary: "turn texts (.txt, .jsonl, .parquet, folders of them) into tokens to train on",
  description:
    "Writes train.bin and val.bin (raw 16-bit tokens, the format of nanoGPT) and meta.json. The folder appears in one step when everything is done. `scfa train --data <file>` does this by itself for a plain text.",
  args: { usage: "<files...>", least: 1, most: Number.MAX_SAFE_INTEGER },
  flags: {
    out: flag.text("folder to make", { placeholder: "<folder>" }),
    tokenizer: flag.choice("bytes (any text, 256 tokens) or gpt2 (GPT-2's byte-pair encoding)", ["bytes", "gpt2"], {
      byDefault: "bytes",
    }),
    validationShare: flag.number("share kept for validation, 0 to 0.5", {
      least: 0,
      most: 0.5,
      byDefault: "0.1",
    }),
    split: flag.choice("what is kept: the tail of each text, or whole documents", ["auto", "tail", "document"], {
      byDefault: "auto",
    }),
    seed: flag.count("seed of the choice of documents", { least: 0, most: 2 ** 32 - 1, byDefault: "0" }),
    field: flag.text("field of a JSON line or column of a Parquet file that holds the text", { byDefault: "text" }),
    overwrite: flag.toggle("replace an earlier dataset in the folder"),
  },
  examples: [
    { line: "scfa prepare book.txt --out data/book", says: "one book, every byte a token" },
    { line: "scfa prepare 'docs/**/*.md' --out data/docs --tokenizer gpt2", says: "a folder of texts, GPT-2's tokens" },
    { line: "scfa prepare dump.jsonl --field body --out data/dump", says: "the field `body` of every line" },
  ],
  async run({ args, flags, terminal }) {
    const { out } = flags;
    if (out === undefined) throw new UsageError("scfa prepare needs a folder to write to: --out <folder>.");
    const { prepare } = await import("../data/prepare.ts");
    const progress = await showProgress(terminal, { total: 100, label: "prepare %" });
    const meta = await withInterrupt(terminal, { saying: "Stopping; nothing is left behind." }, (signal) =>
      prepare({
        files: args,
        out,
        tokenizer: flags.tokenizer ?? "bytes",
        signal,
        onProgress: ({ doneBytes, totalBytes, tokens }) => {
          const done = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
          progress.update(done, [`${thousands(tokens)} tokens`]);
        },
        ...(flags.validationShare !== undefined && { validationShare: flags.validationShare }),
        ...(flags.split && { splitBy: flags.split }),
        ...(flags.seed !== undefined && { seed: flags.seed }),
        ...(flags.field && { textField: flags.field }),
        ...(flags.overwrite && { overwrite: true }),
      }),
    ).finally(() => progress.stop());
    const { "train.bin": train, "val.bin": validation } = meta.files;
    const sourceBytes = meta.sources.reduce((sum, source) => sum + source.bytes, 0);
    terminal.out(
      `${out}: ${thousands(train.tokens)} tokens to train on, ${thousands(validation.tokens)} to validate, ` +
        `from ${meta.sources.length} ${meta.sources.length === 1 ? "file" : "files"} (${bytes(sourceBytes)})\n`,
    );
  },
});
