import { ShapeError } from "../errors.ts";

/** What one group of heads sees, as the model's configuration names it. */
export type HeadPattern =
  | { readonly kind: "dense" }
  | { readonly kind: "window"; readonly size: number }
  | (Hash & { readonly kind: "hash"; readonly diagonal: boolean })
  | { readonly kind: "drop"; readonly share: number }
  /** The last `size` positions, and beyond them what shares a bucket. */
  | (Hash & { readonly kind: "union"; readonly size: number });

/** How a pattern that hashes does it. */
export interface Hash {
  readonly buckets: number;
  /** By projections standardised over the rows so far, see `Ops.lshBuckets`: buckets stay even in training. */
  readonly balanced: boolean;
}

/** One layer's attention: runs of neighbouring heads and what each run sees. */
export type LayerAttention = readonly { readonly heads: number; readonly pattern: HeadPattern }[];

/**
 * Reads one layer's attention. Groups of heads are separated by spaces and end in `:` and their number of heads, which
 * may be left out where there is one group:
 *
 *     dense                                every earlier position
 *     window(256)                          the last 256 positions, one's own included
 *     hash(16)                             what falls into the same of 16 buckets
 *     hash(16, diagonal=false)             the same without one's own position
 *     hash(16, balanced=true)              buckets that stay even in training, see Ops.lshBuckets
 *     drop(0.7)                            a random 70% of queries and of keys take no part
 *     union(window(256), hash(16))         a window, and beyond it what falls into the same bucket
 *     window(256):6 hash(16):6             the first 6 heads see a window, the other 6 hash
 *
 * @param heads heads of the layer, which the groups must add up to
 * @throws ShapeError with the place in the text
 */
export function parseAttention(text: string, heads: number): LayerAttention {
  const groups = new Reader(text).groups();
  if (groups.length === 1 && groups[0]!.heads === undefined) return [{ heads, pattern: groups[0]!.pattern }];
  const unnumbered = groups.findIndex((group) => group.heads === undefined);
  if (unnumbered >= 0) {
    throw new ShapeError(
      "attention",
      "each of several groups ends in its number of heads",
      `"${text}" with none in group ${unnumbered + 1}`,
      'Write for example "window(256):6 hash(16):6".',
    );
  }
  const sum = groups.reduce((n, group) => n + group.heads!, 0);
  if (sum !== heads) {
    throw new ShapeError("attention", `the groups must add up to the layer's ${heads} heads`, `${sum} in "${text}"`);
  }
  return groups.map((group) => ({ heads: group.heads!, pattern: group.pattern }));
}

/** The notation that `parseAttention` reads back to the same value; the shortest way to write it. */
export function formatAttention(layer: LayerAttention): string {
  if (layer.length === 1) return formatPattern(layer[0]!.pattern);
  return layer.map(({ heads, pattern }) => `${formatPattern(pattern)}:${heads}`).join(" ");
}

function formatPattern(pattern: HeadPattern): string {
  switch (pattern.kind) {
    case "dense":
      return "dense";
    case "window":
      return `window(${pattern.size})`;
    case "hash":
      return formatHash(pattern);
    case "drop":
      return `drop(${pattern.share})`;
    case "union":
      return `union(window(${pattern.size}), ${formatHash({ ...pattern, diagonal: true })})`;
  }
}

function formatHash({ buckets, diagonal, balanced }: Hash & { readonly diagonal: boolean }): string {
  return `hash(${buckets}${diagonal ? "" : ", diagonal=false"}${balanced ? ", balanced=true" : ""})`;
}

const KNOWN = "a pattern is dense, window(n), hash(n), drop(share) or union(window(n), hash(n))";

/** Recursive descent over the text; `#at` is the next character to read. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  groups(): { heads: number | undefined; pattern: HeadPattern }[] {
    const groups: { heads: number | undefined; pattern: HeadPattern }[] = [];
    do {
      const pattern = this.#pattern();
      const heads = this.#skip(":") ? this.#wholeNumber("a number of heads", 1) : undefined;
      groups.push({ heads, pattern });
    } while (!this.#atEnd());
    return groups;
  }

  #pattern(): HeadPattern {
    const start = this.#at;
    const name = this.#word();
    switch (name) {
      case "dense":
        return { kind: "dense" };
      case "window":
        return { kind: "window", size: this.#inBrackets(() => this.#wholeNumber("a window's size", 1)) };
      case "hash":
        return this.#inBrackets(() => this.#hash());
      case "drop":
        return { kind: "drop", share: this.#inBrackets(() => this.#share()) };
      case "union":
        return this.#inBrackets(() => this.#union());
      default:
        this.#at = start;
        throw this.#error(KNOWN);
    }
  }

  #hash(): HeadPattern {
    const start = this.#at;
    const buckets = this.#wholeNumber("a number of buckets", 2);
    if (buckets % 2 !== 0 || buckets > 256) {
      this.#at = start;
      throw this.#error("the number of buckets is even, from 2 to 256");
    }
    const options = { diagonal: true, balanced: false };
    while (this.#skip(",")) {
      const name = this.#word();
      if (!Object.hasOwn(options, name) || !this.#skip("=")) {
        throw this.#error('hash takes "diagonal=false" and "balanced=true"');
      }
      const value = this.#word();
      if (value !== "true" && value !== "false") throw this.#error(`${name} is true or false`);
      options[name as keyof typeof options] = value === "true";
    }
    return { kind: "hash", buckets, ...options };
  }

  #union(): HeadPattern {
    const start = this.#at;
    const near = this.#pattern();
    if (!this.#skip(",")) throw this.#error('a union has two patterns with "," between them');
    const far = this.#pattern();
    if (near.kind !== "window" || far.kind !== "hash" || !far.diagonal) {
      this.#at = start;
      throw this.#error(
        "a union is of a window and then a hash (which begins where the window ends, so has no diagonal)",
      );
    }
    return { kind: "union", size: near.size, buckets: far.buckets, balanced: far.balanced };
  }

  #share(): number {
    const start = this.#at;
    const share = this.#number();
    if (!(share > 0 && share < 1)) {
      this.#at = start;
      throw this.#error("the share to drop lies between 0 and 1");
    }
    return share;
  }

  #wholeNumber(what: string, least: number): number {
    const start = this.#at;
    const value = this.#number();
    if (!Number.isSafeInteger(value) || value < least) {
      this.#at = start;
      throw this.#error(`${what} is a whole number, at least ${least}`);
    }
    return value;
  }

  #number(): number {
    this.#spaces();
    const found = /^\d+(\.\d+)?/.exec(this.#text.slice(this.#at))?.[0];
    if (found === undefined) return Number.NaN;
    this.#at += found.length;
    return Number(found);
  }

  #word(): string {
    this.#spaces();
    const found = /^[a-zA-Z]*/.exec(this.#text.slice(this.#at))![0];
    this.#at += found.length;
    return found;
  }

  #inBrackets<T>(read: () => T): T {
    if (!this.#skip("(")) throw this.#error('"(" belongs here');
    const value = read();
    if (!this.#skip(")")) throw this.#error('")" belongs here');
    return value;
  }

  /** Passes over one character if it is next. */
  #skip(character: string): boolean {
    this.#spaces();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #spaces(): void {
    while (this.#text[this.#at] === " ") this.#at++;
  }

  #atEnd(): boolean {
    this.#spaces();
    return this.#at >= this.#text.length;
  }

  #error(rule: string): ShapeError {
    this.#spaces();
    const rest = this.#text.slice(this.#at, this.#at + 24);
    const found = rest === "" ? "the end" : `"${rest}"`;
    return new ShapeError("attention", rule, `${found} at character ${this.#at + 1} of "${this.#text}"`);
  }
}
