import { ScfaError } from "../errors.ts";

/** Training met a loss or gradient that is not finite; the state before it is kept. */
export class DivergedError extends ScfaError {
  override name = "DivergedError";
  constructor(
    /** The step that failed, from 1. */
    readonly step: number,
    readonly quantity: "loss" | "gradient",
    readonly value: number,
    /** The checkpoint to go back to; null if there is none. */
    readonly checkpoint: string | null,
  ) {
    const kept = checkpoint ? `The last good state is kept in ${checkpoint}.` : "No step before it was finished.";
    super(
      `train: the ${quantity} must be finite, got ${value} in step ${step}. ${kept} Lower the learning rate or clip more, and start again from there.`,
    );
  }
}
