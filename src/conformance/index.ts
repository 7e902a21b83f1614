import { attentionConformance } from "./attention.ts";
import type { ConformanceCase } from "./case.ts";
import { opCases } from "./ops.ts";

export { type ConformanceCase, missingFor, type Verdict } from "./case.ts";
export { randomConformance } from "./randomCases.ts";

/** All that a device must make true: run by the tests, in pages, and by `scfa selftest`. */
export const conformanceCases: readonly ConformanceCase[] = [...opCases, ...attentionConformance()];
