/** Arithmetic on four lanes. Bools are masks: all bits of a lane, or none. */
import type { BinaryOp, ScalarType, UnaryOp } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder } from "../encoder.ts";
import type { Push, VectorCode } from "../vector_code.ts";
import { boolFromMask, maskFromBool } from "./memory_access.ts";

type Instructions = Readonly<Partial<Record<BinaryOp, keyof FunctionBuilder["i32x4"]>>>;

const WHOLE: Instructions = { add: "add", sub: "sub", mul: "mul", equal: "eq", notEqual: "ne" };
const SIGNED: Instructions = {
  ...WHOLE,
  max: "max_s",
  min: "min_s",
  less: "lt_s",
  lessEqual: "le_s",
  greater: "gt_s",
  greaterEqual: "ge_s",
};
const UNSIGNED: Instructions = {
  ...WHOLE,
  max: "max_u",
  min: "min_u",
  less: "lt_u",
  lessEqual: "le_u",
  greater: "gt_u",
  greaterEqual: "ge_u",
};
const FLOAT: Readonly<Partial<Record<BinaryOp, keyof FunctionBuilder["f32x4"]>>> = {
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

/** Pushes `op(a, b)` for operands of the given type, or returns false: then it is done lane by lane. */
export function vectorBinary(
  code: VectorCode,
  op: BinaryOp,
  type: ScalarType,
  a: Push,
  b: Push,
): boolean {
  const { f } = code;
  if (type !== "f32" && (op === "and" || op === "or" || op === "xor")) {
    code.apply(f.v128[op], a, b)();
    return true;
  }
  if (type === "bool") return maskBinary(code, op, a, b);
  const name = type === "f32" ? FLOAT[op] : (type === "i32" ? SIGNED : UNSIGNED)[op];
  if (name === undefined) return false;
  // Every instruction that the tables name takes its operands from the stack alone.
  code.apply(type === "f32" ? f.f32x4[name as "add"] : f.i32x4[name as "add"], a, b)();
  return true;
}

function maskBinary(code: VectorCode, op: BinaryOp, a: Push, b: Push): boolean {
  const { f } = code;
  const onlyFirst = code.apply(f.v128.andnot, a, b);
  const onlySecond = code.apply(f.v128.andnot, b, a);
  const forms: Readonly<Partial<Record<BinaryOp, Push>>> = {
    equal: code.apply(f.i32x4.eq, a, b),
    notEqual: code.apply(f.v128.xor, a, b),
    less: onlySecond,
    greater: onlyFirst,
    lessEqual: code.apply(f.v128.not, onlyFirst),
    greaterEqual: code.apply(f.v128.not, onlySecond),
    max: code.apply(f.v128.or, a, b),
    min: code.apply(f.v128.and, a, b),
  };
  const form = forms[op];
  if (form === undefined) throw new TypeError(`Operation ${op} does not take bool`);
  form();
  return true;
}

/** Pushes `op(x)`; transcendental functions are elsewhere. `x` may be pushed more than once. */
export function vectorUnary(code: VectorCode, op: UnaryOp, type: ScalarType, x: Push): void {
  const { f } = code;
  if (op === "not") return code.apply(f.v128.not, x)();
  if (type !== "f32") return wholeUnary(code, op, type, x);
  switch (op) {
    case "neg":
    case "abs":
    case "sqrt":
    case "floor":
    case "ceil":
      return code.apply(f.f32x4[op], x)();
    case "round":
      return code.apply(f.f32x4.nearest, x)();
    case "rsqrt":
      return code.div(code.f32(1), code.apply(f.f32x4.sqrt, x))();
    case "reciprocal":
      return code.div(code.f32(1), x)();
    case "sign": {
      const one = code.or(code.and(x, code.f32(-0)), code.f32(1));
      const hasSign = code.apply(f.f32x4.gt, code.apply(f.f32x4.abs, x), code.f32(0));
      return code.choose(hasSign, one, x)();
    }
    default:
      throw new TypeError(`Operation ${op} has no vector form`);
  }
}

function wholeUnary(code: VectorCode, op: UnaryOp, type: ScalarType, x: Push): void {
  const { i32x4 } = code.f;
  const zero = code.i32(0);
  switch (op) {
    case "neg":
      return code.apply(i32x4.neg, x)();
    case "abs":
      return type === "i32" ? code.apply(i32x4.abs, x)() : x();
    case "sign": {
      if (type !== "i32") return code.and(code.apply(i32x4.ne, x, zero), code.i32(1))();
      const negative = code.apply(i32x4.lt_s, x, zero);
      return code.apply(i32x4.sub, negative, code.apply(i32x4.gt_s, x, zero))();
    }
    case "floor":
    case "ceil":
    case "round":
      return x();
    default:
      throw new TypeError(`Operation ${op} does not take ${type}`);
  }
}

/** Converts the vector on the stack by value. */
export function vectorCast(code: VectorCode, from: ScalarType, to: ScalarType): void {
  const { f32x4, i32x4, v128 } = code.f;
  if (from === to) return;
  if (from === "bool") {
    if (to !== "f32") return boolFromMask(code);
    code.f32(1)();
    return v128.and();
  }
  if (to === "bool") {
    if (from !== "f32") return maskFromBool(code);
    code.f32(0)();
    return f32x4.ne();
  }
  if (to === "f32") return from === "i32" ? f32x4.convert_i32x4_s() : f32x4.convert_i32x4_u();
  if (from === "f32") return to === "i32" ? i32x4.trunc_sat_f32x4_s() : i32x4.trunc_sat_f32x4_u();
}

/** Gives the 32 bits in every lane on the stack another type. */
export function vectorBitcast(code: VectorCode, from: ScalarType, to: ScalarType): void {
  if (from === "bool" && to !== "bool") boolFromMask(code);
  if (from !== "bool" && to === "bool") maskFromBool(code);
}
