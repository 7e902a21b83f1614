// Everything the CPU device runs. Each exported function `(args, task, scratch)` is a kernel under its own name.

export * from "./attention_backward.as";
export * from "./attention_delta.as";
export * from "./attention_forward.as";
export * from "./copy.as";
export * from "./fill.as";
export { dataEnd, run, runInline } from "./runtime.as";
