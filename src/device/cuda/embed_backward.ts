import type { Ops } from "../ops.ts";
import { areAligned } from "./elements.ts";
import { i32, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const sumThreads = 192;

/** See `Ops.embedBackward`. */
export function embedBackward(runtime: CudaRuntime, args: Parameters<Ops["embedBackward"]>[0]): void {
  const { tokens, dout, dTokenTable, dPositionTable } = args;
  const [V, C] = dTokenTable.shape as [number, number];
  const [B, T] = tokens.shape as [number, number];
  const rows = B * T;
  if (rows === 0 || C === 0) return;
  const width = C % 4 === 0 && areAligned(4, dout, dTokenTable, dPositionTable) ? 4 : 1;
  const columns = C / width;
  const defines = { ELEMENT_F16: dout.dtype === "f16" ? 1 : 0, WIDTH: width };
  const call = (tokensInOrder: boolean, order: number) => {
    const outputs = [pointer(tokensInOrder ? null : dTokenTable), pointer(dPositionTable)];
    return [pack([pointer(tokens), pointer(dout), ...outputs, pointer(order), ...[B, T, V, C].map(i32)])];
  };
  const onePass = (tokensInOrder: boolean) => {
    const parameters = call(tokensInOrder, 0);
    const grid = [Math.ceil((T * columns) / threads)] as const;
    runtime.launch({ file: "embed_backward", defines }, { grid, threads, parameters });
  };
  if (!runtime.deterministic) {
    onePass(false);
    return;
  }
  if (dPositionTable) onePass(true);
  runtime.withScratch(4 * rows, (order) => {
    const parameters = call(false, order);
    const sort = { grid: [Math.ceil(rows / threads)], threads, parameters } as const;
    runtime.launch({ file: "embed_backward", entry: "sort_tokens", defines }, sort);
    const sum = { grid: [rows, Math.ceil(columns / sumThreads)], threads: sumThreads, parameters } as const;
    runtime.launch({ file: "embed_backward", entry: "sum_tokens", defines }, sum);
  });
}
