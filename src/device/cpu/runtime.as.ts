// The worker's side of the command stream; runtime.ts writes the stream and describes it.
//
// Reads:   the control block and the ring of command slots at fixed addresses (LAYOUT in layout.ts holds the same numbers).
// A thread: takes one task after another of the oldest unfinished command; whoever finishes the last task of a command
//           opens the next one. No thread ever waits for a thread that holds no task.
// Numerics: none. Which thread runs a task never shows in the result: a task's work depends on its index only.

const WORK: usize = 65536; // u64: sequence of the open command << 32 | its next task
const WORK_SEQUENCE: usize = WORK + 4;
const PUBLISHED: usize = 65536 + 64; // u32: commands the host has published
const HOST_TARGET: usize = 65536 + 128; // u32: sequence whose completion the host waits for
const HOST_SIGNAL: usize = 65536 + 192; // u32: grows when the target is reached

const RING: usize = 65536 + 256;
const SLOT_BYTES: usize = 512;
const SLOT_MASK: u32 = 2047;

/** Polls before a thread sleeps: long enough to bridge the gap between small ops, short enough to cost nothing idle. */
const SPINS: i32 = 20000;

@unmanaged
class Slot {
  kernel: u32; // place in the function table
  tasks: u32;
  scratch: usize;
  scratchBytes: u32; // of one thread
  done: u32;
  reserved0: u32;
  reserved1: u32;
  reserved2: u32;
}

const ARGS_OFFSET: usize = 32;

/** End of static data: the host checks that it lies below the control block. */
export const dataEnd: usize = __heap_base;

/** A worker's whole life: never returns. */
export function run(thread: u32): void {
  for (;;) {
    const work = atomic.load<u64>(WORK);
    const sequence = <u32>(work >> 32);
    if (sequence == atomic.load<u32>(PUBLISHED)) {
      waitWhile(PUBLISHED, sequence);
      continue;
    }
    // The slot may already be another command's if `work` is stale; then the exchange below fails.
    const slot = changetype<Slot>(RING + (sequence & SLOT_MASK) * SLOT_BYTES);
    const task = <u32>work;
    const tasks = slot.tasks;
    if (task >= tasks) {
      waitWhile(WORK_SEQUENCE, sequence);
      continue;
    }
    if (atomic.cmpxchg<u64>(WORK, work, work + 1) != work) continue;
    const args = changetype<usize>(slot) + ARGS_OFFSET;
    call_indirect<void>(slot.kernel, args, task, slot.scratch + thread * slot.scratchBytes);
    if (atomic.add<u32>(changetype<usize>(slot) + offsetof<Slot>("done"), 1) + 1 == tasks) open(sequence + 1);
  }
}

/** Runs a command to its end on the calling thread: what the host does where it has no workers. */
export function runInline(slotAddress: usize): void {
  const slot = changetype<Slot>(slotAddress);
  const tasks = slot.tasks;
  for (let task: u32 = 0; task < tasks; task++) {
    call_indirect<void>(slot.kernel, slotAddress + ARGS_OFFSET, task, slot.scratch);
  }
}

function open(sequence: u32): void {
  atomic.store<u64>(WORK, (<u64>sequence) << 32);
  atomic.notify(WORK_SEQUENCE, -1);
  // The host writes its target, then looks at the sequence; we the other way round: one of us sees the other.
  if (atomic.load<u32>(HOST_TARGET) == sequence) {
    atomic.add<u32>(HOST_SIGNAL, 1);
    atomic.notify(HOST_SIGNAL, -1);
  }
}

function waitWhile(address: usize, value: u32): void {
  for (let i = 0; i < SPINS; i++) {
    if (atomic.load<u32>(address) != value) return;
  }
  atomic.wait<i32>(address, value, -1);
}
