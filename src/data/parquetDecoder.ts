import { type ChildProcess, fork } from "node:child_process";
import { DeviceError } from "../errors.ts";

/** What decoding may cost at most, whatever the bytes. */
export interface DecoderLimits {
  /** Waiting, beside what the size of the part allows. */
  baseMs: number;
  /** Memory of the decoding process, beside what the size of the part allows. */
  baseMemoryBytes: number;
}

const mebibyte = 1 << 20;
const defaultLimits: DecoderLimits = { baseMs: 20_000, baseMemoryBytes: 512 * mebibyte };
const msPerByte = 1000 / 1e6;
const memoryPerByte = 8;
const beyondLimits = "If it is sound, write it again with smaller pages and row groups.";

/** Decoding failed; the words are for a DataError. */
export class DecodeError extends Error {
  constructor(
    message: string,
    readonly place?: string,
    readonly fix?: string,
  ) {
    super(message);
  }
}

interface Reply {
  value?: unknown;
  failure?: { message: string; place?: string; fix?: string };
}

/**
 * A process that decodes Parquet, started when it is first asked and again after it was killed. A thread would not do: a
 * worker whose heap is full can take the whole process down with it, and cannot always be ended. For one file at a time.
 */
export class ParquetDecoder {
  readonly #limits: DecoderLimits;
  #child: ChildProcess | undefined;
  #memoryBytes = 0;
  #msLeft = 0;
  #msGiven = 0;

  constructor(limits: Partial<DecoderLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
  }

  /** Begins a file. */
  begin(): void {
    this.#msLeft = this.#limits.baseMs;
  }

  /**
   * Begins a part of it. Time is given in proportion to its bytes, so that many small parts have no more than a large one.
   * So is memory, but what was allowed stays so: the engine gives back late what it no longer needs.
   */
  beginPart(bytes: number): void {
    const { baseMs, baseMemoryBytes } = this.#limits;
    this.#msLeft = Math.min(this.#msLeft, baseMs) + bytes * msPerByte;
    this.#msGiven = this.#msLeft;
    this.#memoryBytes = Math.max(this.#memoryBytes, baseMemoryBytes + bytes * memoryPerByte);
  }

  /** @throws DecodeError what the library says, or that it took too long or too much memory */
  async ask<V>(request: { kind: "open" | "group" | "next"; [option: string]: unknown }): Promise<V> {
    if (!this.#child && request.kind !== "open") throw this.#tooLarge();
    const child = this.#child ?? (await this.#start());
    const reply = this.#reply(child);
    // If it cannot be sent, the process is about to exit, and that is the reply.
    child.send({ ...request, memoryBytes: this.#memoryBytes }, () => {});
    const start = performance.now();
    const timer = setTimeout(() => child.kill("SIGKILL"), Math.max(0, this.#msLeft));
    try {
      return (await reply) as V;
    } finally {
      clearTimeout(timer);
      this.#msLeft -= performance.now() - start;
    }
  }

  /** Ends the process. */
  async close(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const exit = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await exit;
  }

  async #start(): Promise<ChildProcess> {
    const child = fork(new URL("./parquetChild.mjs", import.meta.url), {
      serialization: "advanced",
      execArgv: [`--max-old-space-size=${Math.ceil(this.#limits.baseMemoryBytes / mebibyte)}`],
      env: { ...process.env, NODE_OPTIONS: "" },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    this.#child = child;
    child.once("exit", () => {
      this.#child = undefined;
    });
    // It says when it runs; starting is not the file's doing and costs it no time.
    await this.#reply(child).catch(() => {
      this.#child = undefined;
      const code = `${child.exitCode ?? child.signalCode}`;
      throw new DeviceError("fork", code, "the process that decodes Parquet does not start");
    });
    return child;
  }

  #reply(child: ChildProcess): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        child.off("message", onMessage).off("exit", onExit).off("error", reject);
        action();
      };
      const onMessage = ({ value, failure }: Reply) => {
        const error = failure && new DecodeError(failure.message, failure.place, failure.fix);
        settle(() => (error ? reject(error) : resolve(value)));
      };
      // "killed" says that this side did it, at the deadline; else its own watch or the engine has ended it.
      const onExit = () => settle(() => reject(child.killed ? this.#tooSlow() : this.#tooLarge()));
      child.on("message", onMessage).on("exit", onExit).on("error", reject);
    });
  }

  #tooSlow(): DecodeError {
    return new DecodeError(
      `decoding it takes more than ${(this.#msGiven / 1000).toFixed(1)} s`,
      undefined,
      beyondLimits,
    );
  }

  #tooLarge(): DecodeError {
    const mebibytes = Math.ceil(this.#memoryBytes / mebibyte);
    return new DecodeError(`decoding it takes more than ${mebibytes} MiB of memory`, undefined, beyondLimits);
  }
}
