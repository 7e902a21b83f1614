import { expect } from "vitest";
import { DataError } from "../src/errors.ts";
import { threefry2x32 } from "../src/rng.ts";

export interface Mutation {
  /** What was done, to find it again. */
  label: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Damaged copies of a file: cut short at many places, bits flipped, lengths made huge, ranges zeroed, moved, random. */
export function* mutations(
  file: Uint8Array,
  { seed, count, cuts = 64 }: { seed: number; count: number; cuts?: number },
): Generator<Mutation> {
  const step = Math.max(1, Math.ceil(file.length / cuts));
  for (let length = 0; length < file.length; length += step) {
    yield { label: `cut to ${length} bytes`, bytes: file.slice(0, length) };
  }
  for (let i = 0; i < count; i++) yield mutate(file, seed, i);
}

/** Bytes at random, of many lengths. */
export function* noise({
  seed,
  count,
  maxBytes,
}: {
  seed: number;
  count: number;
  maxBytes: number;
}): Generator<Mutation> {
  for (let i = 0; i < count; i++) {
    const random = randoms(seed, i);
    const bytes = Uint8Array.from({ length: random(maxBytes) }, () => random(256));
    yield { label: `random bytes ${i} of seed ${seed}`, bytes };
  }
}

function randoms(seed: number, stream: number): (below: number) => number {
  let counter = 0;
  return (below) => threefry2x32([seed, stream], [counter++, 0])[0]! % Math.max(1, below);
}

function mutate(file: Uint8Array, seed: number, index: number): Mutation {
  const random = randoms(seed, index);
  const bytes = file.slice();
  const kind = random(7);
  const at = random(file.length);
  const length = 1 + random(Math.min(16, file.length - at));
  const label = `mutation ${index} of seed ${seed}: kind ${kind} at ${at}, ${length} bytes`;
  if (kind <= 1) bytes[at]! ^= 1 << random(8);
  else if (kind === 2) bytes.fill(0xff, at, at + length);
  else if (kind === 3) bytes.fill(0, at, at + length);
  else if (kind === 4) for (let i = at; i < at + length; i++) bytes[i] = random(256);
  else if (kind === 5) bytes.copyWithin(at, random(file.length), file.length);
  else return { label, bytes: Uint8Array.from([...file.slice(0, at), ...file.slice(at + length)]) };
  return { label, bytes };
}

/**
 * Runs a reader: it gives a value, or throws a DataError that names the file and a place. Anything else fails the test.
 * @returns the value, or the error
 */
export async function valueOrDataError<V>(label: string, file: string, read: () => Promise<V>): Promise<V | DataError> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DataError)) throw new Error(`${label}: no DataError but ${error}`, { cause: error });
    expect(error.file, label).toBe(file);
    expect(error.message.startsWith(`${file}: ${error.place}: `) && error.place.length > 0, label).toBe(true);
    return error;
  }
}
