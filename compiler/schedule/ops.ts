/** What kinds of ops the scheduler tells apart. */
import type { Node } from "../../graph/node.ts";
import { attentionResult } from "../../graph/ops/normed_attention.ts";
import { staticShape } from "../../graph/shape.ts";
import { numbersAttr, operandOf, uniformConstant } from "../lower/attributes.ts";
import { isView, sizeOf } from "./access.ts";

/** Whether the node is a reduction over some of its input's axes. */
export function isReduction(node: Node): boolean {
  return node.op.kind === "reduce";
}

/** Whether the attention kernel computes the node. */
export function isAttentionForward(node: Node): boolean {
  const result = attentionResult(node);
  return result === "out" || result === "logSumExp";
}

/** Whether the kernel of attention's gradient computes the node. */
export function isAttentionGradient(node: Node): boolean {
  return attentionResult(node) !== undefined && !isAttentionForward(node);
}

/** Whether a template computes the node: it reads its operands from memory, through strides. */
export function isTemplate(node: Node): boolean {
  return node.op.kind === "contract" || isAttentionForward(node) || isAttentionGradient(node);
}

/** Whether a kernel computes the node (it is neither a view nor a source). */
export function isComputed(node: Node): boolean {
  return node.op.kind !== "source" && !isView(node);
}

/** A source that has a buffer: an input, or a constant with more than one value. */
export function isBufferedSource(node: Node): boolean {
  if (node.op.name === "input") return true;
  return node.op.name === "constant" && uniformConstant(node) === undefined && sizeOf(node) > 0;
}

/** The axes that a reduction folds, ascending. */
export function reducedAxes(node: Node): number[] {
  const axes = node.op.name === "argmax" ? [Number(node.attrs["axis"])] : numbersAttr(node, "axes");
  return [...axes].sort((a, b) => a - b);
}

/** Whether only axes of size 1 come after the reduced ones. */
export function reducesTrailingAxes(node: Node): boolean {
  const shape = staticShape(operandOf(node, 0).shape);
  const axes = new Set(reducedAxes(node));
  let seenKept = false;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] === 1) continue;
    if (axes.has(axis)) {
      if (seenKept) return false;
    } else {
      seenKept = true;
    }
  }
  return true;
}
