/** Steps of a program before their memory is known. */
import type { LoweredKernel } from "./lower/kernel_builder.ts";
import type { Kernel } from "./loop_ir.ts";

/** A kernel as a member of a step. */
export interface LoweredMember {
  readonly lowered: LoweredKernel;
  /** Values of the sizes of the step's kernel. */
  readonly sizes: readonly number[];
}

/** Kernels that run as one. */
export interface LoweredStep {
  /** What its members run: with their sizes, each member's own kernel. */
  readonly kernel: Kernel;
  /** At least one. */
  readonly members: readonly LoweredMember[];
}

/** The step that runs one kernel alone. */
export function singleStep(lowered: LoweredKernel): LoweredStep {
  return { kernel: lowered.kernel, members: [{ lowered, sizes: [] }] };
}
