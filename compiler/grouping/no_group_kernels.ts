/** Stands for grouping where no optimizer runs: `deno task bundle` puts it there. */
import { singleStep } from "../steps.ts";
import type { groupKernels as Group } from "./group_kernels.ts";

/** The steps that run each of the kernels alone. */
export const groupKernels: typeof Group = (kernels) => kernels.map(singleStep);
