import type { Ops } from "../ops.ts";
import { adamw } from "./adamw.ts";
import { add } from "./add.ts";
import { attentionBackward } from "./attention_backward.ts";
import { attentionDelta } from "./attention_delta.ts";
import { attentionForward } from "./attention_forward.ts";
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
  attentionBackward,
  attentionDelta,
  attentionForward,
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

/** Binds the launchers to a runtime. */
export function webgpuOps(runtime: WebgpuRuntime): Ops {
  const entries = Object.entries(launchers).map(([name, launch]) => [
    name,
    (args: never) => runtime.timed(name, () => launch(runtime, args)),
  ]);
  return Object.fromEntries(entries) as Ops;
}
