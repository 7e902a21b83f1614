import { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { withAlignedRows } from "./aligned_rows.ts";
import { attentionFields } from "./attention_args.ts";
import { backwardBuild, type MmaBackwardBuild, type Sm90BackwardBuild } from "./attention_builds.ts";
import { attentionDelta } from "./attention_delta.ts";
import { buildFor } from "./attention_forward.ts";
import { type CudaStorage, pack } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";
import { noTensorMap, rowMap, tensorMap } from "./tensor_map.ts";

type Args = Parameters<Ops["attentionBackward"]>[0];

/** See `Ops.attentionBackward`. */
export function attentionBackward(runtime: CudaRuntime, { q, k, v, o, dout, dq, dk, dv, ...rest }: Args): void {
  const dqUse = rest.accumulateQ ? "update" : "write";
  const dkvUse = rest.accumulateKV ? "update" : "write";
  // Where o is missing delta is there, and nobody looks at o.
  const inputs = {
    q: [q, "read"],
    k: [k, "read"],
    v: [v, "read"],
    o: [o ?? dout, "read"],
    dout: [dout, "read"],
  } as const;
  const outputs = { dq: [dq, dqUse], dk: [dk, dkvUse], dv: [dv, dkvUse] } as const;
  withAlignedRows(runtime, { ...inputs, ...outputs }, (aligned) => launch(runtime, { ...rest, ...aligned }));
}

function launch(runtime: CudaRuntime, args: Args): void {
  const problem = buildFor(runtime, args, [args.q, args.k, args.v, args.dout]);
  const { sm90, mma } = backwardBuild(problem, runtime);
  if (!args.delta && !sm90?.makesDq) {
    withDelta(runtime, args, (delta) => launch(runtime, { ...args, delta }));
    return;
  }
  if (sm90) launchSm90(runtime, args, { build: sm90, identity: problem.identity });
  else launchMma(runtime, args, { build: mma, part: "kv" });
  if (!sm90?.makesDq) launchMma(runtime, args, { build: mma, part: "q" });
}

/** Makes delta for kernels that do not make it themselves. */
function withDelta(runtime: CudaRuntime, { q, o, dout }: Args, use: (delta: Tensor) => void): void {
  const [B, Tq, H] = q.shape as [number, number, number];
  const bytes = 4 * B * H * Tq;
  runtime.withScratch(bytes, (address) => {
    const storage: CudaStorage = { address, bytes };
    const delta = new Tensor(q.device, storage, "f32", [B, H, Tq]);
    attentionDelta(runtime, { o: o!, dout, delta });
    use(delta);
  });
}

function launchMma(
  runtime: CudaRuntime,
  args: Args,
  { build, part }: { build: MmaBackwardBuild; part: "kv" | "q" },
): void {
  const { request, blockM, slices, threads, sharedBytes } = build;
  const [B, T, heads] = (part === "q" ? args.q : args.k).shape as [number, number, number];
  const grid = [Math.ceil(T / blockM) * heads * B, slices] as const;
  const entry = `attention_backward_${part}`;
  runtime.launch({ ...request, entry }, { grid, threads, sharedBytes, parameters: [pack(attentionFields(args))] });
}

function launchSm90(
  runtime: CudaRuntime,
  args: Args,
  { build, identity }: { build: Sm90BackwardBuild; identity: boolean },
): void {
  const { q, k, v, dout } = args;
  const [B, Tq, H, D] = q.shape as [number, number, number, number];
  const [, Tk, Hk] = k.shape as [number, number, number];
  const { blockM, blockN, makesDq } = build;
  const queryTiles = Math.ceil(Tq / blockM) * H * B;
  const statsBytes = queryTiles * blockM * 2 * 4;
  const dqSumBytes = makesDq ? queryTiles * blockM * D * 4 : 0;
  runtime.withScratch(dqSumBytes + statsBytes, (base) => {
    const scratch = { dqSum: base, stats: base + dqSumBytes, counter: runtime.counter };
    const block = pack(attentionFields({ ...args, ...scratch }));
    const aside = { grid: [queryTiles], threads: build.scratchThreads, parameters: [block] } as const;
    runtime.launch({ ...build.scratch, entry: "attention_backward_prepare" }, aside);
    runtime.launch(build.request, {
      grid: [Math.min(Math.ceil(Tk / blockN) * Hk * B, runtime.facts.processors)],
      threads: build.threads,
      sharedBytes: build.sharedBytes,
      parameters: [
        block,
        ...[q, k, v, dout].map((x) => (identity ? tensorMap(runtime, x, blockM) : noTensorMap)),
        rowMap(runtime, { address: scratch.stats, count: queryTiles, width: 2 * blockM }),
      ],
    });
    if (makesDq) runtime.launch({ ...build.scratch, entry: "attention_backward_finish" }, aside);
  });
}
