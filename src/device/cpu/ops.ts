import { UnsupportedError } from "../../errors.ts";
import type { Ops } from "../ops.ts";
import { attentionBackward } from "./attention_backward.ts";
import { attentionDelta } from "./attention_delta.ts";
import { attentionForward } from "./attention_forward.ts";
import { copy } from "./copy.ts";
import { fill } from "./fill.ts";
import type { CpuRuntime } from "./runtime.ts";

/** The launchers of this device, under the names of the interface. */
const launchers = { attentionBackward, attentionDelta, attentionForward, copy, fill };

/** Binds the launchers to a runtime. */
export function cpuOps(runtime: CpuRuntime): Ops {
  const ops = Object.fromEntries(
    Object.entries(launchers).map(([name, launch]) => [name, (args: never) => launch(runtime, args)]),
  );
  return new Proxy(ops, {
    get: (target, name) =>
      target[name as string] ??
      (() => {
        throw new UnsupportedError(String(name), "the CPU device must have this op", "none");
      }),
  }) as unknown as Ops;
}
