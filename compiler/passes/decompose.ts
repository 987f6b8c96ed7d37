/** Replaces composite ops by what they are made of. */
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { type GraphModule, moduleNodes, rewriteModule } from "../module.ts";

/** The module without composite ops, and without attention that has nothing to attend with. */
export function decomposeComposites(module: GraphModule): GraphModule {
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

function comesApart(node: Node): boolean {
  if (node.op.decompose === undefined) return false;
  return node.op.kind === "composite" || isDegenerateAttention(node);
}

/** Without keys or without columns the templates' sums are over nothing. */
function isDegenerateAttention(node: Node): boolean {
  return node.op.kind === "attention" &&
    node.inputs.some((input) => staticSize(staticShape(input.shape)) === 0);
}
