import { bytesPerElement, type DType, type Tensor } from "../tensor.ts";

/** A dimension that is not part of the contiguous rows; strides in bytes. */
export interface OuterDimension {
  readonly size: number;
  readonly xStride: number;
  readonly outStride: number;
}

/** What a copy between two views of one shape moves: contiguous rows, one for each place of the outer dimensions. */
export interface CopyRows {
  readonly rowBytes: number;
  /** Slowest first; none where all is one row. */
  readonly outer: readonly OuterDimension[];
}

/** The same copy with as few dimensions as do, and as long rows as there are. */
export function copyRowsOf(x: Tensor<DType>, out: Tensor<DType>): CopyRows {
  const element = bytesPerElement[x.dtype];
  let rowBytes = element;
  const outer: OuterDimension[] = [];
  for (let axis = x.shape.length - 1; axis >= 0; axis--) {
    const size = x.shape[axis]!;
    if (size === 1) continue;
    const [xStride, outStride] = [x.strides[axis]! * element, out.strides[axis]! * element];
    const inner = outer[0];
    if (!inner && xStride === rowBytes && outStride === rowBytes) rowBytes *= size;
    else if (inner && xStride === inner.size * inner.xStride && outStride === inner.size * inner.outStride)
      outer[0] = { ...inner, size: inner.size * size };
    else outer.unshift({ size, xStride, outStride });
  }
  return { rowBytes, outer };
}
