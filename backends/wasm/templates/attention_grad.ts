/**
 * The template of attention's gradient. A work unit is a batch entry; when there are few of those, a tile
 * of keys for dk and dv in a first phase, and a block of queries for dq in a second, each
 * recomputing the scores. A last phase adds up what units found for the vectors of norms.
 */
import type { AttentionGradKernel } from "../../../compiler/loop_ir.ts";
import { staticSize } from "../../../graph/shape.ts";
import type { ModuleBuilder } from "../encoder.ts";
import { emitGradPass, type GradPass } from "./attention_grad_pass.ts";
import { emitAddNormGrads } from "./norm_grad_sums.ts";
import { type EmittedKernel, ScratchLayout, type TemplateOptions } from "./template.ts";

/** With fewer batch entries than this, units are parts of an entry. */
const FEW_ENTRIES = 4;

/** Emits the kernel of attention's gradient. */
export function emitAttentionGrad(
  module: ModuleBuilder,
  kernel: AttentionGradKernel,
  options: TemplateOptions,
): EmittedKernel {
  const entries = staticSize(kernel.batch);
  const passes: readonly GradPass[] = entries >= FEW_ENTRIES
    ? [{ ...kernel, name: kernel.name, splits: "none" }]
    : [
      {
        ...kernel,
        dq: undefined,
        queryNormGrad: undefined,
        name: `${kernel.name}_keys`,
        splits: "keys",
      },
      {
        ...kernel,
        dk: undefined,
        dv: undefined,
        keyNormGrad: undefined,
        name: `${kernel.name}_queries`,
        splits: "queries",
      },
    ];
  const shared = new ScratchLayout();
  const emitted = passes.filter(hasResults)
    .map((pass) => emitGradPass(module, pass, shared, options));
  const norms = emitted.flatMap(({ normSums }) => normSums);
  const phases = emitted.map(({ phase }) => phase);
  if (norms.length > 0) phases.push(emitAddNormGrads(module, kernel, norms));
  const scratch = [
    ...emitted.map(({ scratchBytes }) => scratchBytes),
    ...norms.map(({ scratchBytes }) => scratchBytes),
  ];
  return {
    phases,
    privateScratchBytes: Math.max(0, ...scratch),
    sharedScratchBytes: shared.bytes,
  };
}

function hasResults({ dq, dk, dv, queryNormGrad, keyNormGrad }: GradPass): boolean {
  return [dq, dk, dv, queryNormGrad, keyNormGrad].some((result) => result !== undefined);
}
