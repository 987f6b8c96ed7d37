/** Changes of element type, the choice between two tensors, and the end of a gradient. */
import { type DType, isFloat, isHalf } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { makeNode, type Node, Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import { sameShape, type Shape } from "../shape.ts";
import type { Broadcast, ShapeOf, Valid } from "../shape_types.ts";
import { broadcasted, resolve } from "./broadcasting.ts";
import type { JointDType, SameDTypeAs } from "./builder_types.ts";
import { constant, zeros } from "./source.ts";
import { roundToFormat } from "./special.ts";
import {
  at,
  DISCRETE,
  inputAt,
  type Literal,
  noFlops,
  oncePerElement,
  onlyOperand,
  type Operand,
  operandsOf,
  requireDType,
  requireSameDType,
  textsOf,
  wrap,
} from "./support.ts";

/** Conversion by value. */
export const castRecord = defineOp<{ readonly dtype: DType }>({
  name: "cast",
  kind: "elementwise",
  doc: "Conversion by value. To f16 and bf16: to nearest, ties to even. Floats to whole numbers: " +
    "truncated, saturated, NaN gives 0. Between i32 and u32: modulo 2^32. To bool: is not zero.",
  infer: (inputs, { dtype }) => ({ dtype, shape: onlyOperand("cast", inputs).shape }),
  vjp: (node, cotangent) => {
    const from = inputAt(node, 0).dtype;
    return [isFloat(from) ? cast(cotangent, from) : undefined];
  },
  flops: oncePerElement,
  reference: (inputs, { dtype }) => {
    const { data, dtype: from } = at(inputs, 0);
    return Float64Array.from(data, (value) => castValue(value, from, dtype));
  },
});

function castValue(value: number, from: DType, to: DType): number {
  if (isHalf(to)) return roundToFormat(value, to);
  if (!isFloat(from) || (to !== "i32" && to !== "u32")) return wrap(to, value);
  const [low, high] = to === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  return Number.isNaN(value) ? 0 : Math.min(Math.max(Math.trunc(value), low), high) + 0;
}

/** The same bits as another type. */
export const bitcastRecord = defineOp<{ readonly dtype: DType }>({
  name: "bitcast",
  kind: "elementwise",
  doc: "The same 32 bits read as another type: f32, i32 or u32.",
  infer: (inputs, { dtype }) => {
    requireDType("bitcast", inputs, ["f32", "i32", "u32"]);
    return { dtype, shape: onlyOperand("bitcast", inputs).shape };
  },
  vjp: DISCRETE,
  flops: noFlops,
  reference: (inputs, { dtype }) => {
    const bits = new DataView(new ArrayBuffer(4));
    const { data, dtype: from } = at(inputs, 0);
    return Float64Array.from(data, (value) => {
      if (from === "f32") bits.setFloat32(0, value);
      else bits.setUint32(0, value >>> 0);
      if (dtype === "f32") return bits.getFloat32(0);
      return dtype === "i32" ? bits.getInt32(0) : bits.getUint32(0);
    });
  },
});

/** One of two, by a condition. */
export const selectRecord = defineOp({
  name: "select",
  kind: "elementwise",
  doc: "a where the condition holds, b elsewhere.",
  infer: (inputs) => {
    const [condition, a, b] = operandsOf("select", inputs, 3);
    if (condition.dtype !== "bool") {
      throw new DTypeError("select", "the condition is not bool", textsOf(inputs));
    }
    requireSameDType("select", [a, b]);
    if (![a, b].every((branch) => sameShape(branch.shape, condition.shape))) {
      throw new ShapeError("select", "shapes differ", textsOf(inputs));
    }
    return { dtype: a.dtype, shape: a.shape };
  },
  vjp: (node, cotangent) => {
    const condition = inputAt(node, 0);
    const zero = zeros(cotangent.shape, cotangent.dtype);
    return [undefined, select(condition, cotangent, zero), select(condition, zero, cotangent)];
  },
  flops: oncePerElement,
  reference: (inputs) => {
    const [condition, a, b] = [at(inputs, 0).data, at(inputs, 1).data, at(inputs, 2).data];
    return condition.map((holds, index) => at(holds === 0 ? b : a, index));
  },
});

/** The identity, which no gradient passes. */
export const stopGradientRecord = defineOp({
  name: "stopGradient",
  kind: "elementwise",
  doc: "The operand unchanged; its gradient is zero.",
  infer: (inputs) => {
    const { dtype, shape } = onlyOperand("stopGradient", inputs);
    return { dtype, shape };
  },
  vjp: { because: "it was asked to stop it", zero: true },
  flops: noFlops,
  reference: (inputs) => Float64Array.from(at(inputs, 0).data),
});

/**
 * `x` converted by value to another element type; `x` itself where it has that type already.
 *
 * To f16 and bf16 it rounds to nearest, ties to even. Floats to whole numbers truncate and
 * saturate, NaN gives 0; i32 and u32 convert modulo 2^32; to bool is "not zero".
 */
export function cast<const To extends DType, S extends Shape>(
  x: Tensor<DType, S>,
  dtype: To,
): Tensor<To, S> {
  const node = x.dtype === dtype ? x : makeNode(castRecord, [x], { dtype });
  return node as Tensor<To, S>;
}

/**
 * The same 32 bits read as f32, i32 or u32.
 *
 * @throws {DTypeError} When `x` is of another type.
 */
export function bitcast<const To extends "f32" | "i32" | "u32", S extends Shape>(
  x: Tensor<DType, S>,
  dtype: To,
): Tensor<To, S> {
  const node = x.dtype === dtype ? x : makeNode(bitcastRecord, [x], { dtype });
  return node as Tensor<To, S>;
}

/**
 * `a` where the condition holds and `b` elsewhere, all three broadcast to one shape.
 *
 * @throws {DTypeError} When the condition is not bool or the branches' types differ.
 * @throws {ShapeError} When the shapes do not broadcast.
 */
export function select<C extends Shape>(
  condition: Tensor<DType, C>,
  a: Literal,
  b: Literal,
): Tensor<"f32" | "bool", C>;
export function select<C extends Shape, D extends DType, B extends Shape>(
  condition: Tensor<DType, C>,
  a: Literal,
  b: Tensor<D, B> & Valid<Broadcast<C, B, "select">>,
): Tensor<D, ShapeOf<Broadcast<C, B, "select">>>;
export function select<
  C extends Shape,
  D extends DType,
  A extends Shape,
  E extends DType = D,
  B extends Shape = [],
>(
  condition: Tensor<DType, C>,
  a: Tensor<D, A> & Valid<Broadcast<C, A, "select">>,
  b:
    | Literal
    | (Tensor<E, B> & SameDTypeAs<D, E, "select"> & Valid<SelectShape<C, A, B>>),
): Tensor<JointDType<D, E>, ShapeOf<SelectShape<C, A, B>>>;
export function select(condition: Tensor, a: Operand, b: Operand): Node {
  if (condition.dtype !== "bool") {
    const given = [condition, a, b].filter((operand) => operand instanceof Tensor);
    throw new DTypeError(
      "select",
      `the condition is ${condition.dtype}: wanted bool`,
      textsOf(given),
    );
  }
  if (!(a instanceof Tensor) && !(b instanceof Tensor)) {
    const dtype = typeof a === "boolean" && typeof b === "boolean" ? "bool" : "f32";
    return broadcasted(
      selectRecord,
      [condition, constant(a, { dtype }), constant(b, { dtype })],
      {},
    );
  }
  return broadcasted(selectRecord, [condition, ...resolve("select", [a, b])], {});
}

type SelectShape<C extends Shape, A extends Shape, B extends Shape> = Broadcast<
  ShapeOf<Broadcast<C, A, "select">>,
  B,
  "select"
>;

/** {@linkcode select} under NumPy's name. */
export const where: typeof select = select;

/** `x`, whose gradient is taken to be zero. */
export function stopGradient<D extends DType, S extends Shape>(x: Tensor<D, S>): Tensor<D, S> {
  return makeNode(stopGradientRecord, [x], {}) as Tensor<D, S>;
}
