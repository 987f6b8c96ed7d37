/** Replaces composite ops by what they are made of. */
import type { Node } from "../../graph/node.ts";
import { attentionOperands } from "../../graph/ops/normed_attention.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { type GraphModule, moduleNodes, rewriteModule } from "../module.ts";
import type { RuleReport } from "../report.ts";
import { isAttentionForward } from "../schedule/ops.ts";

/**
 * The module without composite ops, without attention that has nothing to attend with, and without
 * any where the rules for its kernels are off.
 */
export function decomposeComposites(module: GraphModule, rules: RuleReport): GraphModule {
  const comesApart = (node: Node) => isComposite(node) || !hasKernel(node, rules);
  let current = module;
  // A decomposition may use other composites; each round removes one level of them.
  while (moduleNodes(current).some(comesApart)) {
    current = rewriteModule(
      current,
      (node) => comesApart(node) ? node.op.decompose?.(node) ?? node : node,
    );
  }
  return current;
}

function isComposite(node: Node): boolean {
  if (node.op.decompose === undefined) return false;
  return node.op.kind === "composite" || isDegenerateAttention(node);
}

/** Whether a rule that makes the node a kernel of its own, if it has one, may fire. */
function hasKernel(node: Node, rules: RuleReport): boolean {
  if (node.op.kind !== "attention") return true;
  if (hasNorms(node) && !rules.isOn("fold_qk_norm")) return false;
  return rules.isOn(isAttentionForward(node) ? "attention_kernel" : "attention_gradient_kernel");
}

/** Without keys or without columns the templates' sums are over nothing. */
function isDegenerateAttention(node: Node): boolean {
  return node.op.kind === "attention" &&
    node.inputs.some((input) => staticSize(staticShape(input.shape)) === 0);
}

/** Whether queries or keys of attention go through a norm in it. */
function hasNorms(node: Node): boolean {
  const { norms } = attentionOperands(node);
  return norms.query !== undefined || norms.key !== undefined;
}
