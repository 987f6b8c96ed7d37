/** The WGSL of any kernel. */
import type { Kernel, LoopKernel } from "../../compiler/loop_ir.ts";
import type { PlainLoopKernel } from "../../compiler/sizes.ts";
import { emitAttention } from "./templates/attention.ts";
import { emitAttentionGrad } from "./templates/attention_grad.ts";
import { emitMatmul } from "./templates/matmul.ts";
import { emitLoopKernel } from "./wgsl/loop_kernel.ts";
import type { Dispatch, EmitOptions } from "./wgsl/module.ts";

/** A kernel in which all numbers are known. */
export type PlainKernel = Exclude<Kernel, LoopKernel> | PlainLoopKernel;

/**
 * The dispatches that run a kernel, one after the other; none where there is nothing to do.
 *
 * @throws {RangeError} When the device's limits do not allow it.
 * @throws {TypeError} When an operation does not take its operands' type.
 */
export function emitGpuKernel(kernel: PlainKernel, options: EmitOptions): Dispatch[] {
  switch (kernel.kind) {
    case "loops":
      return emitLoopKernel(kernel, options);
    case "matmul":
      return emitMatmul(kernel, options);
    case "attention":
      return emitAttention(kernel, options);
    case "attentionGrad":
      return emitAttentionGrad(kernel, options);
  }
}
