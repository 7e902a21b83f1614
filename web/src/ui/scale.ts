/** Where values stand along an axis, and which of them are labelled. */
export interface Scale {
  readonly ticks: readonly number[];
  place(value: number): number;
}

export interface ScaleKind {
  readonly isLog: boolean;
  /** Of a logarithmic axis's ticks; default 10. */
  readonly base?: number;
}

/** A scale from the least to the largest of some values, widened to ticks, over the pixels `from` to `to`. */
export function scaleOf(
  { isLog, base = 10 }: ScaleKind,
  { values, from, to }: { values: readonly number[]; from: number; to: number },
): Scale {
  const ticks = isLog ? logTicks(base, values) : linearTicks(values);
  const [low, high] = [ticks[0]!, ticks.at(-1)!];
  const along = (value: number) =>
    isLog ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return { ticks, place: (value) => from + (to - from) * along(value) };
}

/** Whether a value has a place on such an axis. */
export function fits({ isLog }: ScaleKind, value: number): boolean {
  return Number.isFinite(value) && (!isLog || value > 0);
}

/** Powers of the base, two at the least. */
function logTicks(base: number, values: readonly number[]): number[] {
  if (values.length === 0) return [1, base];
  const [first, last] = [Math.min(...values), Math.max(...values)].map((value) => Math.log(value) / Math.log(base));
  const low = Math.floor(first! + 1e-9);
  const high = Math.max(low + 1, Math.ceil(last! - 1e-9));
  return Array.from({ length: high - low + 1 }, (_, i) => base ** (low + i));
}

/** Some five steps of 1, 2 or 5 times a power of ten. */
function linearTicks(values: readonly number[]): number[] {
  if (values.length === 0) return [0, 1];
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  const rough = (largest - least || Math.abs(largest) || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((candidate) => candidate >= rough)!;
  const low = Math.floor(least / step);
  const high = Math.max(low + 1, Math.ceil(largest / step));
  return Array.from({ length: high - low + 1 }, (_, i) => (low + i) * step);
}
