import { setTimeout } from "node:timers/promises";

/**
 * Something to time: `run` does the whole of it and waits for its end. It may give the milliseconds that count: where a
 * device has a clock of its own, or not all of the run does.
 */
export interface Contestant {
  readonly name: string;
  run(): Promise<number | undefined>;
}

/** Times of one contestant, in the order in which they were taken. */
export interface Times {
  readonly medianMs: number;
  readonly leastMs: number;
  readonly allMs: readonly number[];
}

/** Pause before each turn: thread pools go on spinning for a while after their own, at the cost of the next. */
const settleMs = 50;

/**
 * Times contestants in turns, so that what the machine does meanwhile hits all alike: some rounds unmeasured, then each
 * contestant once a round.
 * @param unmeasured 1 for code and caches to get warm; more where that takes more than one run. Default 1
 */
export async function measureInTurns(
  contestants: readonly Contestant[],
  {
    rounds,
    unmeasured = 1,
    onRun,
  }: { rounds: number; unmeasured?: number; onRun?: (name: string, ms: number | null) => void },
): Promise<Map<string, Times>> {
  const all = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  for (let round = -unmeasured; round < rounds; round++) {
    for (const { name, run } of contestants) {
      await setTimeout(settleMs);
      const start = performance.now();
      const counted = await run();
      const ms = counted ?? performance.now() - start;
      if (round >= 0) all.get(name)!.push(ms);
      onRun?.(name, round < 0 ? null : ms);
    }
  }
  return new Map([...all].map(([name, ms]) => [name, timesOf(ms)]));
}

/** The median and the least of some times. */
export function timesOf(allMs: readonly number[]): Times {
  return { medianMs: middle(allMs), leastMs: Math.min(...allMs), allMs };
}

function middle(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Runs in a row take about so long: then the one wait at their end does not count. */
const rowMs = 50;
const longestRow = 200;

/**
 * Milliseconds of one run, from several in a row.
 * @param time milliseconds by the host's clock of so many runs, one enqueued behind the other, until the last has ended
 */
export async function timeInARow(time: (runs: number) => Promise<number>): Promise<number> {
  const once = await time(1);
  const runs = Math.min(longestRow, Math.ceil(rowMs / once));
  return runs <= 1 ? once : (await time(runs)) / runs;
}

/** So much work brings a GPU, whose clock falls while it idles, back to its full speed. */
const wakingMs = 100;

/**
 * Milliseconds of one run, taken when runs before it have woken the device: twice as many were measured on a GPU that had
 * idled for 50 ms. A run that is long enough itself is not repeated.
 * @param time milliseconds of one run
 */
export async function timeAwake(time: () => Promise<number>): Promise<number> {
  for (let spent = 0; ; ) {
    const ms = await time();
    if (spent >= wakingMs || ms >= 2 * wakingMs) return ms;
    spent += Math.max(ms, 1);
  }
}
