import { z } from "zod";
import { tokenizerNames } from "./tokenizers.ts";

export const metaName = "meta.json";
export const trainName = "train.bin";
export const validationName = "val.bin";

const binSchema = z.object({
  tokens: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits"),
});

/** `meta.json` of a folder of tokens; what nanoGPT's `train.bin` and `val.bin` leave unsaid. */
export const metaSchema = z.object({
  format: z.literal("scfa-tokens"),
  version: z.literal(1),
  tokenizer: z.enum(tokenizerNames as ["bytes", "gpt2"]),
  /** Every token is below it. */
  vocabularySize: z.int().min(1).max(65536),
  /** The token after each document. */
  separator: z.int().min(0).max(65535),
  split: z.object({
    by: z.enum(["tail", "document"]),
    validationShare: z.number().min(0).max(0.5),
    seed: z.int(),
  }),
  files: z.object({ [trainName]: binSchema, [validationName]: binSchema }),
  documents: z.object({ train: z.int().min(0), validation: z.int().min(0), empty: z.int().min(0) }),
  sources: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(["text", "jsonl", "parquet"]),
      bytes: z.int().min(0),
      sha256: z.string(),
      documents: z.int().min(0),
    }),
  ),
});

export type DatasetMeta = z.infer<typeof metaSchema>;
