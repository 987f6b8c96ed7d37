/**
 * From a traced graph to a program: differentiation, the passes, scheduling, the memory plan.
 *
 * @module
 */
export type { AttentionCosts, AttentionForm } from "./attention_costs.ts";
export { grad, gradients, valueAndGrad } from "./autodiff.ts";
export { checkpoint } from "./checkpoint.ts";
export { type ExplainedKernel, type ExplainedRule, Explanation } from "./explain.ts";
export type { NodeNote } from "../graph/node_note.ts";
export type * from "./loop_ir.ts";
export { FUSION_RULES, type FusionOptions, type FusionRule } from "./fusion_rules.ts";
export type { GraphModule } from "./module.ts";
export {
  donatedPaths,
  graphPasses,
  lowerGraph,
  type LowerOptions,
  type Pass,
  type Target,
} from "./pipeline.ts";
export { printKernel } from "./print_loop_ir.ts";
export type {
  LiveValue,
  Program,
  ProgramBuffer,
  ProgramConstant,
  ProgramPort,
  ProgramStep,
  RecomputedRegion,
  RecomputedReport,
  StepMember,
} from "./program.ts";
export { type PlainLoopKernel, withSizes } from "./sizes.ts";
export { VerifyError } from "./verify.ts";
export { verifyKernel } from "./verify_kernel.ts";
export { verifyProgram } from "./verify_program.ts";
