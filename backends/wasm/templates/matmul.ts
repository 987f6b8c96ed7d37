/** The matmul template: the parts of a kernel, each emitted by itself, share one list of units. */
import type { MatmulKernel, MatmulPart } from "../../../compiler/loop_ir.ts";
import { staticSize } from "../../../graph/shape.ts";
import type { ModuleBuilder } from "../encoder.ts";
import { emitMatmulPart } from "./matmul_part.ts";
import { runSideBySide } from "./side_by_side.ts";
import type { EmittedKernel, TemplateOptions } from "./template.ts";

/**
 * Emits a matmul kernel. Sums over k are made in one fixed order: in registers within a block of k,
 * then block by block, term by term.
 */
export function emitMatmul(
  module: ModuleBuilder,
  kernel: MatmulKernel,
  options: TemplateOptions,
): EmittedKernel {
  const { name, buffers } = kernel;
  const parts = kernel.parts.filter(hasResults);
  if (parts.length === 0) return { phases: [], privateScratchBytes: 0, sharedScratchBytes: 0 };
  const work = parts.map(multiplications);
  const total = work.reduce((sum, one) => sum + one, 0);
  const emitted = parts.map((part, index) =>
    emitMatmulPart(module, part, {
      name: parts.length === 1 ? name : `${name}_part${index}`,
      buffers,
      share: total === 0 ? 1 / parts.length : (work[index] ?? 0) / total,
      ...options,
    })
  );
  return runSideBySide(module, name, buffers, emitted);
}

function hasResults({ batch, m, n }: MatmulPart): boolean {
  return [...batch, ...m, ...n].every(({ extent }) => extent > 0);
}

function multiplications({ batch, m, n, terms }: MatmulPart): number {
  const extents = [...batch, ...m, ...n].map((axis) => axis.extent);
  const sums = terms.reduce((sum, term) => sum + staticSize(term.k), 0);
  return staticSize(extents) * sums;
}
