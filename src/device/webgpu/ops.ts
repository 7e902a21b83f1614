import { UnsupportedError } from "../../errors.ts";
import type { Ops } from "../ops.ts";
import { adamw } from "./adamw.ts";
import { add } from "./add.ts";
import { cast } from "./cast.ts";
import { copy } from "./copy.ts";
import { embed } from "./embed.ts";
import { embedBackward } from "./embed_backward.ts";
import { fill } from "./fill.ts";
import { gradNorm } from "./grad_norm.ts";
import { keepMask } from "./keep_mask.ts";
import { layerNorm } from "./layer_norm.ts";
import { layerNormBackward } from "./layer_norm_backward.ts";
import { linear } from "./linear.ts";
import { linearBackwardInput, linearBackwardWeight } from "./linear_backward.ts";
import { lshBuckets } from "./lsh_buckets.ts";
import { normalizeRows, normalizeRowsBackward } from "./normalize_rows.ts";
import { rope } from "./rope.ts";
import type { WebgpuRuntime } from "./runtime.ts";
import { softmaxCrossEntropy } from "./softmax_cross_entropy.ts";
import { staircase } from "./staircase.ts";

/** The launchers of this device, under the names of the interface. */
const launchers: { [K in keyof Ops]: (runtime: WebgpuRuntime, args: Parameters<Ops[K]>[0]) => void } = {
  adamw,
  add,
  attentionBackward: notYet("attentionBackward"),
  attentionDelta: notYet("attentionDelta"),
  attentionForward: notYet("attentionForward"),
  cast,
  copy,
  embed,
  embedBackward,
  fill,
  gradNorm,
  keepMask,
  layerNorm,
  layerNormBackward,
  linear,
  linearBackwardInput,
  linearBackwardWeight,
  lshBuckets,
  normalizeRows,
  normalizeRowsBackward,
  rope,
  softmaxCrossEntropy,
  staircase,
};

function notYet(op: string): () => never {
  return () => {
    throw new UnsupportedError(op, "the device must have the op", "webgpu, which has it not in this version");
  };
}

/** Binds the launchers to a runtime. */
export function webgpuOps(runtime: WebgpuRuntime): Ops {
  const entries = Object.entries(launchers).map(([name, launch]) => [name, (args: never) => launch(runtime, args)]);
  return Object.fromEntries(entries) as Ops;
}
