/** Nodes without operands: inputs, constants, counters and the sizes of symbolic dims. */
import type { DType } from "../dtype.ts";
import { isFloat, isHalf } from "../dtype.ts";
import { makeNode, type Node, type Tensor, type TensorType } from "../node.ts";
import { defineOp, type NotDifferentiable } from "../op.ts";
import { type Dim, formatShape, type Shape, type StaticShape, staticSize } from "../shape.ts";
import type { Plain } from "../shape_types.ts";
import { broadcastTo } from "./broadcasting.ts";
import { cast } from "./convert.ts";
import { at, axisOf, noFlops, range, rowMajorStrides, wrap } from "./support.ts";

/** Numbers of a constant: as the element type's array has them, a bool as 0 or 1 in bytes. */
export type ConstantData = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** What a constant is made of. */
export type ConstantValue = number | boolean | readonly number[] | ConstantData;

type ValueDType<V extends ConstantValue> = V extends boolean | Uint8Array ? "bool"
  : V extends Int32Array ? "i32"
  : V extends Uint32Array ? "u32"
  : "f32";

type ValueShape<V extends ConstantValue> = V extends number | boolean ? []
  : V extends readonly number[] ? [V["length"]]
  : [number];

type TypeAttrs = { readonly dtype: DType; readonly shape: Shape };

const SOURCE: NotDifferentiable = { because: "it has no operands", zero: true };

/** A tensor given at run time. */
export const inputRecord = defineOp<TypeAttrs & { readonly path: string }>({
  name: "input",
  kind: "source",
  doc: "A tensor given when the program runs, found by its path.",
  infer: (_inputs, { dtype, shape }) => ({ dtype, shape }),
  vjp: SOURCE,
  flops: noFlops,
  reference: (_inputs, _output, { path }) => {
    throw new TypeError(`Input "${path}" has no value: the evaluation must give it one`);
  },
});

/** Numbers known when the graph is made. */
export const constantRecord = defineOp<TypeAttrs & { readonly data: ConstantData }>({
  name: "constant",
  kind: "source",
  doc: "Numbers known when the graph is made, row-major.",
  infer: (_inputs, { dtype, shape }) => ({ dtype, shape }),
  vjp: SOURCE,
  flops: noFlops,
  reference: (_inputs, _output, { data }) => Float64Array.from(data),
});

/** Each element's index along one axis. */
export const iotaRecord = defineOp<TypeAttrs & { readonly axis: number }>({
  name: "iota",
  kind: "source",
  doc: "Every element is its own index along the axis.",
  infer: (_inputs, { dtype, shape }) => ({ dtype, shape }),
  vjp: SOURCE,
  flops: noFlops,
  reference: (_inputs, { shape, dtype }, { axis }) => {
    const step = at(rowMajorStrides(shape), axis);
    const size = at(shape, axis);
    return Float64Array.from(
      range(staticSize(shape)),
      (index) => wrap(dtype, Math.floor(index / step) % size),
    );
  },
});

/** A dim's size as a number. */
export const dimSizeRecord = defineOp<{ readonly dim: Dim }>({
  name: "dimSize",
  kind: "source",
  doc: "The size that a symbolic dim is bound to, as an f32 scalar.",
  infer: () => ({ dtype: "f32", shape: [] }),
  vjp: SOURCE,
  flops: noFlops,
  reference: (_inputs, _output, { dim }) => {
    if (typeof dim !== "number") throw new TypeError(`dimSize: dim ${dim} is not bound`);
    return Float64Array.of(dim);
  },
});

/**
 * A tensor given when the program runs. `trace` makes these; its path is also its label.
 */
export function input<const D extends DType, const S extends Shape>(
  path: string,
  dtype: D,
  shape: S,
): Tensor<D, Plain<S>> {
  for (const size of shape) requireSize(`input "${path}"`, size, shape);
  return makeNode(inputRecord, [], { path, dtype, shape }, path) as Tensor<D, Plain<S>>;
}

function requireSize(what: string, size: Dim, shape: Shape): void {
  if (typeof size !== "number" || (Number.isSafeInteger(size) && size >= 0)) return;
  throw new RangeError(
    `${what} has size ${size} in shape ${formatShape(shape)}: wanted whole numbers >= 0`,
  );
}

/** How a constant is read. */
export interface ConstantOptions<D extends DType = DType, S extends StaticShape = StaticShape> {
  /** Default: f32 for numbers, bool for truth values, an array's own element type. */
  readonly dtype?: D;
  /** Default: one axis for an array, none for a number. */
  readonly shape?: S;
  /** Name in errors and printed graphs. */
  readonly label?: string;
}

/**
 * Numbers known when the graph is made: a scalar, or a row-major array with its shape. The array is
 * copied.
 *
 * @throws {RangeError} When the numbers are not as many as the shape says, or the element type
 *   cannot hold one of them.
 */
export function constant<
  const V extends ConstantValue,
  const D extends DType = ValueDType<V>,
  const S extends StaticShape = ValueShape<V>,
>(value: V, options: ConstantOptions<D, S> = {}): Tensor<D, Plain<S>> {
  // What is left out is filled in as the types' defaults say.
  return constantNode(value, options) as Tensor<D, Plain<S>>;
}

function constantNode(value: ConstantValue, options: ConstantOptions): Node {
  const scalar = typeof value === "number" || typeof value === "boolean";
  const values: ArrayLike<number> = scalar ? [Number(value)] : value;
  const dtype = options.dtype ?? dtypeOfValue(value);
  const shape = options.shape ?? (scalar ? [] : [values.length]);
  for (const size of shape) requireSize("constant", size, shape);
  if (staticSize(shape) !== values.length) {
    throw new RangeError(
      `constant: ${values.length} values do not fill shape ${formatShape(shape)}: ` +
        `wanted ${staticSize(shape)}`,
    );
  }
  if (isHalf(dtype)) {
    const data = Float32Array.from(values);
    return cast(makeNode(constantRecord, [], { dtype: "f32", shape, data }), dtype);
  }
  const data = constantData(values, dtype);
  return makeNode(constantRecord, [], { dtype, shape, data }, options.label);
}

function dtypeOfValue(value: ConstantValue): DType {
  if (typeof value === "boolean") return "bool";
  if (value instanceof Int32Array) return "i32";
  if (value instanceof Uint32Array) return "u32";
  if (value instanceof Uint8Array) return "bool";
  return "f32";
}

const LIMITS = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1], bool: [0, 1] } as const;

function constantData(values: ArrayLike<number>, dtype: DType): ConstantData {
  if (isFloat(dtype)) return Float32Array.from(values);
  const [low, high] = LIMITS[dtype];
  for (let index = 0; index < values.length; index++) {
    const value = at(values, index);
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new RangeError(`constant: ${dtype} cannot hold ${value}: wanted ${low} to ${high}`);
    }
  }
  if (dtype === "i32") return Int32Array.from(values);
  return dtype === "u32" ? Uint32Array.from(values) : Uint8Array.from(values);
}

/** A tensor with one value everywhere, of any shape, symbolic dims included; f32 by default. */
export function full<const S extends Shape, const D extends DType = "f32">(
  value: number | boolean,
  shape: S,
  dtype?: D,
): Tensor<D, Plain<S>> {
  const wide: Shape = shape;
  const node: Node = broadcastTo(constantNode(value, { dtype: dtype ?? "f32" }), wide);
  return node as Tensor<D, Plain<S>>;
}

/** Zeros of a shape; f32 by default. */
export function zeros<const S extends Shape, const D extends DType = "f32">(
  shape: S,
  dtype?: D,
): Tensor<D, Plain<S>> {
  return full(0, shape, dtype);
}

/** Ones of a shape; f32 by default. */
export function ones<const S extends Shape, const D extends DType = "f32">(
  shape: S,
  dtype?: D,
): Tensor<D, Plain<S>> {
  return full(1, shape, dtype);
}

/**
 * Every element's index along `axis` (the last by default), as i32 by default.
 *
 * @throws {ShapeError} When there is no such axis.
 */
export function iota<const S extends Shape, const D extends "f32" | "i32" | "u32" = "i32">(
  shape: S,
  dtype?: D,
  axis = -1,
): Tensor<D, Plain<S>> {
  const type: TensorType = { dtype: dtype ?? "i32", shape };
  const place = axisOf("iota", axis, type);
  return makeNode(iotaRecord, [], { ...type, axis: place }) as Tensor<D, Plain<S>>;
}

/** A dim's size as an f32 scalar; a symbolic one gets its number when the program is compiled. */
export function dimSize(dim: Dim): Tensor<"f32", []> {
  const node = typeof dim === "number" ? constant(dim) : makeNode(dimSizeRecord, [], { dim });
  return node as Tensor<"f32", []>;
}
