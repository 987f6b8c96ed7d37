/** Views as index arithmetic, and as strides over the buffer behind them. */
import type { Node } from "../../graph/node.ts";
import { staticShape } from "../../graph/shape.ts";
import { flatten, Index, rowMajorStrides, unflatten } from "../index_expr.ts";
import { numbersAttr, operandOf } from "./attributes.ts";

/** The indices into a view's input for indices into the view. */
export function movedIndices(view: Node, input: Node, indices: readonly Index[]): Index[] {
  const from = staticShape(input.shape);
  const to = staticShape(view.shape);
  switch (view.op.name) {
    case "stopGradient":
    case "recompute":
    case "cast":
      return [...indices];
    case "reshape":
      return unflatten(flatten(indices, to), from);
    case "transpose": {
      const permutation = numbersAttr(view, "permutation");
      const moved: Index[] = from.map(() => Index.constant(0));
      permutation.forEach((axis, at) => moved[axis] = indices[at] ?? Index.constant(0));
      return moved;
    }
    case "broadcast": {
      const axes = numbersAttr(view, "axes");
      return from.map((extent, axis) =>
        extent === 1 ? Index.constant(0) : indices[axes[axis] ?? 0] ?? Index.constant(0)
      );
    }
    case "slice": {
      const starts = numbersAttr(view, "starts");
      const steps = numbersAttr(view, "steps");
      return indices.map((index, axis) => index.scale(steps[axis] ?? 1).offset(starts[axis] ?? 0));
    }
    case "reverse": {
      const axes = numbersAttr(view, "axes");
      return indices.map((index, axis) =>
        axes.includes(axis) ? index.scale(-1).offset((from[axis] ?? 1) - 1) : index
      );
    }
    default:
      throw new TypeError(`${view} has no rule for its value: it should have been lowered before`);
  }
}

/** A tensor in memory as a strided view: what the templates read. */
export interface StridedView {
  /** The node whose buffer it is. */
  readonly base: Node;
  /** Elements before the first. */
  readonly offset: number;
  /** Elements between neighbours along each axis of the viewed node. */
  readonly strides: readonly number[];
}

/** The node as strides over the buffer behind its views, or undefined where strides cannot say it. */
export function stridedView(node: Node, isView: (node: Node) => boolean): StridedView | undefined {
  const shape = staticShape(node.shape);
  let indices = shape.map((extent, axis) => Index.variable(`x${axis}`, extent));
  let base = node;
  while (isView(base)) {
    const input = operandOf(base, 0);
    indices = movedIndices(base, input, indices);
    base = input;
  }
  const flat = flatten(indices, staticShape(base.shape));
  if (!flat.isAffine()) return undefined;
  const strides = shape.map((_, axis) => flat.stride(`x${axis}`) ?? 0);
  return strides.some((stride) => stride < 0)
    ? undefined
    : { base, offset: flat.constant, strides };
}

/** Strides of a node that fills its own buffer. */
export function ownStrides(node: Node): number[] {
  return rowMajorStrides(staticShape(node.shape));
}
