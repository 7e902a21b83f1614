import { isAlignedTo, type MaybeOperand, type Operand, quads } from "./kernel_arguments.ts";

/** How kernels written over packs (pack_4.wgsl) see the operands of one call. */
export interface Packs {
  /** Elements of a pack. */
  readonly width: 1 | 4;
  /** File to be used by the kernel. */
  readonly file: "pack_1" | "pack_4";
  /** The operand counted in packs. */
  of(operand: Operand | null | undefined): MaybeOperand;
}

/**
 * Four elements at a time where rows of these sizes, and the places of all operands, allow it; else one.
 * @param operands all that will be asked `of`
 */
export function packsOf(sizes: readonly number[], operands: readonly (Operand | null | undefined)[]): Packs {
  if (sizes.every((size) => size % 4 === 0) && operands.every((operand) => isAlignedTo(4, operand))) {
    return { width: 4, file: "pack_4", of: quads };
  }
  return { width: 1, file: "pack_1", of: (operand) => operand };
}
