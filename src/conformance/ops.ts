import type { ConformanceCase } from "./case.ts";
import { memoryCases } from "./opsMemory.ts";
import { modelCases } from "./opsModel.ts";
import { sparsityCases } from "./opsSparsity.ts";
import { trainingCases } from "./opsTraining.ts";

/** Claims about every op but attention, for every device. */
export const opCases: readonly ConformanceCase[] = [...memoryCases, ...modelCases, ...sparsityCases, ...trainingCases];
