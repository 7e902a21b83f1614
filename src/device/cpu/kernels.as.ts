// Everything the CPU device runs. Each exported function `(args, task, scratch)` is a kernel under its own name.

export * from "./copy.as";
export * from "./fill.as";
export { dataEnd, run, runInline } from "./runtime.as";
