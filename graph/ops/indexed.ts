/** Ops that read or add at computed places. */
import type { DType } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import { type Dim, sameShape, type Shape, staticSize } from "../shape.ts";
import type { ShapeOf, Take, Valid } from "../shape_types.ts";
import { equal } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import { cast } from "./convert.ts";
import { expandDims } from "./movement.ts";
import { iota } from "./source.ts";
import {
  at,
  axisOf,
  inputAt,
  noFlops,
  operandsOf,
  type OperandType,
  range,
  requireDType,
  textsOf,
} from "./support.ts";

function requireIndices(op: string, inputs: readonly OperandType[]): void {
  if (at(inputs, 1).dtype === "i32") return;
  throw new DTypeError(op, "the indices are not i32", textsOf(inputs));
}

function clamp(index: number, size: number): number {
  return Math.min(Math.max(index, 0), size - 1);
}

/** Where each element of a row of x, of each index, and of the gathered tensor stands. */
function gatherOffsets(whole: readonly number[], axis: number, picked: readonly number[]) {
  const inner = staticSize(whole.slice(axis + 1));
  return {
    outer: range(staticSize(whole.slice(0, axis))),
    inner: range(inner),
    count: staticSize(picked),
    wholeStep: at(whole, axis) * inner,
    rowStep: inner,
  };
}

/** Slices picked by their place. */
export const gatherRecord = defineOp<{ readonly axis: number }>({
  name: "gather",
  kind: "indexed",
  doc: "x with the axis replaced by the indices' axes: out[.., i, ..] = x[.., indices[i], ..]. " +
    "Indices below 0 count as 0, too large ones as the last.",
  infer: (inputs, { axis }) => {
    const [x, indices] = operandsOf("gather", inputs, 2);
    requireIndices("gather", inputs);
    const place = axisOf("gather", axis, x);
    if (x.shape[place] === 0 && !indices.shape.includes(0)) {
      throw new ShapeError("gather", `axis ${axis} has no elements to pick`, textsOf(inputs));
    }
    return { dtype: x.dtype, shape: replaceAxis(x.shape, place, indices.shape) };
  },
  vjp: (node, cotangent) => {
    const [x, indices] = [inputAt(node, 0), inputAt(node, 1)];
    const axis = Number(node.attrs["axis"]);
    return [scatterAdd(cotangent, indices, axis, at(x.shape, axis)), undefined];
  },
  flops: noFlops,
  reference: (inputs, output, { axis }) => {
    const [x, indices] = [at(inputs, 0), at(inputs, 1)];
    const { outer, inner, count, wholeStep, rowStep } = gatherOffsets(
      x.shape,
      axis,
      indices.shape,
    );
    const result = new Float64Array(staticSize(output.shape));
    let place = 0;
    for (const block of outer) {
      for (let index = 0; index < count; index++) {
        const row = clamp(at(indices.data, index), at(x.shape, axis));
        for (const column of inner) {
          result[place++] = at(x.data, block * wholeStep + row * rowStep + column);
        }
      }
    }
    return result;
  },
});

function replaceAxis(shape: Shape, axis: number, by: Shape): Shape {
  return [...shape.slice(0, axis), ...by, ...shape.slice(axis + 1)];
}

/** Slices added up by their place. */
export const scatterAddRecord = defineOp<{ readonly axis: number; readonly size: Dim }>({
  name: "scatterAdd",
  kind: "indexed",
  doc: "Zeros with the indices' axes replaced by one of the given size, where each slice of the " +
    "updates is added at its index: the gradient of gather. Indices are clamped as there.",
  infer: (inputs, { axis, size }) => {
    const [updates, indices] = operandsOf("scatterAdd", inputs, 2);
    requireDType("scatterAdd", [updates], ["f32"]);
    requireIndices("scatterAdd", inputs);
    const end = axis + indices.shape.length;
    if (axis < 0 || !sameShape(updates.shape.slice(axis, end), indices.shape)) {
      throw new ShapeError(
        "scatterAdd",
        `the updates' axes from ${axis} on are not those of the indices`,
        textsOf(inputs),
      );
    }
    if (size === 0 && !indices.shape.includes(0)) {
      throw new ShapeError("scatterAdd", `axis ${axis} has no places`, textsOf(inputs));
    }
    const shape = [...updates.shape.slice(0, axis), size, ...updates.shape.slice(end)];
    return { dtype: "f32", shape };
  },
  vjp: (node, cotangent) => [
    gather(cotangent, inputAt(node, 1), Number(node.attrs["axis"])),
    undefined,
  ],
  flops: ([updates]) => staticSize(updates ?? []),
  reference: (inputs, output, { axis }) => {
    const [updates, indices] = [at(inputs, 0), at(inputs, 1)];
    const { outer, inner, count, wholeStep, rowStep } = gatherOffsets(
      output.shape,
      axis,
      indices.shape,
    );
    const result = new Float64Array(staticSize(output.shape));
    let place = 0;
    for (const block of outer) {
      for (let index = 0; index < count; index++) {
        const row = clamp(at(indices.data, index), at(output.shape, axis));
        for (const column of inner) {
          const target = block * wholeStep + row * rowStep + column;
          result[target] = at(result, target) + at(updates.data, place++);
        }
      }
    }
    return result;
  },
});

/**
 * `x` with `axis` replaced by the axes of `indices` (i32), element by element
 * `out[.., i, ..] = x[.., indices[i], ..]`. Indices below 0 count as 0 and too large ones as the
 * last, on every backend.
 *
 * @throws {ShapeError} When there is no such axis, or nothing along it.
 * @throws {DTypeError} When the indices are not i32.
 */
export function gather<
  D extends DType,
  S extends Shape,
  I extends Shape,
  const Axis extends number = 0,
>(
  x: Tensor<D, S>,
  indices: Tensor<DType, I>,
  axis?: Axis & Valid<Take<S, I, Axis, "gather">>,
): Tensor<D, ShapeOf<Take<S, I, Axis, "gather">>>;
export function gather(x: Tensor, indices: Tensor, axis = 0): Node {
  return makeNode(gatherRecord, [x, indices], { axis: axisOf("gather", axis, x) });
}

/** {@linkcode gather} under NumPy's name. */
export const take: typeof gather = gather;

/**
 * Zeros in which the slices of `updates` are added at their indices: the axes of `updates` from
 * `axis` on that match those of `indices` (i32) become one of the given size. Indices are clamped
 * into range, on every backend.
 *
 * @throws {ShapeError} When the updates' axes do not match the indices'.
 * @throws {DTypeError} When the indices are not i32 or the updates not floats.
 */
export function scatterAdd<D extends DType>(
  updates: Tensor<D>,
  indices: Tensor,
  axis: number,
  size: Dim,
): Tensor<D> {
  const node = inArithmetic(
    [updates, indices],
    (operands) => makeNode(scatterAddRecord, operands, { axis, size }),
  );
  return node as Tensor<D>;
}

/**
 * A 1 in the place that each label (i32) names along a new last axis of `count` elements and 0
 * elsewhere, as f32; all zeros for a label out of range.
 */
export function oneHot<S extends Shape, const Count extends number>(
  labels: Tensor<DType, S>,
  count: Count,
): Tensor<"f32", [...S, Count]>;
export function oneHot(labels: Tensor, count: number): Node {
  const column = expandDims(labels, -1);
  return cast(equal(column, iota([count], "i32")), "f32");
}
