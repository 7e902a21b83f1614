import type { Ops } from "../ops.ts";
import { u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 128;

/** See `Ops.rope`. */
export function rope(runtime: WebgpuRuntime, args: Parameters<Ops["rope"]>[0]): void {
  const { x, base, firstPosition, inverse = false, out } = args;
  const [, T, H, D] = x.shape as [number, number, number, number];
  const half = D / 2;
  const count = x.size / 2;
  if (count === 0) return;
  const signedBase = { base, sign: inverse ? -1 : 1 };
  const turns = runtime.table(`rope ${D} ${base} ${inverse}`, () => turnsOf(D, signedBase));
  runtime.launch(
    { file: "rope", constants: { THREADS: threads } },
    {
      groups: Math.ceil(count / threads),
      reads: { x, turns },
      writes: { out },
      numbers: { count: u32(count), T: u32(T), H: u32(H), half: u32(half), firstPosition: u32(firstPosition) },
    },
  );
}

/**
 * What each pair turns by from one position to the next, as a fraction of a whole turn times 2^64, in two words. Doubles
 * leave an error of 2^-54 of a turn, which 2^20 positions raise to 2^-34.
 */
function turnsOf(D: number, { base, sign }: { base: number; sign: number }): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(D);
  for (let i = 0; i < D / 2; i++) {
    const turns = (sign * base ** ((-2 * i) / D)) / (2 * Math.PI);
    const fraction = (turns - Math.floor(turns)) * 2 ** 32;
    words[2 * i + 1] = Math.floor(fraction);
    words[2 * i] = Math.floor((fraction - Math.floor(fraction)) * 2 ** 32);
  }
  return words;
}
