/** Where a command writes. `out` is for results, `err` for everything said along the way. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Whether `err` is a person's terminal, on which a line can be rewritten. */
  readonly isInteractive: boolean;
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isInteractive: process.stderr.isTTY === true,
  };
}

/** A table in plain text: columns padded, the first to the left, numbers to the right. */
export function textTable(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i < left ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  ")
      .trimEnd();
  return `${[line(head), widths.map((w) => "-".repeat(w)).join("  "), ...rows.map(line)].join("\n")}\n`;
}

/** 1,234 */
export function thousands(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** 0:42, 3:05, 1:02:03 */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "?";
  const total = Math.max(0, Math.round(ms / 1000));
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** 1.5 KiB, 3.0 GiB */
export function bytes(value: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const i = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return i === 0 ? `${value} bytes` : `${(value / 1024 ** i).toFixed(1)} ${units[i]}`;
}
