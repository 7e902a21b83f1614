import type { DType, Tensor } from "../../tensor.ts";
import { bits, type NumberField, type Operand, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;
const kernelRank = 4;

interface Dimension {
  readonly size: number;
  readonly xStep: number;
  readonly outStep: number;
}

/** See `Ops.copy`; float types may differ, and are then rounded. */
export function copy(runtime: WebgpuRuntime, { x, out }: { x: Tensor<DType>; out: Tensor<DType> }): void {
  const [from, to] = x.dtype === out.dtype ? [bits(x), bits(out)] : [x, out];
  if (x.size > 0) copyDimensions(runtime, from, to, collapse(x, out));
}

/** As few dimensions as do. */
function collapse(x: Tensor<DType>, out: Tensor<DType>): Dimension[] {
  const dimensions: Dimension[] = [];
  for (let axis = x.shape.length - 1; axis >= 0; axis--) {
    const [size, xStep, outStep] = [x.shape[axis]!, x.strides[axis]!, out.strides[axis]!];
    if (size === 1) continue;
    const inner = dimensions[0];
    if (inner && xStep === inner.size * inner.xStep && outStep === inner.size * inner.outStep)
      dimensions[0] = { ...inner, size: inner.size * size };
    else dimensions.unshift({ size, xStep, outStep });
  }
  return dimensions;
}

function copyDimensions(runtime: WebgpuRuntime, x: Operand, out: Operand, dimensions: readonly Dimension[]): void {
  const [first, ...others] = dimensions;
  if (first && dimensions.length > kernelRank) {
    for (let i = 0; i < first.size; i++) {
      const part = { ...x, offset: x.offset + i * first.xStep };
      copyDimensions(runtime, part, { ...out, offset: out.offset + i * first.outStep }, others);
    }
    return;
  }
  const one: Dimension = { size: 1, xStep: 0, outStep: 0 };
  const all = [...new Array<Dimension>(kernelRank - dimensions.length).fill(one), ...dimensions];
  const count = all.reduce((n, { size }) => n * size, 1);
  const numbers: Record<string, NumberField> = { count: u32(count) };
  for (const [axis, { size, xStep, outStep }] of all.entries()) {
    if (axis > 0) numbers[`size${axis}`] = u32(size);
    numbers[`xStep${axis}`] = u32(xStep);
    numbers[`outStep${axis}`] = u32(outStep);
  }
  runtime.launch(
    { file: "copy", constants: { THREADS: threads } },
    { groups: Math.ceil(count / threads), reads: { x }, writes: { out }, numbers },
  );
}
