/** A lowered program: distinct kernels, the steps that run them, and one arena laid out ahead. */
import type { DType } from "../graph/dtype.ts";
import type { Node } from "../graph/node.ts";
import type { StaticShape } from "../graph/shape.ts";
import type { Explanation } from "./explain.ts";
import type { Kernel } from "./loop_ir.ts";

/** A region of the arena. Regions whose lifetimes do not meet may overlap. */
export interface ProgramBuffer {
  /** The node whose value it holds, for printing. */
  readonly name: string;
  readonly dtype: DType;
  readonly elements: number;
  /** Bytes from the arena's start; a multiple of the capability record's alignment. */
  readonly offset: number;
  readonly bytes: number;
}

/** One run of a step's kernel, over memory of its own. */
export interface StepMember {
  /** For each non-scratch buffer of the kernel, in order, the index in {@linkcode Program.buffers}. */
  readonly buffers: readonly number[];
  /** The values of the kernel's sizes, in order; none for kernels without. */
  readonly sizes: readonly number[];
}

/**
 * A kernel, run once for each member.
 *
 * No member reads or writes what another writes, so they may run in any order or all at once: as one
 * dispatch over all members' parallel iterations, which finds a member's buffers and sizes in a table;
 * or as one dispatch each with nothing between them that waits. What a member computes may not depend
 * on which of these it is. Between a step and those that touch what it writes, everything waits.
 */
export interface ProgramStep {
  /** Index in {@linkcode Program.kernels}. */
  readonly kernel: number;
  /** At least one; more than one only where the kernel is of loops. */
  readonly members: readonly StepMember[];
  /** The graph nodes computed here, for errors, profiles and explanations. */
  readonly nodes: readonly Node[];
}

/** A named input or output. */
export interface ProgramPort {
  /** Path in the user's structure: `parameters/head/kernel`. */
  readonly path: string;
  readonly dtype: DType;
  readonly shape: StaticShape;
  /** Index in {@linkcode Program.buffers}. */
  readonly buffer: number;
}

/** Numbers that are in the arena from the start and never written. */
export interface ProgramConstant {
  readonly buffer: number;
  readonly data: Float32Array | Int32Array | Uint32Array | Uint8Array | Uint16Array;
}

/** A value in memory. */
export interface LiveValue {
  /** The user's name for it, or its op's. */
  readonly name: string;
  readonly bytes: number;
  /** Where in the model: `encoder/3/attention`. */
  readonly scope: string;
}

/** What is computed a second time, so that it need not be kept. */
export interface RecomputedReport {
  /** Floating-point operations of everything that is computed again. */
  readonly flops: number;
  /** The same as a share of the FLOPs that the program has without them. */
  readonly fraction: number;
  readonly regions: readonly RecomputedRegion[];
}

/** A part of the model that is computed a second time. */
export interface RecomputedRegion {
  /** Its scope: `encoder/3`; or the scope or op of the one value that it is. */
  readonly name: string;
  /** How many ops are computed again. */
  readonly ops: number;
  readonly flops: number;
}

/** What a backend runs. */
export interface Program {
  /** Distinct kernels: steps that do the same to other buffers share one. */
  readonly kernels: readonly Kernel[];
  readonly steps: readonly ProgramStep[];
  readonly buffers: readonly ProgramBuffer[];
  readonly inputs: readonly ProgramPort[];
  /** A donated output's buffer is its input's: the run updates it in place. */
  readonly outputs: readonly ProgramPort[];
  readonly constants: readonly ProgramConstant[];
  /** Size of the whole arena. */
  readonly arenaBytes: number;
  /** The largest sum of live bytes at any step: no plan can do with less. */
  readonly lowerBoundBytes: number;
  /** How the graph became this program; absent where it was made by hand. */
  readonly explanation?: Explanation;
  /** What is alive at the step with the most live bytes, the largest first. */
  readonly peak: readonly LiveValue[];
  readonly recomputed: RecomputedReport;
}
