// Everything the CPU device runs. Each exported function `(args, task, scratch)` is a kernel under its own name.

export * from "./adamw.as";
export * from "./add.as";
export * from "./attention_backward.as";
export * from "./attention_delta.as";
export * from "./attention_forward.as";
export * from "./cast.as";
export * from "./column_sums.as";
export * from "./copy.as";
export * from "./embed.as";
export * from "./embed_backward.as";
export * from "./fill.as";
export { gemm, packPanels } from "./gemm.as";
export * from "./grad_norm.as";
export * from "./keep_mask.as";
export * from "./layer_norm.as";
export * from "./layer_norm_backward.as";
export * from "./lsh_buckets.as";
export { normalizeRows } from "./normalize_rows.as";
export * from "./normalize_rows_backward.as";
export * from "./rope.as";
export { dataEnd, run, runInline } from "./runtime.as";
export * from "./softmax_cross_entropy.as";
export * from "./staircase.as";
