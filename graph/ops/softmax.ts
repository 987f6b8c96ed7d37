/** Softmax and its logarithm along one axis. */
import type { DType } from "../dtype.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp, type OpRecord, type ReferenceTensor } from "../op.ts";
import { type Shape, type StaticShape, staticSize } from "../shape.ts";
import { mul, sub } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import { stopGradient } from "./convert.ts";
import { max, sum } from "./reduce.ts";
import {
  at,
  axisOf,
  inputAt,
  onlyOperand,
  range,
  requireDType,
  rowMajorStrides,
  stridedOffsets,
} from "./support.ts";
import { exp, log, reciprocal } from "./unary.ts";

type AxisAttrs = { readonly axis: number };

/** The softmax' parts: the same nodes whoever asks, so that forward and backward share them. */
export function exponentials(x: Node, axis: number) {
  const shifted = sub(x, stopGradient(max(x, axis, { keepDims: true })));
  const powers = exp(shifted);
  return { shifted, powers, total: sum(powers, axis, { keepDims: true }) };
}

/** NaN where there is one. A row may have more numbers than a call takes arguments. */
function largestOf(row: readonly number[]): number {
  return row.reduce((a, b) => Math.max(a, b), -Infinity);
}

/** `row`'s softmax in f64. */
export function softmaxOf(row: readonly number[]): number[] {
  const largest = largestOf(row);
  const powers = row.map((value) => Math.exp(value - largest));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/** The logarithm of the sum of the exponentials of `row`, in f64. */
export function logSumExpOf(row: readonly number[]): number {
  const largest = largestOf(row);
  return largest + Math.log(row.reduce((total, value) => total + Math.exp(value - largest), 0));
}

/** Maps every line of `x` along the axis to one of the same length. */
export function alongAxis(
  x: ReferenceTensor,
  axis: number,
  map: (line: number[]) => readonly number[],
): Float64Array {
  const strides = rowMajorStrides(x.shape);
  const others = (list: readonly number[]) => list.filter((_, index) => index !== axis);
  const step = at(strides, axis);
  const places = range(at(x.shape, axis));
  const result = new Float64Array(x.data.length);
  for (const start of stridedOffsets(others(x.shape), others(strides))) {
    const line = map(places.map((index) => at(x.data, start + index * step)));
    line.forEach((value, index) => result[start + index * step] = value);
  }
  return result;
}

function defineSoftmax(
  name: string,
  doc: string,
  evaluate: (line: number[]) => readonly number[],
  rules: Pick<OpRecord<AxisAttrs>, "vjp" | "decompose">,
): OpRecord<AxisAttrs> {
  return defineOp<AxisAttrs>({
    name,
    kind: "composite",
    doc,
    infer: (inputs, { axis }) => {
      const x = onlyOperand(name, inputs);
      requireDType(name, inputs, ["f32"]);
      axisOf(name, axis, x);
      return { dtype: x.dtype, shape: x.shape };
    },
    flops: (_inputs: readonly StaticShape[], output) => 4 * staticSize(output),
    reference: (inputs, _output, { axis }) => alongAxis(at(inputs, 0), axis, evaluate),
    ...rules,
  });
}

function axisAttr(node: Node): number {
  return Number(node.attrs["axis"]);
}

/** Softmax. */
export const softmaxRecord = defineSoftmax(
  "softmax",
  "exp(x) / sum of exp(x) along the axis, computed on x less its largest.",
  softmaxOf,
  {
    vjp: (node, cotangent) => {
      const along = sum(mul(cotangent, node), axisAttr(node), { keepDims: true });
      return [mul(node, sub(cotangent, along))];
    },
    decompose: (node) => {
      const { powers, total } = exponentials(inputAt(node, 0), axisAttr(node));
      return mul(powers, reciprocal(total));
    },
  },
);

/** Logarithm of the softmax. */
export const logSoftmaxRecord = defineSoftmax(
  "logSoftmax",
  "x - log(sum of exp(x)) along the axis, computed on x less its largest.",
  (line) => line.map((value) => value - logSumExpOf(line)),
  {
    vjp: (node, cotangent) => {
      const along = sum(cotangent, axisAttr(node), { keepDims: true });
      return [sub(cotangent, mul(exp(node), along))];
    },
    decompose: (node) => {
      const { shifted, total } = exponentials(inputAt(node, 0), axisAttr(node));
      return sub(shifted, log(total));
    },
  },
);

/**
 * `exp(x) / sum(exp(x))` along `axis` (the last by default).
 *
 * @throws {ShapeError} When there is no such axis.
 * @throws {DTypeError} When `x` is not a float.
 */
export function softmax<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  axis = -1,
): Tensor<D, S> {
  const place = axisOf("softmax", axis, x);
  const node = inArithmetic([x], (operands) => makeNode(softmaxRecord, operands, { axis: place }));
  return node as Tensor<D, S>;
}

/**
 * `x - log(sum(exp(x)))` along `axis` (the last by default).
 *
 * @throws {ShapeError} When there is no such axis.
 * @throws {DTypeError} When `x` is not a float.
 */
export function logSoftmax<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  axis = -1,
): Tensor<D, S> {
  const place = axisOf("logSoftmax", axis, x);
  const node = inArithmetic(
    [x],
    (operands) => makeNode(logSoftmaxRecord, operands, { axis: place }),
  );
  return node as Tensor<D, S>;
}
