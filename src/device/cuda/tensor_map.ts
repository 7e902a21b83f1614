import type { Tensor } from "../../tensor.ts";
import { addressOf } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

/** CUtensorMapDataType and the other enumerations of cuda.h. */
const elementTypes: Readonly<Record<string, number>> = { f16: 6, bf16: 9 };
const noInterleave = 0;
const swizzle128Bytes = 3;
const promote128Bytes = 2;
const zerosOutside = 0;
const mapBytes = 128;
const mapAlignment = 64;
const elementBytes = 2;
/** Features of a box: 128 bytes, a line of the swizzle. */
const boxFeatures = 64;

/**
 * Whether the copy engine can load from a [B,T,H,D] view: rows at multiples of 16 bytes, each stride a multiple
 * of the one inside it and beyond what that reaches. An empty tensor needs no map.
 */
export function isMappable(tensor: Tensor): boolean {
  if (tensor.size === 0) return true;
  if (addressOf(tensor) % 16 !== 0) return false;
  const [, , , D] = tensor.shape as [number, number, number, number];
  let [inner, reach] = [D, D];
  return byDepth(tensor).every(({ size, stride }, n) => {
    if (size === 1) return true;
    const fits = stride >= reach && (stride * elementBytes) % 16 === 0 && (n === 0 || stride % inner === 0);
    inner = stride;
    reach = stride * size;
    return fits;
  });
}

/**
 * A tensor map over a view [B,T,H,D] as (D, H, T, B): boxes of `rows` positions by 64 features, 128-byte swizzle.
 * @returns 128 bytes, a kernel's parameter; of an empty tensor zeros, for nobody loads from it
 */
export function tensorMap(runtime: CudaRuntime, tensor: Tensor, rows: number): Uint8Array {
  if (tensor.size === 0) return noTensorMap;
  const { bytes, address, start } = runtime.keep("tensorMap", () => mapMemory(runtime));
  const [, , , D] = tensor.shape as [number, number, number, number];
  let inner = D;
  const dimensions = byDepth(tensor).map(({ size, stride }) => {
    // A dimension of 1 may have any stride; the driver wants one that fits.
    inner = size === 1 ? inner : stride;
    return { size, stride: inner };
  });
  runtime.call(
    "cuTensorMapEncodeTiled",
    address + start,
    elementTypes[tensor.dtype]!,
    4,
    addressOf(tensor),
    BigUint64Array.from([D, ...dimensions.map(({ size }) => size)], BigInt),
    BigUint64Array.from(dimensions.map(({ stride }) => BigInt(stride * elementBytes))),
    Uint32Array.of(boxFeatures, 1, rows, 1),
    Uint32Array.of(1, 1, 1, 1),
    noInterleave,
    swizzle128Bytes,
    promote128Bytes,
    zerosOutside,
  );
  return bytes.slice(start, start + mapBytes);
}

/** Stands for the map of a kernel that is built to gather rows. */
export const noTensorMap = new Uint8Array(mapBytes);

/** H, T and B. */
function byDepth({ shape, strides }: Tensor): { size: number; stride: number }[] {
  return [2, 1, 0].map((axis) => ({ size: shape[axis]!, stride: strides[axis]! }));
}

function mapMemory({ driver }: CudaRuntime): { bytes: Uint8Array; address: number; start: number } {
  const bytes = new Uint8Array(mapBytes + mapAlignment);
  const address = driver.addressOf(bytes);
  return { bytes, address, start: (mapAlignment - (address % mapAlignment)) % mapAlignment };
}
