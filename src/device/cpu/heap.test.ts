import { expect, it } from "vitest";
import { Heap } from "./heap.ts";
import { layout } from "./layout.ts";

it("grows for the host though commands finish meanwhile and their memory merges with the new", () => {
  const pages = Math.ceil(layout.heap / 65536) + 1;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages + 64 });
  let completed = 0;
  const heap = new Heap(memory, (pages + 64) * 65536, () => completed);
  const all = heap.allocate(memory.buffer.byteLength - layout.heap);
  all.lastUse = 5;
  heap.release(all);
  const retired = completed;
  completed = 5;
  expect(heap.allocate(100_000, { retired }).bytes).toBe(100_000);
});
