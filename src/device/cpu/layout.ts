/** Where things lie in the shared memory, in bytes; runtime.as.ts holds the same numbers. Static data lie below `work`. */
export const layout = {
  work: 65536,
  workSequence: 65536 + 4,
  published: 65536 + 64,
  hostTarget: 65536 + 128,
  hostSignal: 65536 + 192,
  ring: 65536 + 256,
  slotBytes: 512,
  slots: 2048,
  /** Words of a slot before the kernel's arguments. */
  headerWords: 8,
  /** The heap that tensors live in begins here, after the ring. */
  heap: 65536 + 256 + 512 * 2048,
} as const;

/** Place of the first kernel in the function table; places below are AssemblyScript's own. */
export const firstKernel = 64;

export const pageBytes = 65536;
