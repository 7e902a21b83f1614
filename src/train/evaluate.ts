import type { Gpt } from "../gpt/model.ts";
import type { Batch } from "../gpt/passInputs.ts";
import { padded, type TrainingData } from "./data.ts";
import { tooShort } from "./fit.ts";

/** Keeps evaluation's random choices apart from training's. */
const EVALUATION_SEED = 0x6576616c;

/**
 * Mean validation loss in nats a token.
 * @param batches how many, spread evenly over the validation tokens; all if there are fewer
 * @param onBatch waited for after each batch, while `model.losses` holds the loss of each of its tokens
 * @throws DataError if the validation tokens are fewer than one sequence needs
 */
export async function evaluate(
  model: Gpt,
  { validation }: Pick<TrainingData, "validation">,
  { batches, onBatch }: { batches: number; onBatch?: (batch: Batch) => Promise<void> },
): Promise<number> {
  const { B, T } = model;
  const available = Math.ceil(validation.windows(T) / B);
  const count = Math.min(batches, available);
  if (count === 0) throw tooShort(validation.name, T);
  let sum = 0;
  let targets = 0;
  for (let n = 0; n < count; n++) {
    const batch = await validation.sequential({ B, T, index: Math.floor((n * available) / count) });
    const loss = await model.evaluate(padded(batch, { B, T }), { draw: { seed: EVALUATION_SEED, index: n } });
    await onBatch?.(batch);
    const counted = batch.targets.reduce((count, target) => count + (target === -1 ? 0 : 1), 0);
    sum += loss * counted;
    targets += counted;
  }
  return sum / targets;
}
