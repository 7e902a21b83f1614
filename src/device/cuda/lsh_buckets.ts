import { UnsupportedError } from "../../errors.ts";
import { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { hasAlignedRows } from "./aligned_rows.ts";
import { copy } from "./copy.ts";
import { type CudaStorage, i32, pack, pointer, view } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
/** The kernel reads 4 features at a time. */
const chunk = 4;
const chunkBytes = 2 * chunk;

type Args = Parameters<Ops["lshBuckets"]>[0];

/** See `Ops.lshBuckets`. */
export function lshBuckets(runtime: CudaRuntime, args: Args): void {
  const { x } = args;
  const D = x.shape[3]!;
  if (D % chunk === 0 && hasAlignedRows(x, chunkBytes)) {
    launch(runtime, args);
    return;
  }
  const [B, T, H] = x.shape as [number, number, number];
  const width = Math.ceil(D / chunk) * chunk;
  const size = B * T * H * width;
  runtime.withScratch(2 * size, (address) => {
    const storage: CudaStorage = { address, bytes: 2 * size };
    const strides = [T * H * width, H * width, width, 1];
    const straight = new Tensor(x.device, storage, x.dtype, [...x.shape], strides);
    // Features beyond D are read too, and must be finite.
    if (width > D && size > 0) runtime.call("cuMemsetD16Async", address, 0, size, runtime.stream);
    copy(runtime, { x, out: straight });
    launch(runtime, { ...args, x: straight });
  });
}

function launch(runtime: CudaRuntime, { x, rotations, out }: Args): void {
  const [B, T, H, D] = x.shape as [number, number, number, number];
  const buckets = 2 * rotations.shape[2]!;
  const { defines, sharedBytes, grid } = lshBuild({ B, T, H, D, buckets, isF16: x.dtype === "f16" });
  const most = runtime.facts.sharedBytesPerBlock;
  if (sharedBytes > most) {
    const rule = `rotations of a head fit into a block's ${most} bytes of shared memory`;
    throw new UnsupportedError("lshBuckets", rule, `${sharedBytes} bytes (D=${D}, ${buckets} buckets)`, "Use fewer.");
  }
  const parameters = [pack([...view(x), pointer(rotations), pointer(out), ...[B, T, H, D].map(i32)])];
  runtime.launch({ file: "lsh_buckets", defines }, { grid, threads, sharedBytes, parameters });
}

/** The constants, shared memory and grid that lsh_buckets.cu states. */
function lshBuild({
  B,
  T,
  H,
  D,
  buckets,
  isF16,
}: Record<"B" | "T" | "H" | "D" | "buckets", number> & { isF16: boolean }) {
  const depth = Math.ceil(D / 16) * 16;
  const parts = isF16 ? 2 : 3;
  const columns = Math.ceil(buckets / 2 / 8) * 8;
  const tiles = depth > 64 ? 1 : 2;
  const [warps, rounds] = [threads / 32, 8];
  const blockRows = 16 * tiles * warps * rounds;
  return {
    defines: { HEAD_DIM: depth, BUCKETS: buckets, ...(isF16 && { ELEMENT_F16: 1 }) },
    sharedBytes: parts * columns * (depth + 4) * 2,
    grid: [Math.ceil(T / blockRows), H, B] as const,
  };
}
