/** Arithmetic on scalars. Operands may be pushed more than once, so they must be cheap. */
import type { BinaryOp, Expr, ScalarType, UnaryOp } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, ModuleBuilder, ValueType } from "../encoder.ts";
import type { Push } from "../vector_code.ts";
import { remainderFunction } from "./helper_functions.ts";

/** The WebAssembly type of a scalar. */
export function valueType(type: ScalarType): ValueType {
  return type === "f32" ? "f32" : "i32";
}

/** Pushes a constant. */
export function scalarConstant(f: FunctionBuilder, type: ScalarType, value: number): void {
  if (type === "f32") f.f32.const(value);
  else f.i32.const(type === "bool" ? (value === 0 ? 0 : 1) : value);
}

type Instructions = Readonly<Partial<Record<BinaryOp, keyof FunctionBuilder["i32"]>>>;

const WHOLE: Instructions = {
  add: "add",
  sub: "sub",
  mul: "mul",
  and: "and",
  or: "or",
  xor: "xor",
  shiftLeft: "shl",
  equal: "eq",
  notEqual: "ne",
};
const SIGNED: Instructions = {
  ...WHOLE,
  shiftRight: "shr_s",
  less: "lt_s",
  lessEqual: "le_s",
  greater: "gt_s",
  greaterEqual: "ge_s",
};
const UNSIGNED: Instructions = {
  ...WHOLE,
  shiftRight: "shr_u",
  less: "lt_u",
  lessEqual: "le_u",
  greater: "gt_u",
  greaterEqual: "ge_u",
};
const FLOAT: Readonly<Partial<Record<BinaryOp, keyof FunctionBuilder["f32"]>>> = {
  add: "add",
  sub: "sub",
  mul: "mul",
  div: "div",
  max: "max",
  min: "min",
  equal: "eq",
  notEqual: "ne",
  less: "lt",
  lessEqual: "le",
  greater: "gt",
  greaterEqual: "ge",
};

/** Pushes `op(a, b)` for operands of the given type. Throws a TypeError where the type has no such op. */
export function scalarBinary(
  f: FunctionBuilder,
  module: ModuleBuilder,
  op: BinaryOp,
  type: ScalarType,
  a: Push,
  b: Push,
): void {
  const name = type === "f32" ? FLOAT[op] : (type === "i32" ? SIGNED : UNSIGNED)[op];
  if (name !== undefined) {
    a();
    b();
    // Every instruction that the tables name takes its operands from the stack alone.
    (type === "f32" ? f.f32[name as "add"] : f.i32[name as "add"])();
    return;
  }
  if (type === "f32" && op === "rem") {
    a();
    b();
    f.call(remainderFunction(module));
    return;
  }
  if (type !== "f32" && (op === "max" || op === "min")) return pick(f, op, type, a, b);
  if (type !== "f32" && (op === "div" || op === "rem")) return divide(f, op, type, a, b);
  throw new TypeError(`Operation ${op} does not take ${type}`);
}

/** Whether {@linkcode scalarBinary} pushes its operands more than once. */
export function repeatsOperands(op: BinaryOp, type: ScalarType): boolean {
  return type !== "f32" && (op === "max" || op === "min" || op === "div" || op === "rem");
}

function pick(f: FunctionBuilder, op: "max" | "min", type: ScalarType, a: Push, b: Push): void {
  const instructions = type === "i32" ? SIGNED : UNSIGNED;
  a();
  b();
  a();
  b();
  f.i32[(op === "max" ? instructions.greater : instructions.less) as "add"]();
  f.select("i32");
}

/** Division that gives 0 by zero and wraps where the quotient does not fit, instead of trapping. */
function divide(f: FunctionBuilder, op: "div" | "rem", type: ScalarType, a: Push, b: Push): void {
  const signed = type === "i32";
  b();
  f.i32.eqz();
  f.if(
    () => f.i32.const(0),
    () => {
      const quotient = (): void => {
        a();
        b();
        if (op === "div") signed ? f.i32.div_s() : f.i32.div_u();
        else signed ? f.i32.rem_s() : f.i32.rem_u();
      };
      if (!signed || op === "rem") return quotient();
      b();
      f.i32.const(-1);
      f.i32.eq();
      f.if(
        () => {
          f.i32.const(0);
          a();
          f.i32.sub();
        },
        quotient,
        "i32",
      );
    },
    "i32",
  );
}

/** Pushes a whole number divided by a constant other than 0 and -1. */
export function divideByConstant(
  f: FunctionBuilder,
  op: "div" | "rem",
  type: ScalarType,
  a: Push,
  by: number,
): void {
  a();
  f.i32.const(by);
  const signed = type === "i32";
  if (op === "div") signed ? f.i32.div_s() : f.i32.div_u();
  else signed ? f.i32.rem_s() : f.i32.rem_u();
}

/** Whether dividing a whole number by it cannot trap. */
export function isSafeDivisor(expr: Expr): expr is Expr & { readonly kind: "const" } {
  return expr.kind === "const" && expr.type !== "f32" && expr.value !== 0 && expr.value !== -1 &&
    expr.value !== 0xffffffff;
}

/** Pushes `op(x)`, or returns false where only the vector form exists. */
export function scalarUnary(f: FunctionBuilder, op: UnaryOp, type: ScalarType, x: Push): boolean {
  if (op === "not") {
    x();
    if (type === "bool") return done(f.i32.eqz());
    f.i32.const(-1);
    return done(f.i32.xor());
  }
  if (type !== "f32") return wholeUnary(f, op, type, x);
  switch (op) {
    case "neg":
    case "abs":
    case "sqrt":
    case "floor":
    case "ceil":
      x();
      return done(f.f32[op]());
    case "round":
      x();
      return done(f.f32.nearest());
    case "rsqrt":
    case "reciprocal":
      f.f32.const(1);
      x();
      if (op === "rsqrt") f.f32.sqrt();
      return done(f.f32.div());
    case "sign":
      f.f32.const(1);
      x();
      f.f32.copysign();
      x();
      x();
      f.f32.abs();
      f.f32.const(0);
      f.f32.gt();
      return done(f.select("f32"));
    default:
      return false;
  }
}

function done(_emitted: void): true {
  return true;
}

function wholeUnary(f: FunctionBuilder, op: UnaryOp, type: ScalarType, x: Push): true {
  const negate = (): void => {
    f.i32.const(0);
    x();
    f.i32.sub();
  };
  const compareWithZero = (instruction: () => void): void => {
    x();
    f.i32.const(0);
    instruction();
  };
  switch (op) {
    case "neg":
      return done(negate());
    case "abs":
      x();
      if (type !== "i32") return true;
      negate();
      compareWithZero(f.i32.ge_s);
      return done(f.select("i32"));
    case "sign":
      if (type !== "i32") return done(compareWithZero(f.i32.ne));
      compareWithZero(f.i32.gt_s);
      compareWithZero(f.i32.lt_s);
      return done(f.i32.sub());
    case "floor":
    case "ceil":
    case "round":
      return done(x());
    default:
      throw new TypeError(`Operation ${op} does not take ${type}`);
  }
}

/** Converts the scalar on the stack by value. */
export function scalarCast(f: FunctionBuilder, from: ScalarType, to: ScalarType): void {
  if (from === to) return;
  if (to === "bool") {
    if (from === "f32") f.f32.const(0);
    else f.i32.const(0);
    return from === "f32" ? f.f32.ne() : f.i32.ne();
  }
  if (to === "f32") return from === "i32" ? f.f32.convert_i32_s() : f.f32.convert_i32_u();
  if (from === "f32") return to === "i32" ? f.i32.trunc_sat_f32_s() : f.i32.trunc_sat_f32_u();
}

/** Gives the 32 bits on the stack another type. */
export function scalarBitcast(f: FunctionBuilder, from: ScalarType, to: ScalarType): void {
  if (from === "f32" && to !== "f32") f.i32.reinterpret_f32();
  if (from !== "f32" && to === "f32") f.f32.reinterpret_i32();
}
