import { DTypeError, ShapeError, UnsupportedError } from "../../errors.ts";
import { bytesPerElement, type DType, Tensor } from "../../tensor.ts";
import { WebgpuDevice } from "./index.ts";
import { type GpuStorage, storageUsage, usage as usageBits } from "./memory.ts";

/**
 * A tensor that lies in another library's buffer: nothing is copied, and what either writes the other reads. The buffer
 * stays the library's: it must live as long as the tensor is used, and disposing of the tensor does not destroy it.
 * Everything runs in the order in which it is submitted; `device.flush()` submits the ops that are enqueued.
 * @param device made by `openWebgpuDevice({ device })` from the GPUDevice that made the buffer
 * @param buffer not mapped, with usage STORAGE | COPY_SRC | COPY_DST
 * @param shape of the tensor, which lies in row-major order
 * @param dtype what the buffer holds; f16 where the device has it
 * @param offsetBytes where the tensor begins, a multiple of the element's bytes; default 0
 * @throws ShapeError if the tensor does not fit; DTypeError; UnsupportedError if the buffer cannot be used so
 */
export function fromGPUBuffer<D extends DType = "f32">(
  device: WebgpuDevice,
  buffer: GPUBuffer,
  shape: readonly number[],
  dtype: D = "f32" as D,
  { offsetBytes = 0 }: { offsetBytes?: number } = {},
): Tensor<D> {
  const op = "fromGPUBuffer";
  const { floatTypes, maxTensorBytes } = device.capabilities;
  const types: readonly DType[] = [...floatTypes, "i32"];
  if (!types.includes(dtype)) throw new DTypeError(op, `the type must be one of ${types.join(", ")}`, `${dtype}`);
  if (shape.some((size) => !Number.isInteger(size) || size < 0)) {
    throw new ShapeError(op, "sizes are whole numbers >= 0", `[${shape}]`);
  }
  const elementBytes = bytesPerElement[dtype];
  if (!Number.isInteger(offsetBytes / elementBytes) || offsetBytes < 0) {
    throw new ShapeError(
      op,
      `offsetBytes must be a multiple of ${elementBytes}, the bytes of ${dtype}`,
      `${offsetBytes}`,
    );
  }
  const endBytes = offsetBytes + shape.reduce((count, size) => count * size, elementBytes);
  if (endBytes > buffer.size) {
    throw new ShapeError(op, `[${shape}] needs a buffer of ${endBytes} bytes`, `${buffer.size}`);
  }
  // Kernels bind the buffer as a whole.
  if (buffer.size % 4 !== 0)
    throw new ShapeError(op, "the buffer's size must be a multiple of 4 bytes", `${buffer.size}`);
  if (buffer.size > maxTensorBytes) {
    const fix = "Make the GPUDevice with the limits that deviceDescriptor names, or use several buffers.";
    throw new ShapeError(op, `the device binds buffers of up to ${maxTensorBytes} bytes`, `${buffer.size}`, fix);
  }
  mustBeUsable(op, buffer);
  const storage: GpuStorage = { buffer, bytes: buffer.size, isBorrowed: true };
  return new Tensor(device, storage, dtype, [...shape], undefined, offsetBytes / elementBytes);
}

function mustBeUsable(op: string, { usage, mapState }: GPUBuffer): void {
  if ((usage & storageUsage) !== storageUsage) {
    const names = { STORAGE: usageBits.storage, COPY_SRC: usageBits.copySource, COPY_DST: usageBits.copyTarget };
    const given = Object.entries(names).filter(([, bit]) => usage & bit);
    const actual = given.map(([name]) => name).join(" | ") || "none of them";
    throw new UnsupportedError(op, `the buffer's usage must be ${Object.keys(names).join(" | ")}`, actual);
  }
  if (mapState !== "unmapped") {
    throw new UnsupportedError(op, "the buffer must not be mapped", mapState, "Call its unmap().");
  }
}

/**
 * Where a tensor's elements lie, for another library that shares the GPUDevice: nothing is copied. Ops that are enqueued
 * are submitted, so that what is submitted next finds their results. The buffer is the device's: once the tensor is
 * disposed of, other tensors may lie in it.
 * @param tensor contiguous, of a WebGPU device
 * @returns the buffer, and which of its bytes are the tensor's in row-major order
 * @throws ShapeError if the tensor is not contiguous, or disposed of; UnsupportedError if it is another device's
 */
export function toGPUBuffer(tensor: Tensor<DType>): { buffer: GPUBuffer; offsetBytes: number; bytes: number } {
  const { device, storage, dtype, size, offset } = tensor;
  if (!(device instanceof WebgpuDevice)) {
    throw new UnsupportedError("toGPUBuffer", "the tensor must be a WebGPU device's", device.description);
  }
  if (tensor.isDisposed) throw new ShapeError("toGPUBuffer", "the tensor must not be disposed of", "a disposed one");
  if (!tensor.isContiguous) {
    const fix = "Copy it into a tensor of its own with ops.copy.";
    throw new ShapeError("toGPUBuffer", "the tensor must be contiguous", `strides [${tensor.strides}]`, fix);
  }
  device.flush();
  const elementBytes = bytesPerElement[dtype];
  return { buffer: (storage as GpuStorage).buffer, offsetBytes: offset * elementBytes, bytes: size * elementBytes };
}
