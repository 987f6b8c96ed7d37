/** Elementwise functions of one tensor. */
import type { DType } from "../dtype.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp, type NotDifferentiable, type OpRecord } from "../op.ts";
import { add, div, mul, sub } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
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

function unary(record: OpRecord, x: Tensor): Node {
  return inArithmetic([x], (operands) => makeNode(record, operands, {}));
}

/** `-x`, of f32 or i32. */
export function neg(x: Tensor): Node {
  return unary(UNARY.neg, x);
}

/** `|x|`, of f32 or i32. The gradient at 0 is 0. */
export function abs(x: Tensor): Node {
  return unary(UNARY.abs, x);
}

/** -1, 0 or 1 by the sign of an f32 or i32. Its gradient is zero. */
export function sign(x: Tensor): Node {
  return unary(UNARY.sign, x);
}

/** `e^x`. */
export function exp(x: Tensor): Node {
  return unary(UNARY.exp, x);
}

/** Natural logarithm: NaN below 0, -infinity at 0. */
export function log(x: Tensor): Node {
  return unary(UNARY.log, x);
}

/** `log(1 + x)`, accurate for small `x`. */
export function log1p(x: Tensor): Node {
  return unary(UNARY.log1p, x);
}

/** Square root: NaN below 0. */
export function sqrt(x: Tensor): Node {
  return unary(UNARY.sqrt, x);
}

/** `1 / sqrt(x)`. */
export function rsqrt(x: Tensor): Node {
  return unary(UNARY.rsqrt, x);
}

/** `1 / x`. */
export function reciprocal(x: Tensor): Node {
  return unary(UNARY.reciprocal, x);
}

/** Hyperbolic tangent. */
export function tanh(x: Tensor): Node {
  return unary(UNARY.tanh, x);
}

/** Error function, `2/sqrt(pi) * integral of exp(-t^2) from 0 to x`. */
export function erf(x: Tensor): Node {
  return unary(UNARY.erf, x);
}

/** `1 / (1 + exp(-x))`. */
export function sigmoid(x: Tensor): Node {
  return unary(UNARY.sigmoid, x);
}

/** Sine of radians. */
export function sin(x: Tensor): Node {
  return unary(UNARY.sin, x);
}

/** Cosine of radians. */
export function cos(x: Tensor): Node {
  return unary(UNARY.cos, x);
}

/** Largest whole number not above `x`, as f32. Its gradient is zero. */
export function floor(x: Tensor): Node {
  return unary(UNARY.floor, x);
}

/** Smallest whole number not below `x`, as f32. Its gradient is zero. */
export function ceil(x: Tensor): Node {
  return unary(UNARY.ceil, x);
}

/** Nearest whole number, halves to the even one, as f32. Its gradient is zero. */
export function round(x: Tensor): Node {
  return unary(UNARY.round, x);
}

/** Logical negation of a bool. */
export function not(x: Tensor): Node {
  return unary(UNARY.not, x);
}

/** `x * x`. */
export function square(x: Tensor): Node {
  return mul(x, x);
}
