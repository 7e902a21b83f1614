import { UnsupportedError } from "../../errors.ts";
import type { Recording } from "../device.ts";
import { type Handle, readHandle } from "./driver.ts";
import type { CudaRuntime } from "./runtime.ts";

/** CU_STREAM_CAPTURE_MODE_RELAXED: kernels may be loaded and scratch may grow meanwhile. */
const relaxed = 2;

/**
 * A list of launches as a CUDA graph: one call of some microseconds instead of one for each launch. The first replay
 * runs the launches one by one, because kernels are compiled and products tuned then; the second captures them.
 */
export class CudaRecording implements Recording {
  readonly #runtime: CudaRuntime;
  readonly #run: () => void;
  #isWarm = false;
  #isDisposed = false;
  #executable: Handle | null = null;

  constructor(runtime: CudaRuntime, run: () => void) {
    this.#runtime = runtime;
    this.#run = run;
  }

  replay(): void {
    if (this.#isDisposed)
      throw new UnsupportedError("record", "a recording in use must not be disposed", "a disposed one");
    if (!this.#isWarm) {
      this.#run();
      this.#isWarm = true;
      return;
    }
    this.#executable ??= this.#capture();
    this.#runtime.call("cuGraphLaunch", this.#executable, this.#runtime.stream);
  }

  dispose(): void {
    this.#isDisposed = true;
    if (this.#executable !== null) this.#runtime.driver.attempt("cuGraphExecDestroy", this.#executable);
    this.#executable = null;
  }

  #capture(): Handle {
    const runtime = this.#runtime;
    runtime.call("cuStreamBeginCapture", runtime.stream, relaxed);
    runtime.isCapturing = true;
    let graph: Handle;
    try {
      this.#run();
    } finally {
      runtime.isCapturing = false;
      // Also after an error: the stream must not go on capturing.
      const at = new BigUint64Array(1);
      runtime.driver.attempt("cuStreamEndCapture", runtime.stream, at);
      graph = at[0]!;
    }
    try {
      return readHandle((at) => runtime.call("cuGraphInstantiate", at, graph, 0));
    } finally {
      runtime.driver.attempt("cuGraphDestroy", graph);
    }
  }
}
