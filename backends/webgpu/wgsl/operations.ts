/** Loop IR's operations on scalars, as WGSL text over their operands' text. */
import type { BinaryOp, Expr, ScalarType, UnaryOp } from "../../../compiler/loop_ir.ts";
import { constantValue } from "./fold.ts";
import type { Library } from "./library.ts";

const MATH: ReadonlySet<UnaryOp> = new Set<UnaryOp>([
  "exp",
  "log",
  "log1p",
  "tanh",
  "erf",
  "sigmoid",
  "sin",
  "cos",
  "sign",
]);

/** `op(x)` for an x of the type. */
export function unaryText(library: Library, op: UnaryOp, type: ScalarType, x: string): string {
  if (op === "not") return type === "bool" ? `!${x}` : `~${x}`;
  if (type === "f32") return floatUnary(library, op, x);
  switch (op) {
    case "neg":
      return type === "i32" ? `(-${x})` : `(0u - ${x})`;
    case "abs":
      return type === "i32" ? `abs(${x})` : x;
    case "sign":
      return type === "i32" ? `sign(${x})` : `min(${x}, 1u)`;
    case "floor":
    case "ceil":
    case "round":
      return x;
    default:
      throw new TypeError(`Operation ${op} does not take ${type}`);
  }
}

function floatUnary(library: Library, op: UnaryOp, x: string): string {
  if (MATH.has(op)) return `${library.use(`${op}_f32`)}(${x})`;
  switch (op) {
    case "neg":
      return `(-${x})`;
    case "rsqrt":
      return `(1.0 / sqrt(${x}))`;
    case "reciprocal":
      return `(1.0 / ${x})`;
    default:
      return `${op}(${x})`;
  }
}

const SYMBOLS: Readonly<Partial<Record<BinaryOp, string>>> = {
  add: "+",
  sub: "-",
  mul: "*",
  equal: "==",
  notEqual: "!=",
  less: "<",
  lessEqual: "<=",
  greater: ">",
  greaterEqual: ">=",
};
const BITS: Readonly<Partial<Record<BinaryOp, string>>> = { and: "&", or: "|", xor: "^" };

/** `op(a, b)` for operands of the type of `expr.a`. */
export function binaryText(
  library: Library,
  expr: Expr & { readonly kind: "binary" },
  a: string,
  b: string,
): string {
  const { op } = expr;
  const type = expr.a.type;
  if (type === "bool") return boolBinary(op, a, b);
  const symbol = SYMBOLS[op] ?? (type === "f32" ? undefined : BITS[op]);
  if (symbol !== undefined) return `(${a} ${symbol} ${b})`;
  if (type === "f32") {
    if (op === "div") return `(${a} / ${b})`;
    if (op === "max" || op === "min" || op === "rem" || op === "pow") {
      return `${library.use(`${op}_f32`)}(${a}, ${b})`;
    }
    throw new TypeError(`Operation ${op} does not take ${type}`);
  }
  const constant = constantValue(expr.b);
  switch (op) {
    case "div":
    case "rem":
      if (constant === 0) return type === "i32" ? "0" : "0u";
      if (constant !== undefined) return `(${a} ${op === "div" ? "/" : "%"} ${b})`;
      return `${library.use(`${op}_${type}`)}(${a}, ${b})`;
    case "max":
    case "min":
      return `${op}(${a}, ${b})`;
    case "shiftLeft":
    case "shiftRight": {
      const by = constant === undefined ? `(u32(${b}) & 31u)` : `${constant & 31}u`;
      return `(${a} ${op === "shiftLeft" ? "<<" : ">>"} ${by})`;
    }
    default:
      throw new TypeError(`Operation ${op} does not take ${type}`);
  }
}

function boolBinary(op: BinaryOp, a: string, b: string): string {
  switch (op) {
    case "and":
    case "min":
    case "mul":
      return `(${a} & ${b})`;
    case "or":
    case "max":
      return `(${a} | ${b})`;
    case "xor":
    case "notEqual":
      return `(${a} != ${b})`;
    case "equal":
      return `(${a} == ${b})`;
    case "less":
      return `(!${a} & ${b})`;
    case "lessEqual":
      return `(!${a} | ${b})`;
    case "greater":
      return `(${a} & !${b})`;
    case "greaterEqual":
      return `(${a} | !${b})`;
    default:
      throw new TypeError(`Operation ${op} does not take bool`);
  }
}

/** Conversion by value. */
export function castText(library: Library, from: ScalarType, to: ScalarType, x: string): string {
  if (from === to) return x;
  if (to === "bool") {
    if (from === "f32") return `((bitcast<u32>(${x}) & 0x7fffffffu) != 0u)`;
    return `(${x} != ${from === "i32" ? "0" : "0u"})`;
  }
  if (from === "f32" && to !== "f32") return `${library.use(`to_${to}`)}(${x})`;
  return `${to}(${x})`;
}

/** The same bits as another type; a bool's are 0 or 1. */
export function bitcastText(from: ScalarType, to: ScalarType, x: string): string {
  if (from === to) return x;
  if (to === "bool") return `(bitcast<u32>(${x}) != 0u)`;
  if (from === "bool") return to === "u32" ? `u32(${x})` : `bitcast<${to}>(u32(${x}))`;
  return `bitcast<${to}>(${x})`;
}
