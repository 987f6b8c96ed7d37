/** Copies: a view that changes nothing, which the scheduler writes to a buffer of its own. */
import { makeNode, type Node } from "../../graph/node.ts";
import { reshapeRecord } from "../../graph/ops/movement.ts";

/** A node with the same value that is a node of its own. */
export function copyOf(node: Node): Node {
  return makeNode(reshapeRecord, [node], { shape: node.shape }, node.label);
}
