import { UnsupportedError } from "../../errors.ts";
import { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { hasAlignedRows } from "./aligned_rows.ts";
import { copy } from "./copy.ts";
import { type CudaStorage, i32, pack, pointer, view } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
/** The kernels read 8 features at a time. */
const features = 8;
/** Rows of a block of lsh_buckets.cu, and of a run of lsh_buckets_balanced.cu. */
const blockRows = 1024;
const runRows = 32;
/** Shared memory of lsh_buckets_balanced.cu that is not dynamic. */
const staticSharedBytes = 128;

type Args = Parameters<Ops["lshBuckets"]>[0];

/** See `Ops.lshBuckets`. */
export function lshBuckets(runtime: CudaRuntime, { relativeTo, ...args }: Args): void {
  withReadableRows(runtime, args.x, (x) => {
    if (!args.moments) launchPlain(runtime, { ...args, x });
    else if (!relativeTo) launchBalanced(runtime, { ...args, x });
    else withReadableRows(runtime, relativeTo, (base) => launchBalanced(runtime, { ...args, x, relativeTo: base }));
  });
}

/** Gives `use` x, or a copy of it, whose rows begin where the kernels can read them, and have features beyond D that are finite. */
function withReadableRows(runtime: CudaRuntime, x: Tensor, use: (x: Tensor) => void): void {
  const [B, T, H, D] = x.shape as [number, number, number, number];
  if (D % features === 0 && hasAlignedRows(x)) {
    use(x);
    return;
  }
  const width = Math.ceil(D / features) * features;
  const size = B * T * H * width;
  runtime.withScratch(2 * size, (address) => {
    const storage: CudaStorage = { address, bytes: 2 * size };
    const strides = [T * H * width, H * width, width, 1];
    const straight = new Tensor(x.device, storage, x.dtype, [...x.shape], strides);
    if (width > D && size > 0) runtime.call("cuMemsetD16Async", address, 0, size, runtime.stream);
    copy(runtime, { x, out: straight });
    use(straight);
  });
}

function launchPlain(runtime: CudaRuntime, { x, rotations, out }: Args): void {
  const [B, T, H, D] = x.shape as [number, number, number, number];
  const { defines, partBytes } = projection(x, rotations);
  mustFit(runtime, partBytes, x, rotations);
  runtime.launch(
    { file: "lsh_buckets", defines },
    {
      grid: [Math.ceil(T / blockRows) * H, B],
      threads,
      sharedBytes: partBytes,
      parameters: [pack([...view(x), pointer(rotations), pointer(out), ...[T, H, D].map(i32)])],
    },
  );
}

function launchBalanced(
  runtime: CudaRuntime,
  { x, rotations, moments, relativeTo, firstPosition = 0, out }: Args,
): void {
  const [B, T, H, D] = x.shape as [number, number, number, number];
  const { defines, partBytes, columns } = projection(x, rotations);
  const projections = relativeTo ? 2 : 1;
  const runs = Math.floor(threads / columns / projections);
  const stride = columns + (columns % 16 === 0 ? 8 : 0);
  const scoreBytes = 4 * runs * (runRows * stride + (columns % 32));
  const sharedBytes = Math.max(partBytes, 8 * threads) + projections * scoreBytes;
  const base = relativeTo ?? x;
  mustFit(runtime, sharedBytes + staticSharedBytes, x, rotations);
  const blocks = Math.ceil(T / (runs * runRows)) * B * H;
  if (blocks === 0) return;
  const signalBytes = 256 * Math.ceil((4 * (1 + blocks)) / 256);
  runtime.withScratch(signalBytes + 8 * blocks * rotations.shape[2]!, (address) => {
    runtime.call("cuMemsetD32Async", address, 0, 1 + blocks, runtime.stream);
    const pointers = [rotations, moments!, out, address, address + signalBytes].map(pointer);
    runtime.launch(
      { file: "lsh_buckets_balanced", defines: { ...defines, ...(relativeTo && { RELATIVE: 1 }) } },
      {
        grid: [blocks],
        threads,
        sharedBytes,
        parameters: [
          pack([...view(x), ...view(base), ...pointers, ...[B, T, H, base.shape[2]!, D, firstPosition].map(i32)]),
        ],
      },
    );
  });
}

/** What lsh_projection.cuh states. */
function projection(x: Tensor, rotations: Tensor) {
  const half = rotations.shape[2]!;
  const columns = Math.ceil(half / 8) * 8;
  const depth = Math.ceil(x.shape[3]! / 32) * 32;
  const isF16 = x.dtype === "f16";
  return {
    defines: { HEAD_DIM: depth, BUCKETS: 2 * half, ...(isF16 && { ELEMENT_F16: 1 }) },
    columns,
    partBytes: columns * (isF16 ? 2 : 3) * depth * 2,
  };
}

function mustFit({ facts }: CudaRuntime, bytes: number, x: Tensor, rotations: Tensor): void {
  if (bytes <= facts.sharedBytesPerBlock) return;
  const rule = `rotations of a head fit into a block's ${facts.sharedBytesPerBlock} bytes of shared memory`;
  const actual = `${bytes} bytes (D=${x.shape[3]}, ${2 * rotations.shape[2]!} buckets)`;
  throw new UnsupportedError("lshBuckets", rule, actual, "Use fewer.");
}
