import { z } from "zod";
import { ShapeError } from "../errors.ts";
import { formatAttention, type LayerAttention, parseAttention } from "./notation.ts";

const count = () => z.int().min(1);

/** The model, as it stands in `config.json`. Each field's description is what `--help` prints. */
export const modelSchema = z.strictObject({
  layers: count().describe("number of blocks"),
  heads: count().describe("query heads of each block"),
  kvHeads: count().optional().describe("key and value heads of each block; divides heads (default: heads)"),
  width: count().describe("width of the residual stream; heads times the head dimension"),
  vocabulary: z.int().min(2).describe("rows of the embedding table; at least the tokenizer's number of tokens"),
  context: count().describe("longest sequence, in tokens (T)"),
  positions: z
    .enum(["learned", "rope", "rope-scores", "rope-windows"])
    .default("learned")
    .describe(
      "a learned table, rotary embedding, or rotary embedding that leaves hashing to content at any distance: in the scores alone, or in the heads that see a window alone",
    ),
  sharedQK: z.boolean().default(false).describe("keys are the normalised queries, as in the paper's models"),
  biases: z.boolean().default(false).describe("biases in products and normalisations, as in GPT-2"),
  epsilon: z.number().positive().max(1e-2).default(1e-5).describe("added to the variance in layer normalisation"),
  attention: z
    .union([z.string(), z.array(z.string()).min(1)])
    .default("dense")
    .describe(
      'what the heads see, for all layers or as a list for each: "dense", "window(256):6 hash(16):6", ...; "hash(16, balanced=true)" keeps buckets even while training',
    ),
  rotations: z
    .enum(["redrawn", "fixed"])
    .default("redrawn")
    .describe("hash rotations: new ones for each layer and step, or the same throughout"),
  documentEnd: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe("token that ends a document; attention does not look past it (default: one document)"),
  seed: z.int().min(0).max(0xffffffff).default(1).describe("seed of the first weights and of the hash rotations"),
});

/** A model's configuration as a person writes it: fields with defaults may be left out. */
export type ModelOptions = z.input<typeof modelSchema>;

/** A checked configuration with every field present. Plain data: it is stored as it is. */
export type ModelConfig = Omit<z.output<typeof modelSchema>, "kvHeads"> & { kvHeads: number };

/** Ready configurations; a field given beside a preset replaces the preset's. */
export const modelPresets = {
  /** The language model of the paper (arXiv 2306.01160, section 4), dense; its context is 8192 or 16384. */
  "paper-124m": {
    layers: 12,
    heads: 12,
    width: 768,
    vocabulary: 50304,
    context: 8192,
    sharedQK: true,
  },
  /** GPT-2 small. */
  gpt2: {
    layers: 12,
    heads: 12,
    width: 768,
    vocabulary: 50257,
    context: 1024,
    biases: true,
  },
  /** Small enough to learn something from bytes in minutes on a CPU; rotary positions, because they learn soonest. */
  demo: {
    layers: 2,
    heads: 4,
    width: 128,
    vocabulary: 256,
    context: 4096,
    positions: "rope",
    attention: "window(128):2 hash(16):2",
  },
} as const satisfies Record<string, ModelOptions>;

/**
 * Checks a model's configuration and fills in what was left out.
 * @throws ShapeError with one sentence about the first thing that is wrong
 */
export function parseModelConfig(options: unknown): ModelConfig {
  const parsed = checkedBy(modelSchema, "model", options);
  const config = { ...parsed, kvHeads: parsed.kvHeads ?? parsed.heads };
  checkHeads(config);
  if (config.documentEnd !== null && config.documentEnd >= config.vocabulary) {
    throw wrong("documentEnd", `a token below the vocabulary of ${config.vocabulary}`, `${config.documentEnd}`);
  }
  layerAttentions(config);
  return config;
}

/** The head dimension, D. */
export function headDimension(config: Pick<ModelConfig, "width" | "heads">): number {
  return config.width / config.heads;
}

/**
 * What each layer's heads see, parsed.
 * @throws ShapeError where the notation is wrong, or a list has neither one entry for each layer nor a divisor of that
 *   many (which then repeats: `["window(256)", "dense"]` alternates)
 */
export function layerAttentions(config: Pick<ModelConfig, "attention" | "layers" | "heads">): LayerAttention[] {
  const list = typeof config.attention === "string" ? [config.attention] : config.attention;
  if (config.layers % list.length !== 0) {
    throw wrong("attention", `a list of ${config.layers} layers or of a divisor of that`, `${list.length} entries`);
  }
  const parsed = list.map((text) => parseAttention(text, config.heads));
  return Array.from({ length: config.layers }, (_, layer) => parsed[layer % parsed.length]!);
}

/** One line for people: the size of the model and what it attends to. */
export function describeModel(config: ModelConfig): string {
  const layers = [...new Set(layerAttentions(config).map(formatAttention))].join("; ");
  const shared = config.sharedQK ? ", shared queries and keys" : "";
  return `${config.layers} layers, ${config.heads} heads of ${headDimension(config)}, width ${config.width}, vocabulary ${
    config.vocabulary
  }, context ${config.context}, ${config.positions} positions${shared}; attention ${layers}`;
}

/**
 * `value` as the schema understands it.
 * @param what the first word of an error's message
 * @throws ShapeError about the first thing that is wrong
 */
export function checkedBy<S extends z.ZodType>(schema: S, what: string, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const place = [what, ...issue.path].join(".");
  if (issue.code === "unrecognized_keys") {
    throw new ShapeError(place, "options must be known ones", `"${issue.keys.join('", "')}"`, "Leave it out.");
  }
  const actual = issue.path.reduce<unknown>((v, key) => (v as Record<PropertyKey, unknown> | undefined)?.[key], value);
  const rule = issue.message.replace(/^Invalid (input|option): |, received .*$/g, "");
  throw new ShapeError(place, rule, actual === undefined ? "nothing" : JSON.stringify(actual));
}

function checkHeads(config: ModelConfig): void {
  const { width, heads, kvHeads, sharedQK } = config;
  const D = width / heads;
  if (!Number.isInteger(D)) throw wrong("width", `a multiple of heads (${heads})`, `${width}`);
  if (D % 8 !== 0 || D < 16 || D > 256) {
    throw wrong("width", "heads times a head dimension of 16 to 256 in steps of 8", `${width} / ${heads} = ${D}`);
  }
  if (heads % kvHeads !== 0) throw wrong("kvHeads", `a divisor of heads (${heads})`, `${kvHeads}`);
  if (sharedQK && kvHeads !== heads) {
    throw wrong("kvHeads", `equal to heads (${heads}) where keys are the queries`, `${kvHeads}`, "Turn sharedQK off.");
  }
  if (config.positions === "rope-windows") checkKeyHeadsApart(config);
  if (!sharedQK) checkBalancedKeyHeads(config);
}

/** A key head is turned for all of its query heads or for none. */
function checkKeyHeadsApart(config: ModelConfig): void {
  const { heads, kvHeads } = config;
  for (const attention of layerAttentions(config)) {
    if (headRanges(attention).every(({ end }) => end % (heads / kvHeads) === 0)) continue;
    const rule = `such that no group of heads ends within one of the ${kvHeads} key heads, where positions are rope-windows`;
    throw wrong("attention", rule, formatAttention(attention));
  }
}

/** Balanced queries go by the moments of their keys: all in a group by one key head, or as many by each. */
function checkBalancedKeyHeads(config: ModelConfig): void {
  const { heads, kvHeads } = config;
  const perKeyHead = heads / kvHeads;
  for (const attention of layerAttentions(config)) {
    const isClear = headRanges(attention).every(({ pattern, first, end }) => {
      if (!("balanced" in pattern) || !pattern.balanced) return true;
      const readsOne = Math.floor(first / perKeyHead) === Math.floor((end - 1) / perKeyHead);
      return readsOne || (first % perKeyHead === 0 && end % perKeyHead === 0);
    });
    if (isClear) continue;
    const rule = `such that a group of balanced heads reads one of the ${kvHeads} key heads, or whole ones`;
    throw wrong("attention", rule, formatAttention(attention));
  }
}

/** The groups of a layer, each with its heads: first .. end - 1. */
function headRanges(attention: LayerAttention) {
  let end = 0;
  return attention.map(({ heads, pattern }) => {
    const first = end;
    end += heads;
    return { pattern, first, end };
  });
}

function wrong(field: string, rule: string, actual: string, fix = ""): ShapeError {
  return new ShapeError(`model.${field}`, `it must be ${rule}`, actual, fix);
}
