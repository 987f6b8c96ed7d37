/**
 * The template of attention's gradient. A work unit is a batch entry; when there are few of those, a tile
 * of keys for dk and dv in a first phase, and a block of queries for dq in a second, each
 * recomputing the scores.
 */
import type { AttentionGradKernel } from "../../../compiler/loop_ir.ts";
import type { ModuleBuilder } from "../encoder.ts";
import { emitGradPass, type GradPass } from "./attention_grad_pass.ts";
import type { EmittedKernel, TemplateOptions } from "./template.ts";

/** With fewer batch entries than this, units are parts of an entry. */
const FEW_ENTRIES = 4;

/** Emits the kernel of attention's gradient. */
export function emitAttentionGrad(
  module: ModuleBuilder,
  kernel: AttentionGradKernel,
  options: TemplateOptions,
): EmittedKernel {
  const entries = kernel.batch.reduce((total, extent) => total * extent, 1);
  const wantsKeys = kernel.dk !== undefined || kernel.dv !== undefined;
  const passes: readonly GradPass[] = entries >= FEW_ENTRIES
    ? [{ ...kernel, name: kernel.name, splits: "none" }]
    : [
      { ...kernel, dq: undefined, name: `${kernel.name}_keys`, splits: "keys" },
      {
        ...kernel,
        dk: undefined,
        dv: undefined,
        name: `${kernel.name}_queries`,
        splits: "queries",
      },
    ];
  const wanted = passes.filter(({ splits }) =>
    splits === "none" || (splits === "keys" ? wantsKeys : kernel.dq !== undefined)
  );
  const emitted = wanted.map((pass) => emitGradPass(module, pass, options));
  return {
    phases: emitted.map(({ phase }) => phase),
    privateScratchBytes: Math.max(0, ...emitted.map(({ scratchBytes }) => scratchBytes)),
    sharedScratchBytes: 0,
  };
}
