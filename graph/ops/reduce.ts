/** Ops that fold axes away. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp, type OpRecord } from "../op.ts";
import { elementCount, type Shape, staticSize } from "../shape.ts";
import type { Reduce, ShapeOf, Valid } from "../shape_types.ts";
import { div, equal } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import type { ReduceBuilder, ReduceOptions } from "./builder_types.ts";
import { cast, select } from "./convert.ts";
import { broadcast, reshape } from "./movement.ts";
import { dimSize, zeros } from "./source.ts";
import {
  at,
  type Axes,
  axesOf,
  axisOf,
  DISCRETE,
  inputAt,
  NUMBERS,
  onlyOperand,
  range,
  requireDType,
  rowMajorStrides,
  stridedOffsets,
  textsOf,
  withOnes,
  withoutAxes,
  wrap,
} from "./support.ts";

type AxesAttrs = { readonly axes: readonly number[] };
type FoldName = "sum" | "max" | "min";

/** What folding nothing gives, by element type. */
const IDENTITIES: Readonly<Record<FoldName, Readonly<Record<string, number>>>> = {
  sum: { f32: 0, i32: 0, u32: 0 },
  max: { f32: -Infinity, i32: -(2 ** 31), u32: 0 },
  min: { f32: Infinity, i32: 2 ** 31 - 1, u32: 2 ** 32 - 1 },
};

function defineFold(
  name: FoldName,
  doc: string,
  fold: (total: number, value: number) => number,
  vjp: (node: Node, cotangent: Node) => Node,
): OpRecord<AxesAttrs> {
  return defineOp<AxesAttrs>({
    name,
    kind: "reduce",
    doc,
    infer: (inputs, { axes }) => {
      const x = onlyOperand(name, inputs);
      requireDType(name, inputs, NUMBERS);
      return { dtype: x.dtype, shape: withoutAxes(x.shape, axesOf(name, axes, x)) };
    },
    vjp: (node, cotangent) => [vjp(node, cotangent)],
    flops: ([x]) => staticSize(x ?? []),
    reference: (inputs, output, { axes }) => {
      const x = at(inputs, 0);
      const strides = rowMajorStrides(x.shape);
      const kept = range(x.shape.length).filter((axis) => !axes.includes(axis));
      const starts = stridedOffsets(output.shape, kept.map((axis) => at(strides, axis)));
      const steps = stridedOffsets(
        axes.map((axis) => at(x.shape, axis)),
        axes.map((axis) => at(strides, axis)),
      );
      const identity = IDENTITIES[name][output.dtype] ?? NaN;
      return Float64Array.from(starts, (start) => {
        let total = identity;
        for (const step of steps) total = wrap(output.dtype, fold(total, at(x.data, start + step)));
        return total;
      });
    },
  });
}

/** The node's axes. */
function axesAttr(node: Node): readonly number[] {
  // The record's infer has checked the attribute.
  return node.attrs["axes"] as readonly number[];
}

/** A folded tensor repeated along the folded axes. */
function unfold(folded: Node, shape: Shape, axes: readonly number[]): Node {
  return broadcast(folded, shape, range(shape.length).filter((axis) => !axes.includes(axis)));
}

/** Shares the cotangent among the elements that equal the extreme. */
function extremeGradient(node: Node, cotangent: Node): Node {
  const x = inputAt(node, 0);
  const axes = axesAttr(node);
  const isExtreme = equal(x, unfold(node, x.shape, axes));
  const count = sum(cast(isExtreme, "f32"), axes);
  const share = unfold(div(cotangent, count), x.shape, axes);
  return select(isExtreme, share, zeros(x.shape));
}

const FOLDS = {
  sum: defineFold(
    "sum",
    "The sum over the axes; whole numbers wrap.",
    (total, value) => total + value,
    (node, g) => unfold(g, inputAt(node, 0).shape, axesAttr(node)),
  ),
  max: defineFold(
    "max",
    "The largest over the axes; NaN if any is. Equal ones share the gradient.",
    Math.max,
    extremeGradient,
  ),
  min: defineFold(
    "min",
    "The smallest over the axes; NaN if any is. Equal ones share the gradient.",
    Math.min,
    extremeGradient,
  ),
};

/** The place of the largest. */
export const argmaxRecord = defineOp<{ readonly axis: number }>({
  name: "argmax",
  kind: "reduce",
  doc: "Index of the first largest element along the axis, as i32. NaN is never the largest.",
  infer: (inputs, { axis }) => {
    const x = onlyOperand("argmax", inputs);
    requireDType("argmax", inputs, ["f32"]);
    const place = axisOf("argmax", axis, x);
    if (x.shape[place] === 0) {
      throw new ShapeError("argmax", `axis ${axis} has no elements`, textsOf(inputs));
    }
    return { dtype: "i32", shape: withoutAxes(x.shape, [place]) };
  },
  vjp: DISCRETE,
  flops: ([x]) => staticSize(x ?? []),
  reference: (inputs, output, { axis }) => {
    const x = at(inputs, 0);
    const strides = rowMajorStrides(x.shape);
    const starts = stridedOffsets(output.shape, strides.filter((_, index) => index !== axis));
    const step = at(strides, axis);
    return Float64Array.from(starts, (start) => {
      const values = range(at(x.shape, axis)).map((index) => at(x.data, start + index * step));
      const largest = values.reduce((best, value) => value > best ? value : best, -Infinity);
      return Math.max(values.indexOf(largest), 0);
    });
  },
});

function fold(name: FoldName, x: Tensor, axes: Axes | undefined, options: ReduceOptions): Node {
  const list = axesOf(name, axes, x);
  const folded = list.length === 0
    ? x
    : inArithmetic([x], (operands) => makeNode(FOLDS[name], operands, { axes: list }));
  return options.keepDims === true ? reshape(folded, withOnes(x.shape, list)) : folded;
}

function folding<Name extends FoldName>(name: Name): ReduceBuilder<Name> {
  const build = (x: Tensor, axes?: Axes, options: ReduceOptions = {}) =>
    fold(name, x, axes, options);
  // The record's infer and the reshape after it give just the type that the rule says.
  return build as ReduceBuilder<Name>;
}

/**
 * The sum over the axes (one, several, or all by default). Whole numbers wrap; f16 and bf16 are
 * summed in f32.
 *
 * @throws {ShapeError} When there is no such axis.
 * @throws {DTypeError} Of bools: cast them first.
 */
export const sum: ReduceBuilder<"sum"> = folding("sum");

/**
 * The largest element over the axes (all by default); NaN if any is. Of no elements, the lowest
 * value of the element type.
 *
 * @throws {ShapeError} When there is no such axis.
 */
export const max: ReduceBuilder<"max"> = folding("max");

/**
 * The smallest element over the axes (all by default); NaN if any is. Of no elements, the highest
 * value of the element type.
 *
 * @throws {ShapeError} When there is no such axis.
 */
export const min: ReduceBuilder<"min"> = folding("min");

/**
 * The arithmetic mean over the axes (all by default), of floats. Symbolic sizes get their number
 * when the program is compiled.
 *
 * @throws {ShapeError} When there is no such axis.
 * @throws {DTypeError} Of whole numbers and bools.
 */
export const mean: ReduceBuilder<"mean"> = averaging as ReduceBuilder<"mean">;

function averaging(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Node {
  const list = axesOf("mean", axes, x);
  return inArithmetic([x], (operands) => {
    const operand = at(operands, 0);
    requireDType("mean", [operand], ["f32"]);
    const total = sum(operand, list, options);
    const count = elementCount(list.map((axis) => at(x.shape, axis)));
    return div(total, typeof count === "number" ? count : dimSize(count));
  });
}

/**
 * Index of the first largest element along `axis` (the last by default), as i32. NaN is never the
 * largest.
 *
 * @throws {ShapeError} When there is no such axis, or nothing along it.
 */
export function argmax<S extends Shape, const Axis extends number = -1>(
  x: Tensor<DType, S>,
  axis?: Axis & Valid<Reduce<S, Axis, false, "argmax">>,
): Tensor<"i32", ShapeOf<Reduce<S, Axis, false, "argmax">>>;
export function argmax(x: Tensor, axis = -1): Node {
  const place = axisOf("argmax", axis, x);
  return inArithmetic([x], (operands) => makeNode(argmaxRecord, operands, { axis: place }));
}
