import { DeviceError } from "../../errors.ts";
import { bytesPerElement, type DType, type Tensor } from "../../tensor.ts";
import { type CpuStorage, Heap } from "./heap.ts";
import { firstKernel, layout } from "./layout.ts";
import { instantiate, type KernelInstance, kernelNames } from "./wasm.ts";
import type { KernelWorker } from "./workers.ts";

/*
 * The command stream.
 *
 * One WebAssembly memory holds the control block, a ring of command slots and the heap. The host packs a command (which
 * kernel, how many tasks, its arguments) into the next slot and goes on. Every worker walks the same ring in order and
 * takes one task after another of the oldest unfinished command; the next command opens when the last task is done. The
 * host never blocks: it awaits a word of the control block. Without workers the host runs each command at once.
 *
 * To add an op `name`:
 *
 * 1. name.as.ts exports the kernel and is listed in kernels.as.ts. (Helpers that several kernels share live in files
 *    that kernels.as.ts does not list.)
 *
 *      @unmanaged class NameArgs { x: usize; out: usize; rows: u32; epsilon: f32; }    // 4 bytes each, in packing order
 *      export function name(argsAddress: usize, task: u32, scratch: usize): void {
 *        const args = changetype<NameArgs>(argsAddress);
 *        ...
 *      }
 *
 *    A task may write what no other task of the command reads or writes, and its own thread's `scratch` (64-byte aligned,
 *    contents undefined). What a task does must depend on its index and arguments alone, so that results do not depend
 *    on the number of threads: reduce over fixed segments into a workspace, then add these up in a second command.
 *
 * 2. name.ts exports the launcher, and ops.ts names it:
 *
 *      export function name(runtime: CpuRuntime, { x, out, epsilon }: Parameters<Ops["name"]>[0]): void {
 *        runtime.enqueue("name", { tasks, scratchBytes, args: [x, out, rows, f32(epsilon)] });
 *      }
 *
 *    A tensor is packed as the address of its first element, a workspace or null likewise, a number as an integer.
 *    Memory that only the op needs: `const w = runtime.allocate(bytes)`, pass it, `runtime.release(w)` right after the
 *    last enqueue that uses it. Memory comes back in stream order, so this is safe.
 *
 * 3. `node scripts/build-kernels.mjs`.
 */

/** A float among a kernel's arguments. */
export interface FloatArg {
  readonly f32: number;
}
export const f32 = (value: number): FloatArg => ({ f32: value });

export type KernelArg = Tensor<DType> | CpuStorage | FloatArg | number | null;

export interface Launch {
  /** Tasks that workers take one by one, in order of their index; put the long ones first. */
  readonly tasks: number;
  /** Private memory of each thread that runs tasks. */
  readonly scratchBytes?: number;
  readonly args: readonly KernelArg[];
}

/** The commands that an op may take: the ring slot less its header. */
export const maxArgs = layout.slotBytes / 4 - layout.headerWords;

const keepAliveMs = 1 << 30;
const pollMs = 1;

interface Waiter {
  readonly target: number;
  resolve(): void;
  reject(error: DeviceError): void;
}

/** Memory and command stream of one CPU device; what the ops' launchers work with. */
export class CpuRuntime {
  readonly heap: Heap;
  /** Workers that take tasks; 0 if commands run on the host's own thread. */
  readonly #workers: readonly KernelWorker[];
  readonly #instance: KernelInstance | null;
  readonly #kernels: ReadonlyMap<string, number>;
  readonly #control: Int32Array;
  readonly #words = new Int32Array(layout.slotBytes / 4);
  readonly #floats = new Float32Array(this.#words.buffer);
  /** Commands ever enqueued, and those of them that are in the ring or beyond. */
  #enqueued = 0;
  #published = 0;
  /** Commands that found the ring full. */
  #backlog: Int32Array[] = [];
  #waiters: Waiter[] = [];
  #armed = false;
  #failure: DeviceError | null = null;
  #bytes = new Uint8Array(0);

  constructor({
    module,
    memory,
    limitBytes,
    workers,
  }: {
    module: WebAssembly.Module;
    memory: WebAssembly.Memory;
    limitBytes: number;
    workers: readonly KernelWorker[];
  }) {
    this.#workers = workers;
    this.#instance = workers.length === 0 ? instantiate(module, memory) : null;
    this.#kernels = new Map(kernelNames(module).map((name, i) => [name, firstKernel + i]));
    this.#control = new Int32Array(memory.buffer, layout.work, (layout.ring - layout.work) / 4);
    this.heap = new Heap(memory, limitBytes, () => this.completed);
  }

  /** Threads that run tasks, at least 1. Never let a result depend on it. */
  get threads(): number {
    return Math.max(1, this.#workers.length);
  }

  /** Number of the last command enqueued; commands count from 1. */
  get enqueued(): number {
    return this.#enqueued;
  }

  /** Number of the last command that has run. */
  get completed(): number {
    if (this.#instance) return this.#enqueued;
    const sequence = Atomics.load(this.#control, word(layout.workSequence));
    return this.#published - ((this.#published - sequence) >>> 0);
  }

  /** Memory for as long as the caller keeps it; see `Heap.allocate`. */
  allocate(bytes: number): CpuStorage {
    return this.heap.allocate(bytes);
  }

  /** Gives memory back; later commands may use it, earlier ones still may. */
  release(storage: CpuStorage): void {
    this.heap.release(storage);
  }

  /**
   * Appends a command to the stream.
   * @param kernel name of an exported kernel
   * @throws DeviceError if the device has failed or was disposed of
   */
  enqueue(kernel: string, { tasks, scratchBytes = 0, args }: Launch): void {
    this.mustWork();
    if (tasks <= 0) return;
    const number = this.#enqueued + 1;
    const scratchStride = Math.ceil(scratchBytes / 64) * 64;
    const scratch = scratchStride > 0 ? this.allocate(scratchStride * this.threads) : null;
    this.#pack(kernel, number, [tasks, scratch, scratchStride, ...args]);
    this.#enqueued = number;
    if (scratch) this.release(scratch);
    if (this.#instance) {
      this.#runInline();
    } else if (this.#backlog.length === 0 && this.#publish(this.#words)) {
      Atomics.notify(this.#control, word(layout.published));
    } else {
      this.#backlog.push(this.#words.slice());
      this.#pump();
    }
  }

  /** Resolves when every command enqueued so far has run. @throws DeviceError if the device failed */
  async idle(): Promise<void> {
    this.mustWork();
    const target = this.#enqueued;
    if (this.completed >= target) return;
    await new Promise<void>((resolve, reject) => {
      this.#waiters.push({ target, resolve, reject });
      this.#pump();
    });
  }

  /** @throws DeviceError if the device has failed or was disposed of */
  mustWork(): void {
    if (this.#failure) throw this.#failure;
  }

  /** All of memory, as bytes; ask anew after anything that may allocate. */
  get bytes(): Uint8Array {
    const { buffer } = this.heap.memory;
    if (this.#bytes.buffer !== buffer) this.#bytes = new Uint8Array(buffer);
    return this.#bytes;
  }

  /** Ends the device: everything that waits, and every later use, gets the error. */
  fail(error: DeviceError): void {
    this.#failure ??= error;
    for (const worker of this.#workers) worker.terminate();
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#failure);
    this.#backlog = [];
    if (this.#instance) return;
    // Whoever still awaits the signal wakes and finds nothing left to wait for.
    Atomics.add(this.#control, word(layout.hostSignal), 1);
    Atomics.notify(this.#control, word(layout.hostSignal));
  }

  #runInline(): void {
    this.bytes.set(new Uint8Array(this.#words.buffer), layout.ring);
    try {
      this.#instance!.runInline(layout.ring);
    } catch (error) {
      this.fail(new DeviceError("kernel", "trap", String(error)));
      throw this.#failure;
    }
  }

  #pack(kernel: string, number: number, launch: KernelArg[]): void {
    const index = this.#kernels.get(kernel);
    if (index === undefined) throw new DeviceError(kernel, "no such kernel", "the build holds no kernel of this name");
    const [tasks, scratch, scratchStride, ...args] = launch;
    if (args.length > maxArgs) throw new DeviceError(kernel, "arguments", `${args.length} are over ${maxArgs}`);
    const words = this.#words.fill(0);
    words[0] = index;
    this.#packArg(1, tasks!, number);
    this.#packArg(2, scratch!, number);
    this.#packArg(3, scratchStride!, number);
    args.forEach((arg, i) => {
      this.#packArg(layout.headerWords + i, arg, number);
    });
  }

  #packArg(at: number, arg: KernelArg, number: number): void {
    if (arg === null) return;
    if (typeof arg === "number") {
      this.#words[at] = arg;
    } else if ("f32" in arg) {
      this.#floats[at] = arg.f32;
    } else {
      const storage = ("storage" in arg ? arg.storage : arg) as CpuStorage;
      storage.lastUse = number;
      this.#words[at] = storage.address + ("storage" in arg ? arg.offset * bytesPerElement[arg.dtype] : 0);
    }
  }

  /** Puts a command into the ring, if it has room. */
  #publish(words: Int32Array): boolean {
    if (this.#published - this.completed >= layout.slots) return false;
    const slot = layout.ring + (this.#published % layout.slots) * layout.slotBytes;
    new Int32Array(this.heap.memory.buffer, slot, words.length).set(words);
    this.#published++;
    Atomics.store(this.#control, word(layout.published), this.#published | 0);
    return true;
  }

  /** Moves the backlog into the ring, wakes whoever waited long enough, and waits on if there is a reason. */
  #pump(): void {
    let moved = 0;
    while (moved < this.#backlog.length && this.#publish(this.#backlog[moved]!)) moved++;
    if (moved > 0) {
      this.#backlog.splice(0, moved);
      Atomics.notify(this.#control, word(layout.published));
    }
    const completed = this.completed;
    const due = this.#waiters.filter(({ target }) => target <= completed);
    this.#waiters = this.#waiters.filter(({ target }) => target > completed);
    for (const { resolve } of due) resolve();
    if (!this.#armed && (this.#waiters.length > 0 || this.#backlog.length > 0)) this.#arm();
  }

  /** Calls `#pump` again once the first waiter's command has run, or half the ring if there is a backlog. */
  #arm(): void {
    this.#armed = true;
    const targets = this.#waiters.map(({ target }) => target);
    if (this.#backlog.length > 0) targets.push(this.#published - layout.slots / 2);
    const target = Math.min(...targets);
    const signal = Atomics.load(this.#control, word(layout.hostSignal));
    Atomics.store(this.#control, word(layout.hostTarget), target | 0);
    const again = () => {
      this.#armed = false;
      this.#pump();
    };
    // A worker that completes the target after this look sees the target, and changes the signal.
    if (this.completed >= target) return void queueMicrotask(again);
    const wait = Atomics.waitAsync?.(this.#control, word(layout.hostSignal), signal);
    if (!wait) return void setTimeout(again, pollMs);
    if (!wait.async) return void queueMicrotask(again);
    // The wait alone would not keep Node from exiting.
    const keepAlive = setInterval(() => {}, keepAliveMs);
    wait.value.then(() => {
      clearInterval(keepAlive);
      again();
    });
  }
}

/** Index of a control word in the Int32Array over the control block. */
function word(address: number): number {
  return (address - layout.work) / 4;
}
