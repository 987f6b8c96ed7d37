/** Stands for the lowering of attention's gradient in a bundle for inference, which has none. */
import type { lowerAttentionGrad as Lower } from "./attention_grad.ts";

/**
 * Refuses the cluster.
 *
 * @throws {TypeError} Always.
 */
export const lowerAttentionGrad: typeof Lower = ({ stores: [node] }) => {
  throw new TypeError(`${node} is a gradient: a bundle for inference has no kernels of those`);
};
