import type { Ops } from "../ops.ts";
import { areAligned } from "./elements.ts";
import { i32, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const rowsPerBlock = 8;
const groupsPerWarp = 3;

/** See `Ops.embed`. */
export function embed(runtime: CudaRuntime, args: Parameters<Ops["embed"]>[0]): void {
  const { tokens, tokenTable, positionTable, firstPosition, out } = args;
  const [V, C] = tokenTable.shape as [number, number];
  const [B, T] = tokens.shape as [number, number];
  const positions = positionTable && T > 0 ? positionTable.slice(0, firstPosition, T) : null;
  const width = C % 8 === 0 && areAligned(8, tokenTable, positions, out) ? 8 : 1;
  const fields = [pointer(tokens), pointer(tokenTable), pointer(positions), pointer(out)];
  runtime.launch(
    { file: "embed", defines: { ELEMENT_F16: out.dtype === "f16" ? 1 : 0, WIDTH: width } },
    {
      grid: [Math.ceil((B * T) / rowsPerBlock), Math.ceil(C / (32 * width * groupsPerWarp))],
      threads,
      parameters: [pack([...fields, i32(B * T), i32(T), i32(V), i32(C)])],
    },
  );
}
