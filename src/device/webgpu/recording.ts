import { UnsupportedError } from "../../errors.ts";
import type { Recording } from "../device.ts";
import type { GpuStorage } from "./memory.ts";
import type { Prepared, WebgpuRuntime } from "./runtime.ts";

/**
 * A list of launches, ready to be enqueued again. The first replay runs the ops and takes down what they launch; later
 * ones repeat that, without looking at operands again. Scratch is the recording's own, for at a later replay the
 * runtime's may belong to another tensor.
 */
export class WebgpuRecording implements Recording {
  readonly #runtime: WebgpuRuntime;
  readonly #run: () => void;
  #launches: readonly Prepared[] | null = null;
  #scratch: readonly GpuStorage[] = [];
  #isDisposed = false;

  constructor(runtime: WebgpuRuntime, run: () => void) {
    this.#runtime = runtime;
    this.#run = run;
  }

  replay(): void {
    if (this.#isDisposed)
      throw new UnsupportedError("record", "a recording in use must not be disposed", "a disposed one");
    if (this.#launches) {
      for (const launch of this.#launches) this.#runtime.enqueue(launch);
      return;
    }
    const capture = new Capture(this.#runtime);
    this.#scratch = capture.scratch;
    this.#runtime.capture(capture, this.#run);
    this.#launches = capture.launches;
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#launches = null;
    for (const storage of this.#scratch) this.#runtime.release(storage);
  }
}

/** What a recording takes down while it runs for the first time. */
export class Capture {
  readonly launches: Prepared[] = [];
  /** All scratch that was asked for; what is given back is given out again. */
  readonly scratch: GpuStorage[] = [];
  readonly #runtime: WebgpuRuntime;
  readonly #idle: GpuStorage[] = [];

  constructor(runtime: WebgpuRuntime) {
    this.#runtime = runtime;
  }

  allocate(bytes: number): GpuStorage {
    const at = this.#idle.findIndex((storage) => storage.bytes === bytes);
    if (at >= 0) return this.#idle.splice(at, 1)[0]!;
    const storage = this.#runtime.allocate(bytes);
    this.scratch.push(storage);
    return storage;
  }

  release(storage: GpuStorage): void {
    this.#idle.push(storage);
  }
}
