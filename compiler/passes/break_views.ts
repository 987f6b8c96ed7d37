/**
 * Breaks long chains of views, such as reshapes and transposes in turn: each is a division or two in
 * the index of whoever reads through them, which a copy on the way spares.
 */
import type { Node } from "../../graph/node.ts";
import { type GraphModule, rewriteModule } from "../module.ts";
import { isView } from "../schedule/access.ts";
import { landingOf } from "../schedule/copy.ts";

/** Views in a row at most. */
const LONGEST_CHAIN = 16;

/** The module with a copy wherever too many views follow each other. */
export function breakViews(module: GraphModule): GraphModule {
  const lengths = new Map<Node, number>();
  return rewriteModule(module, (node) => {
    const input = node.inputs[0];
    if (input === undefined || !isView(node)) return node;
    const length = 1 + (lengths.get(input) ?? 0);
    if (length > LONGEST_CHAIN && node.shape.length > 0) return landingOf(node);
    lengths.set(node, length);
    return node;
  });
}
