/** All ways to cut a kernel in two. */
import type { PlainKernel } from "../emit_kernel.ts";
import type { Halves } from "./halves.ts";
import { halvesOfAttention } from "./halves_attention.ts";
import { halvesOfAttentionGrad } from "./halves_attention_grad.ts";
import { halvesOfLoops } from "./halves_loops.ts";
import { halvesOfMatmul } from "./halves_matmul.ts";

/**
 * All ways to cut the kernel. Its scratch, if it has any, must be inlined.
 *
 * @param own How many of its buffers are the program's; those behind them were handed on by an earlier cut.
 */
export function halvesOf(kernel: PlainKernel, own: number): Halves[] {
  switch (kernel.kind) {
    case "loops":
      return halvesOfLoops(kernel, own);
    case "matmul":
      return halvesOfMatmul(kernel);
    case "attention":
      return halvesOfAttention(kernel);
    case "attentionGrad":
      return halvesOfAttentionGrad(kernel);
  }
}
