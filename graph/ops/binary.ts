/** Elementwise functions of two tensors, with NumPy broadcasting. */
import { type DType, isFloat } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import type { Node } from "../node.ts";
import { defineOp, type NotDifferentiable, type OpRecord } from "../op.ts";
import { sameShape } from "../shape.ts";
import { elementwise } from "./broadcasting.ts";
import type { ArithmeticBuilder, ComparisonBuilder } from "./builder_types.ts";
import { select } from "./convert.ts";
import {
  at,
  COMPUTED,
  DISCRETE,
  inputAt,
  NUMBERS,
  oncePerElement,
  type Operand,
  operandsOf,
  requireDType,
  requireSameDType,
  textsOf,
  wrap,
} from "./support.ts";
import { ceil, floor, log, neg } from "./unary.ts";

/** The cotangents of a and b, given that of y = f(a, b). */
type BinaryGradient = (cotangent: Node, a: Node, b: Node, y: Node) => readonly [Node, Node];

interface BinaryRule {
  readonly doc: string;
  readonly dtypes?: readonly DType[];
  /** The result's type where it is not the operands'. */
  readonly result?: DType;
  /** `dtype` is that of the operands; the result is wrapped to its own type afterwards. */
  readonly evaluate: (a: number, b: number, dtype: DType) => number;
  readonly gradient: BinaryGradient | NotDifferentiable;
}

const WHOLE: readonly DType[] = ["i32", "u32"];
const BITS: readonly DType[] = ["bool", "i32", "u32"];

function defineBinary(name: string, rule: BinaryRule): OpRecord {
  const { doc, dtypes = NUMBERS, result, evaluate, gradient } = rule;
  return defineOp({
    name,
    kind: "elementwise",
    doc,
    infer: (inputs) => {
      const [a, b] = operandsOf(name, inputs, 2);
      requireSameDType(name, inputs);
      requireDType(name, inputs, dtypes);
      if (!sameShape(a.shape, b.shape)) {
        throw new ShapeError(name, "shapes differ", textsOf(inputs));
      }
      return { dtype: result ?? a.dtype, shape: a.shape };
    },
    vjp: typeof gradient === "function"
      ? (node, cotangent) => gradient(cotangent, inputAt(node, 0), inputAt(node, 1), node)
      : gradient,
    flops: oncePerElement,
    reference: (inputs, output) => {
      const { data, dtype } = at(inputs, 0);
      const right = at(inputs, 1).data;
      return data.map((a, index) => wrap(output.dtype, evaluate(a, at(right, index), dtype)));
    },
  });
}

function defineComparison(
  name: string,
  doc: string,
  dtypes: readonly DType[],
  holds: (a: number, b: number) => boolean,
): OpRecord {
  return defineBinary(name, {
    doc,
    dtypes,
    result: "bool",
    evaluate: (a, b) => holds(a, b) ? 1 : 0,
    gradient: DISCRETE,
  });
}

/** Gives the cotangent to the operand that was taken; equal ones get half each. */
function towards(taken: (a: Node, b: Node) => Node): BinaryGradient {
  return (g, a, b) => {
    const half = select(equal(a, b), mul(g, 0.5), 0);
    return [select(taken(a, b), g, half), select(taken(b, a), g, half)];
  };
}

/** A whole quotient truncates, and one by zero is 0. */
function divide(a: number, b: number, dtype: DType): number {
  if (isFloat(dtype)) return a / b;
  return b === 0 ? 0 : Math.trunc(a / b);
}

/** The remainder has the sign of `a`; a whole one by zero is 0. */
function remainder(a: number, b: number, dtype: DType): number {
  return b === 0 && !isFloat(dtype) ? 0 : a % b;
}

function truncated(x: Node): Node {
  return select(less(x, 0), ceil(x), floor(x));
}

const BINARY = {
  add: defineBinary("add", {
    doc: "a + b",
    evaluate: (a, b) => a + b,
    gradient: (g) => [g, g],
  }),
  sub: defineBinary("sub", {
    doc: "a - b",
    evaluate: (a, b) => a - b,
    gradient: (g) => [g, neg(g)],
  }),
  mul: defineBinary("mul", {
    doc: "a * b",
    evaluate: (a, b, dtype) => isFloat(dtype) ? a * b : Math.imul(a, b),
    gradient: (g, a, b) => [mul(g, b), mul(g, a)],
  }),
  div: defineBinary("div", {
    doc: "a / b; whole numbers truncate, and by zero give 0",
    evaluate: divide,
    gradient: (g, _a, b, y) => {
      const left = div(g, b);
      return [left, neg(mul(left, y))];
    },
  }),
  rem: defineBinary("rem", {
    doc: "a - b * truncate(a / b); whole numbers by zero give 0",
    evaluate: remainder,
    gradient: (g, a, b) => [g, neg(mul(g, truncated(div(a, b))))],
  }),
  pow: defineBinary("pow", {
    doc: "a^b",
    dtypes: ["f32"],
    evaluate: (a, b) => a ** b,
    gradient: (g, a, b, y) => {
      // Where b is 0 the power is constant in a, at a = 0 too; where a <= 0 it is not smooth in b.
      const slope = select(equal(b, 0), 0, mul(b, pow(a, sub(b, 1))));
      const positive = greater(a, 0);
      return [mul(g, slope), mul(g, select(positive, mul(y, log(select(positive, a, 1))), 0))];
    },
  }),
  max: defineBinary("max", {
    doc: "The larger; NaN if either is. The gradient of equal operands is shared half and half",
    evaluate: (a, b) => Math.max(a, b),
    gradient: towards((a, b) => greater(a, b)),
  }),
  min: defineBinary("min", {
    doc: "The smaller; NaN if either is. The gradient of equal operands is shared half and half",
    evaluate: (a, b) => Math.min(a, b),
    gradient: towards((a, b) => less(a, b)),
  }),
  equal: defineComparison("equal", "a = b", COMPUTED, (a, b) => a === b),
  notEqual: defineComparison("notEqual", "a != b", COMPUTED, (a, b) => a !== b),
  less: defineComparison("less", "a < b", NUMBERS, (a, b) => a < b),
  lessEqual: defineComparison("lessEqual", "a <= b", NUMBERS, (a, b) => a <= b),
  greater: defineComparison("greater", "a > b", NUMBERS, (a, b) => a > b),
  greaterEqual: defineComparison("greaterEqual", "a >= b", NUMBERS, (a, b) => a >= b),
  and: defineBinary("and", {
    doc: "Bitwise and; of truth values, logical",
    dtypes: BITS,
    evaluate: (a, b) => a & b,
    gradient: DISCRETE,
  }),
  or: defineBinary("or", {
    doc: "Bitwise or; of truth values, logical",
    dtypes: BITS,
    evaluate: (a, b) => a | b,
    gradient: DISCRETE,
  }),
  xor: defineBinary("xor", {
    doc: "Bitwise exclusive or; of truth values, logical",
    dtypes: BITS,
    evaluate: (a, b) => a ^ b,
    gradient: DISCRETE,
  }),
  shiftLeft: defineBinary("shiftLeft", {
    doc: "a shifted left by b modulo 32 bits",
    dtypes: WHOLE,
    evaluate: (a, b) => a << b,
    gradient: DISCRETE,
  }),
  shiftRight: defineBinary("shiftRight", {
    doc: "a shifted right by b modulo 32 bits: logical on u32, arithmetic on i32",
    dtypes: WHOLE,
    evaluate: (a, b, dtype) => dtype === "u32" ? a >>> b : a >> b,
    gradient: DISCRETE,
  }),
};

function arithmetic<Op extends string>(record: OpRecord): ArithmeticBuilder<Op> {
  const build = (a: Operand, b: Operand) => elementwise(record, [a, b], {});
  // The record's infer and the broadcast before it give just the type that the interface says.
  return build as ArithmeticBuilder<Op>;
}

function comparison<Op extends string>(record: OpRecord): ComparisonBuilder<Op> {
  const build = (a: Operand, b: Operand) => elementwise(record, [a, b], {});
  // The record's infer and the broadcast before it give just the type that the interface says.
  return build as ComparisonBuilder<Op>;
}

/**
 * `a + b`.
 *
 * This and the other binary ops broadcast their operands as NumPy does, and take a number for one.
 *
 * @throws {ShapeError} When the shapes do not broadcast.
 * @throws {DTypeError} When the element types differ or are not numbers.
 */
export const add: ArithmeticBuilder<"add"> = arithmetic(BINARY.add);

/** `a - b`. */
export const sub: ArithmeticBuilder<"sub"> = arithmetic(BINARY.sub);

/** `a * b`. */
export const mul: ArithmeticBuilder<"mul"> = arithmetic(BINARY.mul);

/** `a / b`. Whole numbers truncate; by zero they give 0. */
export const div: ArithmeticBuilder<"div"> = arithmetic(BINARY.div);

/** The remainder of `a / b` with the sign of `a`. A whole one by zero is 0. */
export const rem: ArithmeticBuilder<"rem"> = arithmetic(BINARY.rem);

/** `a^b`, of floats. NaN where `a` is negative and `b` not whole. */
export const pow: ArithmeticBuilder<"pow"> = arithmetic(BINARY.pow);

/** The larger of the two; NaN if either is. Equal operands share the gradient half and half. */
export const maximum: ArithmeticBuilder<"maximum"> = arithmetic(BINARY.max);

/** The smaller of the two; NaN if either is. Equal operands share the gradient half and half. */
export const minimum: ArithmeticBuilder<"minimum"> = arithmetic(BINARY.min);

/** Whether `a = b`, as bool. */
export const equal: ComparisonBuilder<"equal"> = comparison(BINARY.equal);

/** Whether `a != b`, as bool. */
export const notEqual: ComparisonBuilder<"notEqual"> = comparison(BINARY.notEqual);

/** Whether `a < b`, as bool. */
export const less: ComparisonBuilder<"less"> = comparison(BINARY.less);

/** Whether `a <= b`, as bool. */
export const lessEqual: ComparisonBuilder<"lessEqual"> = comparison(BINARY.lessEqual);

/** Whether `a > b`, as bool. */
export const greater: ComparisonBuilder<"greater"> = comparison(BINARY.greater);

/** Whether `a >= b`, as bool. */
export const greaterEqual: ComparisonBuilder<"greaterEqual"> = comparison(BINARY.greaterEqual);

/** Bitwise and of whole numbers, logical of truth values. */
export const and: ArithmeticBuilder<"and"> = arithmetic(BINARY.and);

/** Bitwise or of whole numbers, logical of truth values. */
export const or: ArithmeticBuilder<"or"> = arithmetic(BINARY.or);

/** Bitwise exclusive or of whole numbers, logical of truth values. */
export const xor: ArithmeticBuilder<"xor"> = arithmetic(BINARY.xor);

/** `a` shifted left by `b` modulo 32 bits. */
export const shiftLeft: ArithmeticBuilder<"shiftLeft"> = arithmetic(BINARY.shiftLeft);

/** `a` shifted right by `b` modulo 32 bits: logical on u32, arithmetic on i32. */
export const shiftRight: ArithmeticBuilder<"shiftRight"> = arithmetic(BINARY.shiftRight);
