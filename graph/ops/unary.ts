/** Elementwise functions of one tensor. */
import type { DType } from "../dtype.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp, type NotDifferentiable, type OpRecord } from "../op.ts";
import type { Shape } from "../shape.ts";
import { add, div, mul, sub } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import type { UnaryBuilder } from "./builder_types.ts";
import { erf as erfOf, roundHalfEven } from "./special.ts";
import {
  at,
  DISCRETE,
  inputAt,
  oncePerElement,
  onlyOperand,
  requireDType,
  wrap,
} from "./support.ts";

/** The cotangent of x, given that of y = f(x). */
type UnaryGradient = (cotangent: Node, x: Node, y: Node) => Node;

interface UnaryRule {
  readonly doc: string;
  readonly dtypes?: readonly DType[];
  readonly evaluate: (x: number) => number;
  readonly gradient: UnaryGradient | NotDifferentiable;
}

const FLOAT: readonly DType[] = ["f32"];
const SIGNED: readonly DType[] = ["f32", "i32"];
const STEP: NotDifferentiable = { because: "it is constant almost everywhere", zero: true };

function defineUnary(name: string, rule: UnaryRule): OpRecord {
  const { doc, dtypes = FLOAT, evaluate, gradient } = rule;
  return defineOp({
    name,
    kind: "elementwise",
    doc,
    infer: (inputs) => {
      const { dtype, shape } = onlyOperand(name, inputs);
      requireDType(name, inputs, dtypes);
      return { dtype, shape };
    },
    vjp: typeof gradient === "function"
      ? (node, cotangent) => [gradient(cotangent, inputAt(node, 0), node)]
      : gradient,
    flops: oncePerElement,
    reference: (inputs, { dtype }) => at(inputs, 0).data.map((x) => wrap(dtype, evaluate(x))),
  });
}

const UNARY = {
  neg: defineUnary("neg", {
    doc: "-x",
    dtypes: SIGNED,
    evaluate: (x) => -x,
    gradient: (g) => neg(g),
  }),
  abs: defineUnary("abs", {
    doc: "|x|; the gradient at 0 is 0",
    dtypes: SIGNED,
    evaluate: Math.abs,
    gradient: (g, x) => mul(g, sign(x)),
  }),
  sign: defineUnary("sign", {
    doc: "-1, 0 or 1; NaN of NaN",
    dtypes: SIGNED,
    evaluate: Math.sign,
    gradient: STEP,
  }),
  exp: defineUnary("exp", {
    doc: "e^x",
    evaluate: Math.exp,
    gradient: (g, _x, y) => mul(g, y),
  }),
  log: defineUnary("log", {
    doc: "Natural logarithm",
    evaluate: Math.log,
    gradient: (g, x) => div(g, x),
  }),
  log1p: defineUnary("log1p", {
    doc: "log(1 + x), exact for small x",
    evaluate: Math.log1p,
    gradient: (g, x) => div(g, add(x, 1)),
  }),
  sqrt: defineUnary("sqrt", {
    doc: "Square root",
    evaluate: Math.sqrt,
    gradient: (g, _x, y) => mul(div(g, y), 0.5),
  }),
  rsqrt: defineUnary("rsqrt", {
    doc: "1 / sqrt(x)",
    evaluate: (x) => 1 / Math.sqrt(x),
    gradient: (g, _x, y) => mul(mul(g, -0.5), mul(y, mul(y, y))),
  }),
  reciprocal: defineUnary("reciprocal", {
    doc: "1 / x",
    evaluate: (x) => 1 / x,
    gradient: (g, _x, y) => neg(mul(g, mul(y, y))),
  }),
  tanh: defineUnary("tanh", {
    doc: "Hyperbolic tangent",
    evaluate: Math.tanh,
    gradient: (g, _x, y) => mul(g, sub(1, mul(y, y))),
  }),
  erf: defineUnary("erf", {
    doc: "Error function, 2/sqrt(pi) * integral of exp(-t^2) from 0 to x",
    evaluate: erfOf,
    gradient: (g, x) => mul(mul(g, 2 / Math.sqrt(Math.PI)), exp(neg(mul(x, x)))),
  }),
  sigmoid: defineUnary("sigmoid", {
    doc: "1 / (1 + exp(-x))",
    evaluate: (x) => 1 / (1 + Math.exp(-x)),
    gradient: (g, _x, y) => mul(g, mul(y, sub(1, y))),
  }),
  sin: defineUnary("sin", {
    doc: "Sine of radians",
    evaluate: Math.sin,
    gradient: (g, x) => mul(g, cos(x)),
  }),
  cos: defineUnary("cos", {
    doc: "Cosine of radians",
    evaluate: Math.cos,
    gradient: (g, x) => neg(mul(g, sin(x))),
  }),
  floor: defineUnary("floor", {
    doc: "Largest whole number <= x",
    evaluate: Math.floor,
    gradient: STEP,
  }),
  ceil: defineUnary("ceil", {
    doc: "Smallest whole number >= x",
    evaluate: Math.ceil,
    gradient: STEP,
  }),
  round: defineUnary("round", {
    doc: "Nearest whole number, halves to the even one",
    evaluate: roundHalfEven,
    gradient: STEP,
  }),
  not: defineUnary("not", {
    doc: "Logical negation",
    dtypes: ["bool"],
    evaluate: (x) => x === 0 ? 1 : 0,
    gradient: DISCRETE,
  }),
};

function unary(record: OpRecord): UnaryBuilder {
  const build = (x: Tensor) => inArithmetic([x], (operands) => makeNode(record, operands, {}));
  // The record's infer keeps the operand's element type and shape.
  return build as UnaryBuilder;
}

/** `-x`, of f32 or i32. */
export const neg: UnaryBuilder = unary(UNARY.neg);

/** `|x|`, of f32 or i32. The gradient at 0 is 0. */
export const abs: UnaryBuilder = unary(UNARY.abs);

/** -1, 0 or 1 by the sign of an f32 or i32. Its gradient is zero. */
export const sign: UnaryBuilder = unary(UNARY.sign);

/** `e^x`. */
export const exp: UnaryBuilder = unary(UNARY.exp);

/** Natural logarithm: NaN below 0, -infinity at 0. */
export const log: UnaryBuilder = unary(UNARY.log);

/** `log(1 + x)`, accurate for small `x`. */
export const log1p: UnaryBuilder = unary(UNARY.log1p);

/** Square root: NaN below 0. */
export const sqrt: UnaryBuilder = unary(UNARY.sqrt);

/** `1 / sqrt(x)`. */
export const rsqrt: UnaryBuilder = unary(UNARY.rsqrt);

/** `1 / x`. */
export const reciprocal: UnaryBuilder = unary(UNARY.reciprocal);

/** Hyperbolic tangent. */
export const tanh: UnaryBuilder = unary(UNARY.tanh);

/** Error function, `2/sqrt(pi) * integral of exp(-t^2) from 0 to x`. */
export const erf: UnaryBuilder = unary(UNARY.erf);

/** `1 / (1 + exp(-x))`. */
export const sigmoid: UnaryBuilder = unary(UNARY.sigmoid);

/** Sine of radians. */
export const sin: UnaryBuilder = unary(UNARY.sin);

/** Cosine of radians. */
export const cos: UnaryBuilder = unary(UNARY.cos);

/** Largest whole number not above `x`, as f32. Its gradient is zero. */
export const floor: UnaryBuilder = unary(UNARY.floor);

/** Smallest whole number not below `x`, as f32. Its gradient is zero. */
export const ceil: UnaryBuilder = unary(UNARY.ceil);

/** Nearest whole number, halves to the even one, as f32. Its gradient is zero. */
export const round: UnaryBuilder = unary(UNARY.round);

/** Logical negation of a bool. */
export const not: UnaryBuilder = unary(UNARY.not);

/** `x * x`. */
export function square<D extends DType, S extends Shape>(x: Tensor<D, S>): Tensor<D, S> {
  const wide: Tensor = x;
  return mul(wide, wide) as Tensor<D, S>;
}
