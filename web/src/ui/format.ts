/** Numbers as the pages write them. */

export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)} %`;
}

/** How many times as fast. */
export function times(ratio: number): string {
  return Number.isFinite(ratio) ? `${ratio.toFixed(ratio < 9.95 ? 2 : 1)}×` : "-";
}

export function thousands(n: number): string {
  return n.toLocaleString("en");
}

/** A number of tokens: 512, 4k. */
export function tokens(T: number): string {
  return T >= 1024 ? `${T / 1024}k` : String(T);
}

export function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
}
