/** How the learning rate goes over a run. */
export interface Schedule {
  readonly shape: "one-cycle" | "cosine" | "linear" | "constant";
  /** Highest learning rate. */
  readonly lr: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Share of the steps in which the rate rises to its highest. */
  readonly warmupShare: number;
  /** First rate as a share of the highest; "one-cycle" only, the others rise from near zero. */
  readonly startShare: number;
  /** Last rate as a share of the highest; "constant" stays at the highest. */
  readonly endShare: number;
}

/**
 * The learning rate of a step.
 *
 * "one-cycle": half a cosine up, then half a cosine down (Smith and Topin, arXiv 1708.07120, in the form that PyTorch
 * gave it and the paper's language models used). "cosine" and "linear": a straight line up, then down that way.
 * "constant": a straight line up, then level.
 * @param step from 0 to steps - 1; a later step keeps the last rate
 */
export function learningRate(schedule: Schedule, step: number): number {
  const { shape, lr, steps, warmupShare, startShare, endShare } = schedule;
  const end = lr * endShare;
  if (shape === "one-cycle") {
    const peak = Math.max(0, warmupShare * steps - 1);
    if (step < peak) return blend(lr * startShare, lr, halfCosine(step / peak));
    return blend(lr, end, halfCosine(progress(step, peak, steps - 1)));
  }
  const warmup = Math.round(warmupShare * steps);
  if (step < warmup) return (lr * (step + 1)) / warmup;
  if (shape === "constant") return lr;
  const along = progress(step, warmup, steps - 1);
  return blend(lr, end, shape === "cosine" ? halfCosine(along) : along);
}

function progress(step: number, from: number, to: number): number {
  return to <= from ? 0 : Math.min(1, (step - from) / (to - from));
}

/** From 0 to 1, slow at both ends. */
function halfCosine(x: number): number {
  return (1 - Math.cos(Math.PI * x)) / 2;
}

function blend(from: number, to: number, x: number): number {
  return from + (to - from) * x;
}
