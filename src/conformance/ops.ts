import type { ConformanceCase } from "./case.ts";
import { memoryCases } from "./ops_memory.ts";
import { modelCases } from "./ops_model.ts";
import { sparsityCases } from "./ops_sparsity.ts";
import { trainingCases } from "./ops_training.ts";

/** Claims about every op but attention, for every device. */
export const opCases: readonly ConformanceCase[] = [...memoryCases, ...modelCases, ...sparsityCases, ...trainingCases];
