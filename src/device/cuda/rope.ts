import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { areAligned } from "./elements.ts";
import { i32, i64, pack, view } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const headsPerThread = 4;
/** Of one launch: their turns are parameters of the kernel. */
const mostPairs = 128;

/** See `Ops.rope`. */
export function rope(runtime: CudaRuntime, args: Parameters<Ops["rope"]>[0]): void {
  const { x, base, firstPosition, inverse = false, out } = args;
  const [B, T, H, D] = x.shape as [number, number, number, number];
  const half = D / 2;
  const width = half % 8 === 0 && [x, out].every(hasAlignedRows) ? 8 : 1;
  const turns = Array.from({ length: half }, (_, i) => turnOf((inverse ? -1 : 1) * base ** ((-2 * i) / D)));
  for (let firstPair = 0; firstPair < half; firstPair += mostPairs) {
    const own = turns.slice(firstPair, firstPair + mostPairs);
    const sizes = [B * T, T, H, half, firstPair, own.length, firstPosition].map(i32);
    const table = Array.from({ length: mostPairs }, (_, i) => i64(own[i] ?? 0));
    runtime.launch(
      { file: "rope", defines: { ELEMENT_F16: x.dtype === "f16" ? 1 : 0, WIDTH: width } },
      {
        grid: [Math.ceil((B * T * own.length) / width / threads), Math.ceil(H / headsPerThread)],
        threads,
        parameters: [pack([...view(x), ...view(out), ...table, ...sizes])],
      },
    );
  }
}

/**
 * An angle as a fraction of a turn, times 2^64, between -2^63 and 2^63: two's complement makes whole turns vanish.
 * Doubles leave an error of 2^-54 of a turn, which 2^20 positions raise to 2^-34.
 */
function turnOf(radians: number): number {
  const turns = radians / (2 * Math.PI);
  const fraction = (turns - Math.round(turns)) * 2 ** 64;
  return Math.min(fraction, 2 ** 63 - 1024);
}

/** Whether each half of each head begins at a multiple of 16 bytes, if D/2 is a multiple of 8. */
function hasAlignedRows(tensor: Tensor): boolean {
  const strides = tensor.strides.slice(0, 3);
  return areAligned(8, tensor) && strides.every((stride) => stride % 8 === 0);
}
