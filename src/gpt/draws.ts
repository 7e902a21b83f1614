import { deriveSeed, lshRotations } from "../rng.ts";
import type { Tensor } from "../tensor.ts";
import type { Arena } from "./arena.ts";
import type { ModelConfig } from "./config.ts";
import { type HeadGroup, headGroups } from "./headGroups.ts";

/** What random choices (rotations, dropped rows) are drawn from. Equal draws choose equally, on every device. */
export interface Draw {
  readonly seed: number;
  /** Number of the pass: the micro-step while training. */
  readonly index: number;
}

/** Where the random numbers of one group of heads lie on the device. */
export interface GroupDraws {
  /**
   * f32 [headCount, D, buckets / 2] and [keyHeadCount, D, buckets / 2], a key head's being those of its query heads; null
   * where the pattern hashes nothing, or keys have the buckets of queries.
   */
  readonly qRotations: Tensor | null;
  readonly kRotations: Tensor | null;
  /** i32 [2] each, keys for `keepMask`; null where the pattern drops nothing. */
  readonly qKey: Tensor<"i32"> | null;
  readonly kKey: Tensor<"i32"> | null;
}

/** A group and where its numbers begin in the flat tensors; -1 for none. */
interface Place {
  readonly group: HeadGroup;
  readonly buckets: number;
  readonly qRotations: number;
  readonly kRotations: number;
  readonly keys: number;
}

/**
 * The random numbers of a pass on the device, those of all layers in one flat tensor of rotations and one of keys, so
 * that a pass uploads two blocks at most.
 */
export class PassDraws {
  /** By layer and group. */
  readonly groups: readonly (readonly GroupDraws[])[];
  readonly #config: ModelConfig;
  readonly #places: readonly Place[];
  /** f32, all rotations; null if there are none. */
  readonly #rotations: Tensor | null;
  /** i32 [groups that drop, 2, 2]: for queries and for keys. */
  readonly #keys: Tensor<"i32"> | null;
  /** What the rotations on the device, and those made ahead on the host, were drawn from. */
  #onDevice: string | null = null;
  #prepared: { readonly from: string; readonly rotations: Float32Array } | null = null;

  constructor(arena: Arena, config: ModelConfig) {
    this.#config = config;
    let rotations = 0;
    let keys = 0;
    const place = (group: HeadGroup): Place => {
      const { headPattern: pattern, headCount, keyHeadCount, headDimension: D, sharesBuckets } = group;
      const buckets = "buckets" in pattern ? pattern.buckets : 0;
      const take = (heads: number) => {
        rotations += heads * D * (buckets / 2);
        return rotations - heads * D * (buckets / 2);
      };
      return {
        group,
        buckets,
        qRotations: buckets > 0 ? take(headCount) : -1,
        kRotations: buckets > 0 && !sharesBuckets ? take(keyHeadCount) : -1,
        keys: pattern.kind === "drop" ? 4 * keys++ : -1,
      };
    };
    const placed = headGroups(config).map((layer) => layer.map(place));
    this.#places = placed.flat();
    this.#rotations = rotations > 0 ? arena.empty([rotations]) : null;
    this.#keys = keys > 0 ? arena.zeros([keys, 2, 2], "i32") : null;
    this.groups = placed.map((layer) => layer.map((one) => this.#viewsOf(one)));
  }

  /** Computes ahead what `stage` with the same draw will upload; for the host to do while the device is busy. */
  prepare(draw: Draw): void {
    const from = this.#rotationsFrom(draw);
    if (!this.#rotations || from === this.#onDevice || from === this.#prepared?.from) return;
    this.#prepared = { from, rotations: this.#drawRotations(draw) };
  }

  /** Puts the numbers of a pass on the device, in order with the work enqueued so far. */
  stage(draw: Draw): void {
    this.#keys?.write(this.#drawKeys(draw));
    const from = this.#rotationsFrom(draw);
    if (!this.#rotations || from === this.#onDevice) return;
    const ready = this.#prepared?.from === from ? this.#prepared.rotations : this.#drawRotations(draw);
    this.#rotations.write(ready);
    this.#onDevice = from;
  }

  #viewsOf({ group, buckets, qRotations, kRotations, keys }: Place): GroupDraws {
    const rotationsAt = (offset: number, heads: number) =>
      offset < 0 ? null : this.#rotations!.view([heads, group.headDimension, buckets / 2], { offset });
    const keyAt = (offset: number) => (keys < 0 ? null : this.#keys!.view([2], { offset }));
    return {
      qRotations: rotationsAt(qRotations, group.headCount),
      kRotations: rotationsAt(kRotations, group.keyHeadCount),
      qKey: keyAt(keys),
      kKey: keyAt(keys + 2),
    };
  }

  /** Equal for draws that rotate equally. */
  #rotationsFrom({ seed, index }: Draw): string {
    return this.#config.rotations === "fixed" ? "fixed" : `${seed},${index}`;
  }

  #drawRotations({ seed, index }: Draw): Float32Array {
    const { rotations: mode, seed: modelSeed } = this.#config;
    const all = new Float32Array(this.#rotations!.size);
    for (const { group, buckets, qRotations, kRotations } of this.#places) {
      if (buckets === 0) continue;
      const { part, keyHeadCount, headDimension: D } = group;
      const groupSeed = mode === "fixed" ? deriveSeed(modelSeed, 0, part) : deriveSeed(seed, index, part);
      const drawn = lshRotations({ seed: groupSeed, H: keyHeadCount, D, buckets });
      const size = D * (buckets / 2);
      // Query heads get the rotations of their key head, so that alike queries and keys meet in a bucket.
      for (let h = 0; h < group.headCount; h++) {
        const keyHead = Math.floor((group.firstHead + h) / group.perKeyHead) - group.firstKeyHead;
        all.set(drawn.subarray(keyHead * size, (keyHead + 1) * size), qRotations + h * size);
      }
      if (kRotations >= 0) all.set(drawn, kRotations);
    }
    return all;
  }

  #drawKeys({ seed, index }: Draw): Int32Array {
    const all = new Int32Array(this.#keys!.size);
    for (const { group, keys } of this.#places) {
      if (keys < 0) continue;
      const groupSeed = deriveSeed(seed, index, group.part);
      all.set([groupSeed, 0, groupSeed, 1], keys);
    }
    return all;
  }
}
