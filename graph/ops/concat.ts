/** Ops that put tensors together and take them apart: concat, stack and split. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import { sameDim, type Shape, staticSize } from "../shape.ts";
import type { Concat, SameDType, ShapeOf, ShapesOf, Valid } from "../shape_types.ts";
import { resolve } from "./broadcasting.ts";
import type { SameRank } from "./builder_types.ts";
import { expandDims } from "./movement.ts";
import { sliceAxis } from "./slice.ts";
import {
  at,
  axisOf,
  noFlops,
  type OperandType,
  range,
  requireSameDType,
  rowMajorStrides,
  stridedOffsets,
  textsOf,
} from "./support.ts";

/** Tensors one after another. */
export const concatRecord = defineOp<{ readonly axis: number }>({
  name: "concat",
  kind: "movement",
  doc: "The operands one after another along the axis.",
  infer: (inputs, { axis }) => {
    const first = at(inputs, 0);
    requireSameDType("concat", inputs);
    axisOf("concat", axis, first);
    let total = 0;
    for (const operand of inputs) total += concatSize(inputs, first, operand, axis);
    return {
      dtype: first.dtype,
      shape: first.shape.map((size, index) => index === axis ? total : size),
    };
  },
  vjp: (node, cotangent) => {
    const axis = node.attrs["axis"] as number;
    let start = 0;
    return node.inputs.map((part) => {
      const end = start + Number(part.shape[axis]);
      const piece = sliceAxis(cotangent, axis, start, end);
      start = end;
      return piece;
    });
  },
  flops: noFlops,
  reference: (inputs, output, { axis }) => {
    const result = new Float64Array(staticSize(output.shape));
    const strides = rowMajorStrides(output.shape);
    let start = 0;
    for (const part of inputs) {
      stridedOffsets(part.shape, strides, start * at(strides, axis)).forEach((offset, index) => {
        result[offset] = at(part.data, index);
      });
      start += at(part.shape, axis);
    }
    return result;
  },
});

function concatSize(
  inputs: readonly OperandType[],
  first: OperandType,
  operand: OperandType,
  axis: number,
): number {
  const size = operand.shape[axis];
  const others = operand.shape.findIndex((other, index) =>
    index !== axis && !sameDim(other, first.shape[index] ?? -1)
  );
  if (operand.shape.length !== first.shape.length || others >= 0) {
    const where = others < 0 ? "ranks differ" : `sizes at axis ${others} differ`;
    throw new ShapeError(
      "concat",
      `${where}: wanted equal shapes but for axis ${axis}`,
      textsOf(inputs),
    );
  }
  if (typeof size === "number") return size;
  throw new ShapeError(
    "concat",
    `cannot join along axis ${axis}, where a size ${size} is not known before compiling`,
    textsOf(inputs),
  );
}

/**
 * The tensors one after another along `axis`.
 *
 * @throws {ShapeError} When their other sizes differ, or the axis' size is symbolic.
 * @throws {DTypeError} When their element types differ.
 * @throws {TypeError} When there are none.
 */
export function concat<const Ts extends readonly Tensor[], const Axis extends number>(
  tensors: Ts & Valid<Concat<ShapesOf<Ts>, Axis>> & Valid<SameDType<Ts, "concat">>,
  axis: Axis,
): Tensor<Ts[number]["dtype"], ShapeOf<Concat<ShapesOf<Ts>, Axis>>>;
export function concat(tensors: readonly Tensor[], axis: number): Node {
  const first = tensors[0];
  if (first === undefined) throw new TypeError("concat: there are no tensors: wanted at least one");
  const place = axisOf("concat", axis, first);
  return tensors.length === 1 ? first : makeNode(concatRecord, tensors, { axis: place });
}

/**
 * The tensors, all of one shape, one after another along a new axis.
 *
 * @throws {ShapeError} When their shapes differ.
 */
export function stack<D extends DType>(tensors: readonly Tensor<D>[], axis = 0): Tensor<D> {
  const joined: Node = concat(
    resolve("stack", tensors).map((part) => expandDims(part, axis)),
    axis,
  );
  return joined as Tensor<D>;
}

/**
 * `x` cut into `count` equal parts along `axis`.
 *
 * @throws {ShapeError} When the size is not a multiple of `count`, or symbolic.
 */
export function split<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  count: number,
  axis: number,
): Tensor<D, SameRank<S>>[] {
  const place = axisOf("split", axis, x);
  const size = x.shape[place];
  if (typeof size !== "number" || !Number.isInteger(count) || count < 1 || size % count !== 0) {
    throw new ShapeError(
      "split",
      `axis ${axis} of size ${size} does not come apart in ${count} equal parts`,
      textsOf([x]),
    );
  }
  const step = size / count;
  return range(count).map((part) => sliceAxis(x, place, part * step, (part + 1) * step));
}
