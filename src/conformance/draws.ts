import { deriveSeed, uniformAt } from "../rng.ts";

/** Choices that follow from (seed, index) alone, made one after another. */
export class Draws {
  readonly #seed: number;
  #count = 0;

  constructor(seed: number, index: number) {
    this.#seed = deriveSeed(seed, index >>> 0, Math.floor(index / 2 ** 32));
  }

  /** Evenly from 0 < u < 1. */
  uniform(): number {
    return uniformAt(this.#seed, 0, this.#count++);
  }

  /** A whole number, least <= n <= most. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.uniform() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.uniform() * values.length)];
  }

  /** One of several values, each as often as its weight says. */
  weighted<T>(values: readonly (readonly [weight: number, value: T])[]): T {
    let rest = this.uniform() * values.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of values) {
      rest -= weight;
      if (rest < 0) return value;
    }
    return values[values.length - 1][1];
  }

  /** 0 .. length-1 in random order (Fisher and Yates). */
  permutation(length: number): Int32Array {
    const order = Int32Array.from({ length }, (_, n) => n);
    for (let n = length - 1; n > 0; n--) {
      const other = this.whole(0, n);
      [order[n], order[other]] = [order[other], order[n]];
    }
    return order;
  }

  /** A seed for draws of somebody else. */
  seed(): number {
    return Math.floor(this.uniform() * 2 ** 32);
  }
}
