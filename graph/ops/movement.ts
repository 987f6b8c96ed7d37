/** Ops that change where elements stand: reshape, transpose, broadcast and reverse. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import {
  type Dim,
  divideDims,
  elementCount,
  formatShape,
  sameDim,
  sameShape,
  type Shape,
} from "../shape.ts";
import type { Expand, Plain, Reshape, ShapeOf, Squeeze, Transpose, Valid } from "../shape_types.ts";
import { sum } from "./reduce.ts";
import {
  at,
  type Axes,
  axesOf,
  axisOf,
  inputAt,
  noFlops,
  onlyOperand,
  type OperandType,
  pick,
  range,
  rowMajorStrides,
  stridedOffsets,
  textsOf,
} from "./support.ts";

type Reversed<S extends readonly unknown[], Done extends Shape = []> = number extends S["length"]
  ? Dim[]
  : S extends readonly [infer Head extends Dim, ...infer Rest] ? Reversed<Rest, [Head, ...Done]>
  : Done;

/** The same elements in another shape. */
export const reshapeRecord = defineOp<{ readonly shape: Shape }>({
  name: "reshape",
  kind: "movement",
  doc: "The same elements, in row-major order, in another shape.",
  infer: (inputs, { shape }) => {
    const x = onlyOperand("reshape", inputs);
    requireShape("reshape", shape, x);
    if (!sameDim(elementCount(x.shape), elementCount(shape))) {
      throw new ShapeError(
        "reshape",
        `${elementCount(x.shape)} elements do not fill ${formatShape(shape)}, ` +
          `which has ${elementCount(shape)}`,
        textsOf(inputs),
      );
    }
    return { dtype: x.dtype, shape };
  },
  vjp: (node, cotangent) => [reshape(cotangent, inputAt(node, 0).shape)],
  flops: noFlops,
  reference: (inputs) => Float64Array.from(at(inputs, 0).data),
});

/** Axes in another order. */
export const transposeRecord = defineOp<{ readonly permutation: readonly number[] }>({
  name: "transpose",
  kind: "movement",
  doc: "Axes in another order: axis i of the result is axis permutation[i] of x.",
  infer: (inputs, { permutation }) => {
    const x = onlyOperand("transpose", inputs);
    const sorted = [...permutation].sort((a, b) => a - b);
    if (permutation.length !== x.shape.length || sorted.some((axis, index) => axis !== index)) {
      throw new ShapeError(
        "transpose",
        `[${permutation}] is not an order of axes 0 to ${x.shape.length - 1}`,
        textsOf(inputs),
      );
    }
    return { dtype: x.dtype, shape: permutation.map((axis) => at(x.shape, axis)) };
  },
  vjp: (node, cotangent) => {
    const permutation = transposePermutation(node);
    return [transpose(cotangent, permutation.map((_, axis) => permutation.indexOf(axis)))];
  },
  flops: noFlops,
  reference: (inputs, output, { permutation }) => {
    const x = at(inputs, 0);
    const strides = rowMajorStrides(x.shape);
    return pick(x, stridedOffsets(output.shape, permutation.map((axis) => at(strides, axis))));
  },
});

function transposePermutation(node: Node): readonly number[] {
  // The record's infer has checked the attribute.
  return node.attrs["permutation"] as readonly number[];
}

/** Copies along new axes. */
export const broadcastRecord = defineOp<
  { readonly shape: Shape; readonly axes: readonly number[] }
>({
  name: "broadcast",
  kind: "movement",
  doc: "Axis i of x becomes axis axes[i] of the result, where a size of 1 may stretch; the other " +
    "axes are new and x is repeated along them.",
  infer: (inputs, { shape, axes }) => {
    const x = onlyOperand("broadcast", inputs);
    requireShape("broadcast", shape, x);
    checkBroadcast(x, shape, axes);
    return { dtype: x.dtype, shape };
  },
  vjp: (node, cotangent) => {
    const x = inputAt(node, 0);
    const axes = node.attrs["axes"] as readonly number[];
    const kept = axes.filter((axis, index) => sameDim(at(node.shape, axis), at(x.shape, index)));
    const folded = range(node.shape.length).filter((axis) => !kept.includes(axis));
    return [reshape(sum(cotangent, folded), x.shape)];
  },
  flops: noFlops,
  reference: (inputs, output, { axes }) => {
    const x = at(inputs, 0);
    const own = rowMajorStrides(x.shape);
    const strides = output.shape.map((_, axis) => {
      const index = axes.indexOf(axis);
      return index < 0 || x.shape[index] === 1 ? 0 : at(own, index);
    });
    return pick(x, stridedOffsets(output.shape, strides));
  },
});

function requireShape(op: string, shape: Shape, x: OperandType): void {
  const odd = shape.find((size) =>
    typeof size === "number" && !(Number.isSafeInteger(size) && size >= 0)
  );
  if (odd === undefined) return;
  throw new ShapeError(
    op,
    `size ${odd} in ${formatShape(shape)} is not a whole number >= 0`,
    textsOf([x]),
  );
}

function checkBroadcast(x: OperandType, shape: Shape, axes: readonly number[]): void {
  const increasing = axes.every((axis, index) => index === 0 || axis > at(axes, index - 1));
  const inside = axes.every((axis) => Number.isInteger(axis) && axis >= 0 && axis < shape.length);
  if (axes.length !== x.shape.length || !increasing || !inside) {
    throw new ShapeError(
      "broadcast",
      `axes [${axes}] do not place ${x.shape.length} axes, in order, in ${formatShape(shape)}`,
      textsOf([x]),
    );
  }
  x.shape.forEach((size, index) => {
    const target: Dim = at(shape, at(axes, index));
    if (size === 1 || sameDim(size, target)) return;
    throw new ShapeError(
      "broadcast",
      `size ${size} of axis ${index} does not stretch to ${target} in ${formatShape(shape)}`,
      textsOf([x]),
    );
  });
}

/** Axes run backwards. */
export const reverseRecord = defineOp<{ readonly axes: readonly number[] }>({
  name: "reverse",
  kind: "movement",
  doc: "The same elements, with the order along the axes turned round.",
  infer: (inputs, { axes }) => {
    const x = onlyOperand("reverse", inputs);
    axesOf("reverse", axes, x);
    return { dtype: x.dtype, shape: x.shape };
  },
  vjp: (node, cotangent) => [reverse(cotangent, node.attrs["axes"] as readonly number[])],
  flops: noFlops,
  reference: (inputs, output, { axes }) => {
    const x = at(inputs, 0);
    const own = rowMajorStrides(x.shape);
    const strides = own.map((step, axis) => axes.includes(axis) ? -step : step);
    const base = axes.reduce((sum, axis) => sum + (at(x.shape, axis) - 1) * at(own, axis), 0);
    return pick(x, stridedOffsets(output.shape, strides, base));
  },
});

/**
 * The same elements, in row-major order, in another shape. One size may be -1: what is left over.
 *
 * @throws {ShapeError} When the shapes have different numbers of elements.
 */
export function reshape<D extends DType, S extends Shape, const To extends Shape>(
  x: Tensor<D, S>,
  shape: To & Valid<Reshape<S, To>>,
): Tensor<D, ShapeOf<Reshape<S, To>>> {
  const filled = fillRest(x, shape);
  const node = sameShape(x.shape, filled) ? x : makeNode(reshapeRecord, [x], { shape: filled });
  return node as Tensor<D, ShapeOf<Reshape<S, To>>>;
}

function fillRest(x: Tensor, shape: Shape): Shape {
  const place = shape.indexOf(-1);
  if (place < 0) return [...shape];
  const others = shape.filter((_, axis) => axis !== place);
  const rest = others.includes(-1)
    ? undefined
    : divideDims(elementCount(x.shape), elementCount(others));
  if (rest !== undefined) return shape.map((size, axis) => axis === place ? rest : size);
  throw new ShapeError(
    "reshape",
    `${elementCount(x.shape)} elements do not fill ${formatShape(shape)} for any whole -1`,
    textsOf([x]),
  );
}

/**
 * Axes in another order: axis `i` of the result is axis `permutation[i]` of `x`, negative ones
 * counted from the end. All axes are turned round when no order is given.
 *
 * @throws {ShapeError} When the permutation does not name every axis once.
 */
export function transpose<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
): Tensor<D, Reversed<S>>;
export function transpose<
  D extends DType,
  S extends Shape,
  const Permutation extends readonly number[],
>(
  x: Tensor<D, S>,
  permutation: Permutation & Valid<Transpose<S, Permutation>>,
): Tensor<D, ShapeOf<Transpose<S, Permutation>>>;
export function transpose(x: Tensor, permutation?: readonly number[]): Node {
  const order = permutation === undefined
    ? range(x.shape.length).reverse()
    : permutation.map((axis) => axisOf("transpose", axis, x));
  const same = order.length === x.shape.length && order.every((axis, index) => axis === index);
  return same ? x : makeNode(transposeRecord, [x], { permutation: order });
}

/**
 * `x` repeated: its axis `i` becomes axis `axes[i]` of `shape`, where a size of 1 may stretch; the
 * other axes are new. The axes are in increasing order; without them, they are the last ones.
 *
 * @throws {ShapeError} When `x` does not fit.
 */
export function broadcast<D extends DType, const To extends Shape>(
  x: Tensor<D>,
  shape: To,
  axes?: readonly number[],
): Tensor<D, Plain<To>>;
export function broadcast(x: Tensor, shape: Shape, axes?: readonly number[]): Node {
  const shift = shape.length - x.shape.length;
  const places = axes ?? range(x.shape.length).map((axis) => axis + shift);
  if (sameShape(x.shape, shape) && places.every((axis, index) => axis === index)) return x;
  return makeNode(broadcastRecord, [x], { shape: [...shape], axes: places });
}

/**
 * `x` with the order along the axes turned round; along all axes when none are given.
 *
 * @throws {ShapeError} When there is no such axis.
 */
export function reverse<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  axes?: Axes,
): Tensor<D, S> {
  const list = axesOf("reverse", axes, x);
  const node = list.length === 0 ? x : makeNode(reverseRecord, [x], { axes: list });
  return node as Tensor<D, S>;
}

/**
 * `x` with a new axis of size 1 before axis `axis`; -1 puts it last.
 *
 * @throws {ShapeError} When there is no such place.
 */
export function expandDims<D extends DType, S extends Shape, const Axis extends number>(
  x: Tensor<D, S>,
  axis: Axis & Valid<Expand<S, Axis, "expandDims">>,
): Tensor<D, ShapeOf<Expand<S, Axis, "expandDims">>>;
export function expandDims(x: Tensor, axis: number): Node {
  const wider: OperandType = { dtype: x.dtype, label: x.label, shape: [...x.shape, 1] };
  const place = axisOf("expandDims", axis, wider);
  return reshape(x, [...x.shape.slice(0, place), 1, ...x.shape.slice(place)]);
}

/**
 * `x` without an axis of size 1.
 *
 * @throws {ShapeError} When the axis is missing or has another size.
 */
export function squeeze<D extends DType, S extends Shape, const Axis extends number>(
  x: Tensor<D, S>,
  axis: Axis & Valid<Squeeze<S, Axis>>,
): Tensor<D, ShapeOf<Squeeze<S, Axis>>>;
export function squeeze(x: Tensor, axis: number): Node {
  const place = axisOf("squeeze", axis, x);
  if (x.shape[place] !== 1) {
    throw new ShapeError(
      "squeeze",
      `axis ${axis} has size ${x.shape[place]}: wanted 1`,
      textsOf([x]),
    );
  }
  return reshape(x, x.shape.filter((_, index) => index !== place));
}
