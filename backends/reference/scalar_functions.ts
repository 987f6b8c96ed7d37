/** What each scalar operation of loop IR means, on JavaScript numbers. */
import type { BinaryOp, ScalarType, UnaryOp } from "../../compiler/loop_ir.ts";
import { erf, roundHalfEven } from "../../graph/ops/special.ts";
import { floatBits, floatFromBits } from "./storage.ts";

/** Wraps a whole number to the type's 32 bits; f32 stays as it is. */
export function wrap(type: ScalarType, value: number): number {
  switch (type) {
    case "f32":
      return value;
    case "i32":
      return value | 0;
    case "u32":
      return value >>> 0;
    case "bool":
      return value === 0 ? 0 : 1;
  }
}

const UNARY: Readonly<Record<UnaryOp, (x: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  tanh: Math.tanh,
  erf,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  sin: Math.sin,
  cos: Math.cos,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  not: (x) => ~x,
};

/** A function of one scalar of the given type. */
export function unaryFunction(op: UnaryOp, type: ScalarType): (x: number) => number {
  if (op === "not" && type === "bool") return (x) => x === 0 ? 1 : 0;
  const f = UNARY[op];
  return type === "f32" ? f : (x) => wrap(type, f(x));
}

const FLOAT: Readonly<Partial<Record<BinaryOp, (a: number, b: number) => number>>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  rem: (a, b) => a % b,
  pow: Math.pow,
  max: Math.max,
  min: Math.min,
};

const WHOLE: Readonly<Partial<Record<BinaryOp, (a: number, b: number) => number>>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: Math.imul,
  div: (a, b) => b === 0 ? 0 : Math.trunc(a / b),
  rem: (a, b) => b === 0 ? 0 : a % b,
  max: Math.max,
  min: Math.min,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shiftLeft: (a, b) => a << b,
};

const COMPARISON: Readonly<Partial<Record<BinaryOp, (a: number, b: number) => boolean>>> = {
  equal: (a, b) => a === b,
  notEqual: (a, b) => a !== b,
  less: (a, b) => a < b,
  lessEqual: (a, b) => a <= b,
  greater: (a, b) => a > b,
  greaterEqual: (a, b) => a >= b,
};

/**
 * A function of two scalars of type `operand`. Whole numbers wrap at 32 bits; divided by zero
 * they give 0, and so does the remainder. Shift counts are taken modulo 32.
 */
export function binaryFunction(
  op: BinaryOp,
  operand: ScalarType,
): (a: number, b: number) => number {
  const compare = COMPARISON[op];
  if (compare !== undefined) return (a, b) => compare(a, b) ? 1 : 0;
  if (op === "shiftRight") return operand === "u32" ? (a, b) => a >>> b : (a, b) => a >> b;
  const f = operand === "f32" ? FLOAT[op] : WHOLE[op];
  if (f === undefined) throw new TypeError(`Operation ${op} does not take ${operand}`);
  return operand === "f32" ? f : (a, b) => wrap(operand, f(a, b));
}

function saturate(value: number, low: number, high: number): number {
  if (Number.isNaN(value)) return 0;
  return Math.min(Math.max(Math.trunc(value), low), high);
}

/** Conversion by value. */
export function castFunction(from: ScalarType, to: ScalarType): (x: number) => number {
  if (to === "bool") return (x) => x === 0 ? 0 : 1;
  if (to === "f32" || from === to) return (x) => x;
  if (from !== "f32") return (x) => wrap(to, x);
  return to === "i32"
    ? (x) => saturate(x, -(2 ** 31), 2 ** 31 - 1) | 0
    : (x) => saturate(x, 0, 2 ** 32 - 1) >>> 0;
}

/** The same 32 bits as another type; f64 values are rounded to f32 first. */
export function bitcastFunction(from: ScalarType, to: ScalarType): (x: number) => number {
  if (from === "f32") return to === "f32" ? (x) => x : (x) => wrap(to, floatBits(x));
  return to === "f32" ? (x) => floatFromBits(x >>> 0) : (x) => wrap(to, x);
}

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;
const PARITY = 0x1bd11bda;

/** Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). */
export function threefry2x32(
  key0: number,
  key1: number,
  counter0: number,
  counter1: number,
): [number, number] {
  const keys = [key0, key1, key0 ^ key1 ^ PARITY];
  const key = (index: number) => keys[index % 3] ?? 0;
  let x0 = (counter0 + key(0)) | 0;
  let x1 = (counter1 + key(1)) | 0;
  for (let group = 0; group < 5; group++) {
    for (const rotation of group % 2 === 0 ? ROTATIONS[0] : ROTATIONS[1]) {
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << rotation) | (x1 >>> (32 - rotation))) ^ x0;
    }
    x0 = (x0 + key(group + 1)) | 0;
    x1 = (x1 + key(group + 2) + group + 1) | 0;
  }
  return [x0 >>> 0, x1 >>> 0];
}
