import { Interrupted } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** Signals this close together are one press: a terminal signals all of its group, and wrappers pass theirs on. */
const onePressMs = 300;

/**
 * Runs work that can be asked to stop: the first Ctrl-C (or SIGTERM) sets `signal`, and the work saves and returns; a
 * second one ends the process at once.
 * @throws Interrupted after the work has returned, if it was asked to stop
 */
export async function withInterrupt<T>(
  terminal: Terminal,
  { saying }: { saying: string },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  let received: { exitCode: number; at: number } | undefined;
  const on = (exitCode: number) => () => {
    const at = performance.now();
    if (received && at - received.at < onePressMs) return;
    if (received) process.exit(exitCode);
    received = { exitCode, at };
    terminal.err(`\n${saying} Press Ctrl-C again to end at once.\n`);
    stop.abort();
  };
  const handlers = [
    ["SIGINT", on(130)],
    ["SIGTERM", on(143)],
  ] as const;
  for (const [name, handler] of handlers) process.on(name, handler);
  try {
    const result = await work(stop.signal);
    if (received) throw new Interrupted(received.exitCode);
    return result;
  } finally {
    for (const [name, handler] of handlers) process.off(name, handler);
  }
}
