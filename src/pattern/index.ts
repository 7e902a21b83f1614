import { chunkedHash } from "./chunkedHash.ts";
import { dense } from "./dense.ts";
import { documents } from "./documents.ts";
import { drop } from "./drop.ts";
import { hash } from "./hash.ts";
import { heads } from "./heads.ts";
import { staircase } from "./staircase.ts";
import { strided } from "./strided.ts";
import { stripes } from "./stripes.ts";
import { union } from "./union.ts";
import { window } from "./window.ts";

export type { HashOptions } from "./hash.ts";
export type { AttentionShape, Mask, Part, Pattern } from "./pattern.ts";

/** All patterns: what a query may see. */
export const pattern = {
  dense,
  window,
  documents,
  drop,
  hash,
  chunkedHash,
  strided,
  stripes,
  union,
  heads,
  staircase,
} as const;
