/** One function for all kinds of kernels. */
import type { Kernel, LoopKernel, Size } from "../../compiler/loop_ir.ts";
import { emitLoopKernel } from "./emit/loop_kernel.ts";
import type { ModuleBuilder } from "./encoder.ts";
import { emitAttention } from "./templates/attention.ts";
import { emitAttentionGrad } from "./templates/attention_grad.ts";
import { emitMatmul } from "./templates/matmul.ts";
import type { EmittedKernel, TemplateOptions } from "./templates/template.ts";

/** Writes a kernel's functions into the module. */
export function emitKernel(
  module: ModuleBuilder,
  kernel: Exclude<Kernel, LoopKernel>,
  options: TemplateOptions,
): EmittedKernel;
export function emitKernel(
  module: ModuleBuilder,
  kernel: Kernel,
  options: TemplateOptions,
): EmittedKernel<Size>;
export function emitKernel(
  module: ModuleBuilder,
  kernel: Kernel,
  options: TemplateOptions,
): EmittedKernel<Size> {
  switch (kernel.kind) {
    case "loops":
      return emitLoopKernel(module, kernel, options);
    case "matmul":
      return emitMatmul(module, kernel, options);
    case "attention":
      return emitAttention(module, kernel, options);
    case "attentionGrad":
      return emitAttentionGrad(module, kernel, options);
  }
}
