import { firstKernel } from "./layout.ts";
import { kernelNames } from "./wasm.ts";

/** A running worker: it takes commands until it is terminated. */
export interface KernelWorker {
  terminate(): void;
}

interface Setup {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
  readonly names: readonly string[];
  readonly firstKernel: number;
}

/**
 * The worker's program: an instance of the module on the shared memory, its kernels put into the table, then `run`,
 * which never returns. It is text, so that bundlers, pages and Node all start it without a file of their own.
 */
const start = `function start({ module, memory, thread, names, firstKernel }, post) {
  try {
    const table = new WebAssembly.Table({ initial: firstKernel + names.length, element: "anyfunc" });
    const { exports } = new WebAssembly.Instance(module, { env: { memory, table } });
    names.forEach((name, i) => table.set(firstKernel + i, exports[name]));
    post("ready");
    exports.run(thread);
  } catch (error) {
    post(String((error && error.stack) || error));
  }
}`;
const nodeProgram = `${start}
const { parentPort, workerData } = require("node:worker_threads");
start(workerData, (message) => parentPort.postMessage(message));`;
const webProgram = `${start}
onmessage = ({ data }) => start(data, (message) => postMessage(message));`;

/** Node's own modules, without an import that a bundler would follow; undefined in a page. */
export function nodeModule<T>(name: string): T | undefined {
  const process = (globalThis as { process?: { getBuiltinModule?(name: string): unknown } }).process;
  return process?.getBuiltinModule?.(name) as T | undefined;
}

/** Cores that this program may use. */
export function availableCores(): number {
  const os = nodeModule<typeof import("node:os")>("node:os");
  return Math.max(1, os?.availableParallelism() ?? globalThis.navigator?.hardwareConcurrency ?? 1);
}

/** Whether workers and memory to share with them are to be had: always in Node, in pages if cross-origin isolated. */
export function threadsAvailable(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  if (nodeModule("node:worker_threads")) return true;
  return typeof Worker !== "undefined" && globalThis.crossOriginIsolated === true;
}

/**
 * Starts workers and waits until they take commands.
 * @param onError called with the reason if one fails later
 * @returns the workers that came up; fewer than asked for, or none, where the page's policy forbids them
 */
export async function startWorkers(
  { module, memory, threads }: { module: WebAssembly.Module; memory: WebAssembly.Memory; threads: number },
  onError: (reason: string) => void,
): Promise<KernelWorker[]> {
  const names = kernelNames(module);
  const started = await Promise.allSettled(
    Array.from({ length: threads }, (_, thread) =>
      startWorker({ module, memory, thread, names, firstKernel }, onError),
    ),
  );
  return started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}

function startWorker(setup: Setup, onError: (reason: string) => void): Promise<KernelWorker> {
  return new Promise((resolve, reject) => {
    let ready = false;
    const fail = (reason: unknown) => (ready ? onError(String(reason)) : reject(reason));
    const onMessage = (message: unknown) => {
      if (message !== "ready") return fail(message);
      ready = true;
      resolve(worker);
    };
    const worker = openWorker(setup, onMessage, fail);
  });
}

function openWorker(
  setup: Setup,
  onMessage: (message: unknown) => void,
  onError: (reason: unknown) => void,
): KernelWorker {
  const node = nodeModule<typeof import("node:worker_threads")>("node:worker_threads");
  if (node) {
    const worker = new node.Worker(nodeProgram, { eval: true, execArgv: [], workerData: setup });
    worker.on("message", onMessage);
    worker.on("error", onError);
    // A program that has finished exits, although its workers sleep on.
    worker.on("message", () => worker.unref());
    return { terminate: () => void worker.removeAllListeners().terminate() };
  }
  const url = URL.createObjectURL(new Blob([webProgram], { type: "text/javascript" }));
  const worker = new Worker(url);
  worker.onmessage = ({ data }) => {
    URL.revokeObjectURL(url);
    onMessage(data);
  };
  worker.onerror = (event) => onError(event.message || "the page's policy forbids workers");
  worker.postMessage(setup);
  return { terminate: () => worker.terminate() };
}
