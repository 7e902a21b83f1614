import type { Tensor } from "../../tensor.ts";
import { addColumnSums } from "./column_sums.ts";
import { blocks, isAlignedTo, type NumberField, type Operand, quads, u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { KernelRequest, WebgpuRuntime } from "./runtime.ts";

/** A factor: a matrix as it is stored, or with rows and columns exchanged. */
export interface Factor {
  readonly tensor: Tensor;
  readonly isTurned: boolean;
}

export const asIs = (tensor: Tensor): Factor => ({ tensor, isTurned: false });
export const turned = (tensor: Tensor): Factor => ({ tensor, isTurned: true });

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
  readonly out: Operand;
}

/** Runs of K that are summed apart, each into a matrix [M,N] of its own: `out` is [runs,M,N]. */
interface Runs {
  readonly runs: number;
  readonly kPerRun: number;
}

export function product(runtime: WebgpuRuntime, given: Product): void {
  launch(runtime, given, { runs: 1, kPerRun: given.K });
}

/** out (f32) += a b. A long K is cut into runs where there are too few tiles to keep a GPU busy. */
export function addProduct(
  runtime: WebgpuRuntime,
  given: Pick<Product, "M" | "N" | "K" | "a" | "b"> & { out: Tensor },
) {
  const { M, N, K, out } = given;
  const tiles = Math.ceil(M / commonTile) * Math.ceil(N / commonTile);
  const wanted = Math.min(Math.ceil(wantedWorkgroups / tiles), Math.floor(K / fewestKPerRun), mostRuns);
  if (wanted <= 1) {
    product(runtime, { ...given, residual: out });
    return;
  }
  const kPerRun = Math.ceil(K / wanted / kStep) * kStep;
  const runs = Math.ceil(K / kPerRun);
  runtime.withScratch(runs * M * N, "f32", (sums) => {
    launch(runtime, { ...given, out: sums }, { runs, kPerRun });
    addColumnSums(runtime, { x: sums, N: runs, C: M * N, out });
  });
}

const commonTile = 128;
/** A few for each of the some hundred processors of the largest GPUs. */
const wantedWorkgroups = 512;
/** Below it the sums' own way through memory would cost more than is won. */
const fewestKPerRun = 512;
const mostRuns = 16;
/** No step of a kernel along K is longer. */
const kStep = 32;

/** A way of computing products: its file, what it is specialised by, and the tile that a workgroup owns. */
interface Way {
  readonly kernel: KernelRequest;
  readonly tileM: number;
  readonly tileN: number;
  /** Sees an operand as the kernel does; factors apart. */
  readonly factor: (operand: Operand) => ReturnType<typeof quads> | Operand;
  readonly other: (operand: Operand | null | undefined) => ReturnType<typeof quads> | Operand | null | undefined;
  /** Elements of what the kernel counts a factor's lines in. */
  readonly factorWidth: number;
}

/** Matrices of subgroups where the tier has them and the factors are f16 in whole blocks; else tiles in registers. */
function wayOf(runtime: WebgpuRuntime, given: Product): Way {
  const { M, N, K, a, b, bias, preGelu, slopeOf, residual, out } = given;
  const others = [bias, preGelu, slopeOf, residual, out];
  const lines = [N, a.isTurned ? M : K, b.isTurned ? K : N];
  const isHalf = a.tensor.dtype === "f16" && b.tensor.dtype === "f16";
  const inBlocks = lines.every((size) => size % 8 === 0) && [a, b].every(({ tensor }) => isAlignedTo(8, tensor));
  if (runtime.tier === "matrices" && isHalf && inBlocks && others.every((each) => isAlignedTo(4, each))) {
    const tiles = matrixTiles(runtime, given);
    const uses = ["pack_4", "gelu", "product_epilogue"];
    const kernel = { file: "product_matrices", uses, constants: tiles };
    return { kernel, tileM: tiles.TILE_M, tileN: tiles.TILE_N, factor: blocks, other: quads, factorWidth: 8 };
  }
  const packs = packsOf(lines, [a.tensor, b.tensor, ...others]);
  const tile = Math.ceil(M / 128) * Math.ceil(N / 128) >= fewestLargeTiles ? 128 : 64;
  const uses = [packs.file, "gelu", "product_epilogue"];
  const kernel = {
    file: "product",
    uses,
    constants: { TILE: tile, OWN: tile / 64, A_TURNED: a.isTurned, B_TURNED: b.isTurned },
  };
  const factor = packs.of as Way["factor"];
  return { kernel, tileM: tile, tileN: tile, factor, other: packs.of, factorWidth: packs.width };
}

/** Of the register tiles: with fewer, smaller ones keep more of a GPU busy. */
const fewestLargeTiles = 64;

/** The largest tiles that the GPU's workgroups have memory for; see product_matrices.wgsl. */
function matrixTiles(runtime: WebgpuRuntime, { K, a, b }: Pick<Product, "K" | "a" | "b">) {
  const large = { TILE_M: 128, TILE_N: 128, GROUPS_M: 4, GROUPS_N: 2, BUFFERS: 2 };
  const small = { TILE_M: 128, TILE_N: 64, GROUPS_M: 2, GROUPS_N: 2, BUFFERS: 1 };
  const largeBytes = 40_960;
  const tiles = runtime.limits.maxComputeWorkgroupStorageSize >= largeBytes ? large : small;
  const { TILE_M, TILE_N, GROUPS_M, GROUPS_N } = tiles;
  const blocksPerThread = kStep / 8 / (GROUPS_M * GROUPS_N * 32);
  return {
    ...tiles,
    ...{ OWN_M: TILE_M / GROUPS_M / 16, OWN_N: TILE_N / GROUPS_N / 16 },
    ...{ A_CARRIED: TILE_M * blocksPerThread, B_CARRIED: TILE_N * blocksPerThread },
    ...{ A_TURNED: a.isTurned, B_TURNED: b.isTurned, WHOLE_STEPS: K % kStep === 0 },
  };
}

function launch(runtime: WebgpuRuntime, given: Product, { runs, kPerRun }: Runs): void {
  const { M, N, K, a, b, bias, preGelu, slopeOf, residual, out } = given;
  const { kernel, tileM, tileN, factor, other, factorWidth } = wayOf(runtime, given);
  const [tilesM, tilesN] = [Math.ceil(M / tileM), Math.ceil(N / tileN)];
  const line = ({ tensor }: Factor): NumberField => u32(tensor.shape[1]! / factorWidth);
  runtime.launch(kernel, {
    groups: runs * tilesM * tilesN,
    reads: {
      ...{ a: factor(a.tensor), b: factor(b.tensor) },
      ...{ bias: other(bias), slopeOf: other(slopeOf), residual: other(residual) },
    },
    writes: { out: other(out), preGelu: other(preGelu) },
    numbers: {
      ...{ M: u32(M), N: u32(N), K: u32(K), runs: u32(runs), kPerRun: u32(kPerRun) },
      ...{ tilesM: u32(tilesM), tilesN: u32(tilesN), aLine: line(a), bLine: line(b) },
    },
  });
}
