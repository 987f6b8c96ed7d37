/** Copies: nodes with another's value that the scheduler writes to a buffer of their own. */
import { makeNode, type Node } from "../../graph/node.ts";
import { concatRecord } from "../../graph/ops/concat.ts";
import { reshapeRecord } from "../../graph/ops/movement.ts";

/** A view that changes nothing, for an output that no kernel would compute. */
export function copyOf(node: Node): Node {
  return makeNode(reshapeRecord, [node], { shape: node.shape }, node.label);
}

/** A copy that other ops read instead of what it copies, which is no scalar. */
export function landingOf(node: Node): Node {
  return makeNode(concatRecord, [node], { axis: 0 }, node.label);
}

/** Whether the node was made by {@linkcode landingOf}: the only concats of one operand. */
export function isLanding(node: Node): boolean {
  return node.op === concatRecord && node.inputs.length === 1;
}
