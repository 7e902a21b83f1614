import { DeviceError } from "../../errors.ts";
import type { Storage } from "../../tensor.ts";
import { layout, pageBytes } from "./layout.ts";

/** A block of the WebAssembly memory. */
export interface CpuStorage extends Storage {
  readonly address: number;
  /** Number of the last command that touches this memory; until it has run, the host must not write here. */
  lastUse: number;
}

interface Hole {
  address: number;
  bytes: number;
  lastUse: number;
}

const alignment = 64;
const growthBytes = 16 << 20;

/**
 * Host-side memory of the device: best fit over an address-ordered list of holes that merge with their neighbours.
 * Commands run in order, so a block may be reused by later commands as soon as it is released; only a host that writes
 * by itself must ask for a block whose last command has run (`retired`).
 */
export class Heap {
  #holes: Hole[] = [];
  #end: number = layout.heap;
  #bytes = 0;
  #peakBytes = 0;

  constructor(
    readonly memory: WebAssembly.Memory,
    /** The most the memory may ever hold, control block and ring included. */
    readonly limitBytes: number,
    /** Number of the last command that has run. */
    private readonly completed: () => number,
  ) {
    this.#extend(memory.buffer.byteLength - layout.heap);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  /**
   * @param retired only memory whose last command is at most this number
   * @throws DeviceError if no such block is left and the memory cannot grow
   */
  allocate(bytes: number, { retired = Number.POSITIVE_INFINITY }: { retired?: number } = {}): CpuStorage {
    const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
    const hole = this.#bestFit(size, retired) ?? this.#makeRoom(size, retired);
    if (!hole) throw this.#outOfMemory(bytes);
    const storage = new HeapBlock(hole.address, bytes, size, hole.lastUse);
    hole.address += size;
    hole.bytes -= size;
    if (hole.bytes === 0) this.#holes.splice(this.#holes.indexOf(hole), 1);
    this.#bytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
    return storage;
  }

  release(storage: CpuStorage): void {
    const block = storage as HeapBlock;
    if (block.released) return;
    block.released = true;
    this.#bytes -= block.size;
    this.#insert({ address: block.address, bytes: block.size, lastUse: block.lastUse });
  }

  #bestFit(size: number, retired: number): Hole | undefined {
    let best: Hole | undefined;
    for (const hole of this.#holes) {
      if (hole.bytes >= size && hole.lastUse <= retired && (!best || hole.bytes < best.bytes)) best = hole;
    }
    return best;
  }

  #insert(hole: Hole): void {
    const holes = this.#holes;
    let low = 0;
    let high = holes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holes[middle]!.address < hole.address) low = middle + 1;
      else high = middle;
    }
    holes.splice(low, 0, hole);
    this.#mergeWithNext(low);
    this.#mergeWithNext(low - 1);
  }

  /** Keeps memory whose commands have all run apart from memory still in use, for the host to write to. */
  #mergeWithNext(index: number, { always = false } = {}): void {
    const [hole, next] = [this.#holes[index], this.#holes[index + 1]];
    if (!hole || !next || hole.address + hole.bytes !== next.address) return;
    const completed = this.completed();
    if (!always && hole.lastUse > completed !== next.lastUse > completed) return;
    hole.bytes += next.bytes;
    hole.lastUse = Math.max(hole.lastUse, next.lastUse);
    this.#holes.splice(index + 1, 1);
  }

  #makeRoom(size: number, retired: number): Hole | undefined {
    const mayMerge = retired === Number.POSITIVE_INFINITY;
    if (mayMerge) this.#mergeAll();
    const hole = this.#bestFit(size, retired);
    if (hole) return hole;
    this.#grow(size, { reuseTail: mayMerge });
    if (mayMerge) this.#mergeAll();
    // Commands may have run since the caller looked, and the new memory then merges with what they used.
    return this.#bestFit(size, mayMerge ? retired : Math.max(retired, this.completed()));
  }

  #mergeAll(): void {
    for (let i = this.#holes.length - 2; i >= 0; i--) this.#mergeWithNext(i, { always: true });
  }

  #extend(bytes: number): void {
    this.#insert({ address: this.#end, bytes, lastUse: 0 });
    this.#end += bytes;
  }

  /** Generously if there is room, else by just what is missing; leaves things as they were if neither goes. */
  #grow(size: number, { reuseTail }: { reuseTail: boolean }): void {
    const last = this.#holes.at(-1);
    const usable = reuseTail && last && last.address + last.bytes === this.#end ? last.bytes : 0;
    const missing = Math.ceil((size - usable) / pageBytes) * pageBytes;
    for (const bytes of [Math.max(missing, growthBytes), missing]) {
      if (this.#end + bytes > this.limitBytes) continue;
      try {
        this.memory.grow(bytes / pageBytes);
      } catch {
        continue;
      }
      this.#extend(bytes);
      return;
    }
  }

  #outOfMemory(bytes: number): DeviceError {
    return new DeviceError(
      "allocate",
      "out of memory",
      `the CPU device has ${this.limitBytes - layout.heap} bytes, got a request for ${bytes} bytes with ${this.#bytes} held. ` +
        "Use a smaller batch or context, or dispose of tensors sooner",
    );
  }
}

class HeapBlock implements CpuStorage {
  released = false;
  constructor(
    readonly address: number,
    readonly bytes: number,
    readonly size: number,
    public lastUse: number,
  ) {}
}
