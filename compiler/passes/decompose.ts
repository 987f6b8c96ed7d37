/** Replaces composite ops by what they are made of. */
import type { Node } from "../../graph/node.ts";
import { topologicalOrder } from "../../graph/node.ts";
import { type GraphModule, rewriteModule } from "../module.ts";

/** The module without composite ops. */
export function decomposeComposites(module: GraphModule): GraphModule {
  let current = module;
  // A decomposition may use other composites; each round removes one level of them.
  for (;;) {
    let found = false;
    current = rewriteModule(current, (node) => {
      if (node.op.kind !== "composite" || node.op.decompose === undefined) return node;
      const simpler = node.op.decompose(node);
      found ||= hasComposite(simpler, node);
      return simpler;
    });
    if (!found) return current;
  }
}

function hasComposite(simpler: Node, original: Node): boolean {
  const before = new Set(topologicalOrder(original.inputs));
  return topologicalOrder([simpler]).some((node) =>
    !before.has(node) && node.op.kind === "composite"
  );
}
