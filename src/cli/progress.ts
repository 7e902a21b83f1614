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

export interface ProgressOptions {
  readonly total: number;
  readonly label: string;
  /** Where earlier work left off. */
  readonly startAt?: number;
  readonly now?: () => number;
}

/** Shows progress towards `total`; the time to go is estimated from the pace of the last minute. */
export type ShowProgress = (options: ProgressOptions) => Progress;

/** Loads what shows progress on this terminal. */
export async function progressOn(terminal: Terminal): Promise<ShowProgress> {
  if (!terminal.isInteractive) return (options) => new Lines(terminal, options);
  const { SingleBar } = (await import("cli-progress")).default;
  return ({ total, label, startAt = 0, now = Date.now }) => {
    const pace = new Pace(now, startAt);
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
    let shown = "";
    bar.start(total, startAt, { text: shown });
    return {
      update(done, fields = []) {
        pace.add(done);
        shown = [...fields, `${pace.left(total)} left`].join("  ");
        bar.update(done, { text: shown });
      },
      say(text) {
        bar.stop();
        terminal.err(`\u001b[1A\r\u001b[K${text}\n`);
        bar.start(total, pace.done, { text: shown });
      },
      stop: () => bar.stop(),
    };
  };
}

/** One progress, from the beginning. */
export async function showProgress(terminal: Terminal, options: ProgressOptions): Promise<Progress> {
  return (await progressOn(terminal))(options);
}

class Lines implements Progress {
  readonly #pace: Pace;
  #last = -Infinity;
  #fields: readonly string[] = [];
  #shown = -1;

  constructor(
    readonly terminal: Terminal,
    readonly options: ProgressOptions,
  ) {
    this.#pace = new Pace(options.now ?? Date.now, options.startAt ?? 0);
  }

  update(done: number, fields: readonly string[] = []): void {
    this.#pace.add(done);
    this.#fields = fields;
    const now = (this.options.now ?? Date.now)();
    if (now - this.#last < lineEveryMs && done < this.options.total) return;
    this.#last = now;
    this.#write(done);
  }

  say(text: string): void {
    this.terminal.err(`${text}\n`);
  }

  stop(): void {
    const { done } = this.#pace;
    if (this.#fields.length > 0 && done !== this.#shown) this.#write(done);
  }

  #write(done: number): void {
    this.#shown = done;
    const { label, total } = this.options;
    this.terminal.err(`${label} ${done}/${total}  ${this.#fields.join("  ")}  ${this.#pace.left(total)} left\n`);
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
