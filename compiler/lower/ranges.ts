/** Small loop IR expressions for loop bounds. */
import { integerConstant } from "../index_expr.ts";
import type { BinaryOp, Expr, LoopRange } from "../loop_ir.ts";

/** An i32 variable. */
export function variable(name: string): Expr {
  return { kind: "var", type: "i32", name };
}

/** An i32 operation. */
export function integerBinary(op: BinaryOp, a: Expr, b: Expr): Expr {
  return { kind: "binary", op, type: "i32", a, b };
}

/** From 0 to `extent`. */
export function wholeRange(name: string, extent: number): LoopRange {
  return { variable: name, start: integerConstant(0), end: integerConstant(extent) };
}

/** The block of `size` that unit `unit` has of `0..total`; the last one may be shorter. */
export function blockedRange(name: string, unit: string, size: number, total: number): LoopRange {
  const start = integerBinary("mul", variable(unit), integerConstant(size));
  const end = integerBinary("add", start, integerConstant(size));
  return {
    variable: name,
    start,
    end: total % size === 0 ? end : integerBinary("min", end, integerConstant(total)),
  };
}

/** A computed place, moved into `0..extent-1` where it lies outside. */
export function clampedIndex(place: Expr, extent: number): Expr {
  const notBelow = integerBinary("max", place, integerConstant(0));
  return integerBinary("min", notBelow, integerConstant(extent - 1));
}
