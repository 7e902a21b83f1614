import { duration, type Terminal } from "./terminal.ts";

/** Progress of long work: a bar on a terminal, an occasional line elsewhere. */
export interface Progress {
  /** @param fields for example `loss 2.31`, `12,345 tokens/s` */
  update(done: number, fields?: readonly string[]): void;
  /** Writes a line of its own above the bar. */
  say(text: string): void;
  stop(): void;
}

/** Time between two lines where there is no terminal. */
const lineEveryMs = 10_000;

/** Shows progress towards `total` steps; the time to go is estimated from the pace of the last minute. */
export async function showProgress(
  terminal: Terminal,
  { total, label, now = Date.now, startAt = 0 }: { total: number; label: string; now?: () => number; startAt?: number },
): Promise<Progress> {
  const pace = new Pace(now, startAt);
  const sentence = (fields: readonly string[]) => [...fields, `${pace.left(total)} left`].join("  ");
  if (!terminal.isInteractive) return new Lines(terminal, { total, label, now, pace, sentence });
  const { SingleBar } = (await import("cli-progress")).default;
  const bar = new SingleBar({
    format: `${label} {bar} {value}/{total}  {text}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    hideCursor: true,
    stopOnComplete: false,
    gracefulExit: false,
    linewrap: false,
    fps: 4,
  });
  bar.start(total, startAt, { text: "" });
  return {
    update(done, fields = []) {
      pace.add(done);
      bar.update(done, { text: sentence(fields) });
    },
    say(text) {
      bar.stop();
      terminal.err(`\r\u001b[K${text}\n`);
      bar.start(total, pace.done, { text: "" });
    },
    stop: () => bar.stop(),
  };
}

class Lines implements Progress {
  #last = -Infinity;
  #fields: readonly string[] = [];
  #shown = -1;

  constructor(
    readonly terminal: Terminal,
    readonly options: {
      total: number;
      label: string;
      now: () => number;
      pace: Pace;
      sentence: (fields: readonly string[]) => string;
    },
  ) {}

  update(done: number, fields: readonly string[] = []): void {
    this.options.pace.add(done);
    this.#fields = fields;
    const now = this.options.now();
    if (now - this.#last < lineEveryMs && done < this.options.total) return;
    this.#last = now;
    this.#write(done);
  }

  say(text: string): void {
    this.terminal.err(`${text}\n`);
  }

  stop(): void {
    const { done } = this.options.pace;
    if (this.#fields.length > 0 && done !== this.#shown) this.#write(done);
  }

  #write(done: number): void {
    this.#shown = done;
    const { label, total, sentence } = this.options;
    this.terminal.err(`${label} ${done}/${total}  ${sentence(this.#fields)}\n`);
  }
}

/** Estimates the time to go from the steps of the last minute, so that a slow start is soon forgotten. */
class Pace {
  readonly #marks: { at: number; done: number }[] = [];

  constructor(
    readonly now: () => number,
    startAt: number,
  ) {
    this.#marks.push({ at: now(), done: startAt });
  }

  get done(): number {
    return this.#marks.at(-1)!.done;
  }

  add(done: number): void {
    const at = this.now();
    this.#marks.push({ at, done });
    while (this.#marks.length > 2 && at - this.#marks[0]!.at > 60_000) this.#marks.shift();
  }

  left(total: number): string {
    const first = this.#marks[0]!;
    const last = this.#marks.at(-1)!;
    if (last.done <= first.done) return "?";
    return duration(((last.at - first.at) / (last.done - first.done)) * (total - last.done));
  }
}
