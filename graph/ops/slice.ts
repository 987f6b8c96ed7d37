/** Ops that cut tensors out and put margins round them: slice and pad. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import { type Dim, formatShape, sameDim, type Shape, staticSize } from "../shape.ts";
import type { Pad, ShapeOf, Slice, SliceAxis, Valid } from "../shape_types.ts";
import type { SameRank } from "./builder_types.ts";
import {
  at,
  axisOf,
  inputAt,
  noFlops,
  onlyOperand,
  type OperandType,
  pick,
  rowMajorStrides,
  stridedOffsets,
  textsOf,
} from "./support.ts";

interface SliceAttrs extends Readonly<Record<string, Shape | readonly number[]>> {
  readonly starts: readonly number[];
  readonly ends: Shape;
  readonly steps: readonly number[];
}

/** A box of a tensor, with steps. */
export const sliceRecord = defineOp<SliceAttrs>({
  name: "slice",
  kind: "movement",
  doc: "Elements start, start + step, ... below end, along every axis.",
  infer: (inputs, attrs) => {
    const x = onlyOperand("slice", inputs);
    const { starts, ends, steps } = attrs;
    if ([starts, ends, steps].some((list) => list.length !== x.shape.length)) {
      throw new ShapeError(
        "slice",
        `starts [${starts}], ends ${formatShape(ends)} and steps [${steps}] are not one an axis`,
        textsOf(inputs),
      );
    }
    return { dtype: x.dtype, shape: x.shape.map((_, axis) => slicedSize(x, axis, attrs)) };
  },
  vjp: (node, cotangent) => [sliceGradient(node, cotangent)],
  flops: noFlops,
  reference: (inputs, output, { starts, steps }) => {
    const x = at(inputs, 0);
    const own = rowMajorStrides(x.shape);
    const base = own.reduce((total, step, axis) => total + at(starts, axis) * step, 0);
    const strides = own.map((step, axis) => step * at(steps, axis));
    return pick(x, stridedOffsets(output.shape, strides, base));
  },
});

function slicedSize(x: OperandType, axis: number, { starts, ends, steps }: SliceAttrs): Dim {
  const [size, start, end, step] = [
    at(x.shape, axis),
    at(starts, axis),
    at(ends, axis),
    at(steps, axis),
  ];
  if (start === 0 && step === 1 && sameDim(end, size)) return size;
  const part = `${start} to ${end} by ${step}`;
  if (typeof size !== "number" || typeof end !== "number") {
    throw new ShapeError(
      "slice",
      `cannot take ${part} of axis ${axis}, whose size ${size} is not known before compiling`,
      textsOf([x]),
    );
  }
  const whole = [start, end, step].every(Number.isInteger);
  if (!whole || start < 0 || end < start || end > size || step < 1) {
    throw new ShapeError(
      "slice",
      `${part} is not a part of axis ${axis}, which has size ${size}`,
      textsOf([x]),
    );
  }
  return Math.ceil((end - start) / step);
}

function sliceGradient(node: Node, cotangent: Node): Node {
  const x = inputAt(node, 0);
  const starts = node.attrs["starts"] as readonly number[];
  const steps = node.attrs["steps"] as readonly number[];
  const high = x.shape.map((size, axis) => {
    const kept = at(node.shape, axis);
    if (typeof size !== "number" || typeof kept !== "number") return 0;
    const covered = kept === 0 ? 0 : (kept - 1) * at(steps, axis) + 1;
    return size - at(starts, axis) - covered;
  });
  return pad(cotangent, { low: starts, high, interior: steps.map((step) => step - 1) });
}

interface PadAttrs extends Readonly<Record<string, readonly number[] | number>> {
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly interior: readonly number[];
  readonly value: number;
}

/** A tensor with a margin. */
export const padRecord = defineOp<PadAttrs>({
  name: "pad",
  kind: "movement",
  doc:
    "low elements of the value before, high after, and interior between neighbours, on every axis.",
  infer: (inputs, attrs) => {
    const x = onlyOperand("pad", inputs);
    const { low, high, interior } = attrs;
    for (const [name, list] of Object.entries({ low, high, interior })) {
      const whole = list.every((count) => Number.isInteger(count) && count >= 0);
      if (whole && list.length === x.shape.length) continue;
      throw new ShapeError(
        "pad",
        `${name} [${list}] is not one whole number >= 0 an axis`,
        textsOf(inputs),
      );
    }
    return { dtype: x.dtype, shape: x.shape.map((_, axis) => paddedSize(x, axis, attrs)) };
  },
  vjp: (node, cotangent) => [padGradient(node, cotangent)],
  flops: noFlops,
  reference: (inputs, output, { low, interior, value }) => {
    const x = at(inputs, 0);
    const result = new Float64Array(staticSize(output.shape)).fill(value);
    const steps = rowMajorStrides(output.shape);
    const base = steps.reduce((total, step, axis) => total + at(low, axis) * step, 0);
    const strides = steps.map((step, axis) => step * (at(interior, axis) + 1));
    stridedOffsets(x.shape, strides, base).forEach((offset, index) => {
      result[offset] = at(x.data, index);
    });
    return result;
  },
});

function paddedSize(x: OperandType, axis: number, { low, high, interior }: PadAttrs): Dim {
  const size = at(x.shape, axis);
  const [before, after, between] = [at(low, axis), at(high, axis), at(interior, axis)];
  if (before === 0 && after === 0 && between === 0) return size;
  if (typeof size !== "number") {
    throw new ShapeError(
      "pad",
      `cannot pad axis ${axis}, whose size ${size} is not known before compiling`,
      textsOf([x]),
    );
  }
  return before + after + size + Math.max(size - 1, 0) * between;
}

function padGradient(node: Node, cotangent: Node): Node {
  const x = inputAt(node, 0);
  const low = node.attrs["low"] as readonly number[];
  const interior = node.attrs["interior"] as readonly number[];
  const ends = x.shape.map((size, axis): Dim => {
    const first = at(low, axis);
    if (typeof size !== "number") return size;
    return size === 0 ? first : first + (size - 1) * (at(interior, axis) + 1) + 1;
  });
  return slice(cotangent, low, ends, interior.map((count) => count + 1));
}

/**
 * Elements `start`, `start + step`, … below `end` along every axis. Negative starts and ends count
 * from the end of a numeric axis; an axis of symbolic size can only be taken whole.
 *
 * @throws {ShapeError} When a range does not lie in its axis.
 */
export function slice<
  D extends DType,
  S extends Shape,
  const Starts extends readonly number[],
  const Ends extends Shape,
>(
  x: Tensor<D, S>,
  starts: Starts,
  ends: Ends & Valid<Slice<S, Starts, Ends>>,
): Tensor<D, ShapeOf<Slice<S, Starts, Ends>>>;
export function slice<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  starts: readonly number[],
  ends: Shape,
  steps: readonly number[],
): Tensor<D, SameRank<S>>;
export function slice(
  x: Tensor,
  starts: readonly number[],
  ends: Shape,
  steps: readonly number[] = starts.map(() => 1),
): Node {
  const fromEnd = (place: Dim, axis: number): Dim => {
    const size = x.shape[axis];
    return typeof place === "number" && place < 0 && typeof size === "number"
      ? place + size
      : place;
  };
  const attrs = {
    starts: starts.map((place, axis) => Number(fromEnd(place, axis))),
    ends: ends.map(fromEnd),
    steps: [...steps],
  };
  const whole = attrs.ends.length === x.shape.length &&
    x.shape.every((size, axis) =>
      attrs.starts[axis] === 0 && attrs.steps[axis] === 1 && sameDim(attrs.ends[axis] ?? -1, size)
    );
  return whole ? x : makeNode(sliceRecord, [x], attrs);
}

/**
 * Elements `start` to `end` (exclusive; the axis' size by default) of one axis, the others whole.
 * Negative places count from the end.
 *
 * @throws {ShapeError} When there is no such axis or part of it.
 */
export function sliceAxis<
  D extends DType,
  S extends Shape,
  const Axis extends number,
  const Start extends number,
  const End extends number,
>(
  x: Tensor<D, S>,
  axis: Axis,
  start: Start,
  end: End & Valid<SliceAxis<S, Axis, Start, End>>,
): Tensor<D, ShapeOf<SliceAxis<S, Axis, Start, End>>>;
export function sliceAxis<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  axis: number,
  start: number,
  end?: number,
  step?: number,
): Tensor<D, SameRank<S>>;
export function sliceAxis(x: Tensor, axis: number, start: number, end?: number, step = 1): Node {
  const place = axisOf("slice", axis, x);
  return slice(
    x,
    x.shape.map((_, index) => index === place ? start : 0),
    x.shape.map((size, index) => index === place ? end ?? size : size),
    x.shape.map((_, index) => index === place ? step : 1),
  );
}

/** Margins for {@linkcode pad}: one number an axis each, all 0 by default. */
export interface Padding {
  readonly low?: readonly number[];
  readonly high?: readonly number[];
  /** Elements put between neighbours. */
  readonly interior?: readonly number[];
  /** What the margins hold. */
  readonly value?: number;
}

/**
 * `x` with margins of one value.
 *
 * @throws {ShapeError} When a margin is negative, or on an axis of symbolic size.
 */
export function pad<
  D extends DType,
  S extends Shape,
  const Low extends readonly number[],
  const High extends readonly number[],
>(
  x: Tensor<D, S>,
  padding: {
    readonly low: Low;
    readonly high: High & Valid<Pad<S, Low, High>>;
    readonly value?: number;
  },
): Tensor<D, ShapeOf<Pad<S, Low, High>>>;
export function pad<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  padding: Padding,
): Tensor<D, SameRank<S>>;
export function pad(x: Tensor, padding: Padding): Node {
  const none = x.shape.map(() => 0);
  const { low = none, high = none, interior = none, value = 0 } = padding;
  if (![...low, ...high, ...interior].some((count) => count !== 0)) return x;
  return makeNode(padRecord, [x], {
    low: [...low],
    high: [...high],
    interior: [...interior],
    value,
  });
}
