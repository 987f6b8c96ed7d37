/** Stands for attention's gradient where there is no training: `deno task bundle` puts it there. */
import type { emitAttentionGrad as Emit } from "./attention_grad.ts";

/**
 * Refuses the kernel.
 *
 * @throws {TypeError} Always.
 */
export const emitAttentionGrad: typeof Emit = (_module, { name }) => {
  throw new TypeError(`Kernel ${name} is a gradient's: a bundle for inference has none of those`);
};
