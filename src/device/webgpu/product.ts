import type { Tensor } from "../../tensor.ts";
import { u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const tile = 64;

/** A factor, and how many elements lie between its rows and between its columns. */
export interface Factor {
  readonly tensor: Tensor;
  readonly rowStep: number;
  readonly columnStep: number;
}

/** A matrix as it is stored. */
export const asIs = (tensor: Tensor): Factor => ({ tensor, rowStep: tensor.shape[1]!, columnStep: 1 });
/** A matrix with rows and columns exchanged. */
export const turned = (tensor: Tensor): Factor => ({ tensor, rowStep: 1, columnStep: tensor.shape[1]! });

/** out [M,N] = a [M,K] b [K,N], then what the epilogue says; see product.wgsl. */
export interface Product {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: Factor;
  readonly b: Factor;
  readonly bias?: Tensor | null | undefined;
  /** Gets what gelu is then taken of. */
  readonly preGelu?: Tensor | null | undefined;
  /** Its gelu's slope multiplies the product. */
  readonly slopeOf?: Tensor | null | undefined;
  /** Is added last; may be `out`. */
  readonly residual?: Tensor | null | undefined;
  readonly out: Tensor;
}

export function product(
  runtime: WebgpuRuntime,
  { M, N, K, a, b, bias, preGelu, slopeOf, residual, out }: Product,
): void {
  const tilesN = Math.ceil(N / tile);
  runtime.launch(
    { file: "product", uses: ["gelu"] },
    {
      groups: Math.ceil(M / tile) * tilesN,
      reads: { a: a.tensor, b: b.tensor, bias, slopeOf, residual },
      writes: { out, preGelu },
      numbers: {
        ...{ M: u32(M), N: u32(N), K: u32(K), tilesN: u32(tilesN) },
        ...{ aM: u32(a.rowStep), aK: u32(a.columnStep), bK: u32(b.rowStep), bN: u32(b.columnStep) },
      },
    },
  );
}
