/** The functions of scalars that loop IR has. */

const UNARY = [
  "neg",
  "abs",
  "sign",
  "exp",
  "log",
  "log1p",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "tanh",
  "erf",
  "sigmoid",
  "sin",
  "cos",
  "floor",
  "ceil",
  "round",
  "not",
] as const;

const COMPARISONS = [
  "equal",
  "notEqual",
  "less",
  "lessEqual",
  "greater",
  "greaterEqual",
] as const;

const BINARY = [
  ...COMPARISONS,
  "add",
  "sub",
  "mul",
  "div",
  "rem",
  "pow",
  "max",
  "min",
  "and",
  "or",
  "xor",
  "shiftLeft",
  "shiftRight",
] as const;

/** Functions of one scalar. */
export type UnaryOp = typeof UNARY[number];

/**
 * Functions of two scalars. Comparisons give `bool`. On whole numbers `div` and `rem` truncate;
 * `shiftRight` is logical on u32 and arithmetic on i32. `max` and `min` return NaN if either is.
 */
export type BinaryOp = typeof BINARY[number];

const UNARY_NAMES: ReadonlySet<string> = new Set(UNARY);
const BINARY_NAMES: ReadonlySet<string> = new Set(BINARY);
const COMPARISON_NAMES: ReadonlySet<string> = new Set(COMPARISONS);

/** Whether loop IR has a function of one scalar of the name. */
export function isUnaryOp(name: string): name is UnaryOp {
  return UNARY_NAMES.has(name);
}

/** Whether loop IR has a function of two scalars of the name. */
export function isBinaryOp(name: string): name is BinaryOp {
  return BINARY_NAMES.has(name);
}

/** Whether the function gives a truth value. */
export function isComparison(op: BinaryOp): boolean {
  return COMPARISON_NAMES.has(op);
}
