import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { withAlignedRows } from "./aligned_rows.ts";
import { attentionFields } from "./attention_args.ts";
import { type BuildFor, forwardBuild } from "./attention_builds.ts";
import { pack } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";
import { isMappable, noTensorMap, tensorMap } from "./tensor_map.ts";

type Args = Parameters<Ops["attentionForward"]>[0];

/** See `Ops.attentionForward`. */
export function attentionForward(runtime: CudaRuntime, { q, k, v, o, ...rest }: Args): void {
  const tensors = { q: [q, "read"], k: [k, "read"], v: [v, "read"], o: [o, rest.merge ? "update" : "write"] } as const;
  withAlignedRows(runtime, tensors, (aligned) => launch(runtime, { ...rest, ...aligned }));
}

function launch(runtime: CudaRuntime, args: Args): void {
  const { q, k, v } = args;
  const [B, Tq, H] = q.shape as [number, number, number];
  const { identity, ...problem } = buildFor(runtime, args, [k, v]);
  const { family, request, blockM, blockN, threads, sharedBytes } = forwardBuild({ ...problem, identity });
  const block = pack(attentionFields({ ...args, counter: runtime.counter }));
  const items = Math.ceil(Tq / blockM) * H * B;
  if (family === "mma") {
    runtime.launch(request, { grid: [items], threads, sharedBytes, parameters: [block] });
    return;
  }
  const maps = [k, v].map((x) => (identity ? tensorMap(runtime, x, blockN) : noTensorMap));
  const grid = [Math.min(items, runtime.facts.processors)] as const;
  runtime.launch(request, { grid, threads, sharedBytes, parameters: [block, ...maps] });
}

/** What the choice of a build depends on. @param mapped tensors that an sm90 build loads by tensor maps */
export function buildFor(
  { hasSm90a, facts: { sharedBytesPerBlock } }: CudaRuntime,
  { q, staircase, scale }: Pick<Args, "q" | "staircase" | "scale">,
  mapped: readonly Tensor[],
): BuildFor {
  const ordered = !staircase.qRows && !staircase.kRows;
  return {
    ...{ hasSm90a, sharedBytesPerBlock, scale },
    D: q.shape[3]!,
    isF16: q.dtype === "f16",
    // Without tensor maps rows are gathered, which also serves the identity.
    identity: ordered && mapped.every(isMappable),
  };
}
