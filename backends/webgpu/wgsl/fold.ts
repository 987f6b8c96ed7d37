/** Constant expressions, computed here: WGSL refuses to compile those that overflow. */
import type { Expr } from "../../../compiler/loop_ir.ts";
import { partsOf } from "../../../compiler/lower/expressions.ts";
import {
  binaryFunction,
  bitcastFunction,
  castFunction,
  threefry2x32,
  unaryFunction,
} from "../../reference/scalar_functions.ts";
import { roundToStorage } from "../../reference/storage.ts";

/** The expression's value where it is made of constants alone. */
export function constantValue(expr: Expr): number | undefined {
  if (expr.kind === "const") return expr.type === "f32" ? Math.fround(expr.value) : expr.value;
  if (expr.kind === "var" || expr.kind === "load") return undefined;
  const parts: number[] = [];
  for (const part of partsOf(expr)) {
    const value = constantValue(part);
    if (value === undefined) return undefined;
    parts.push(value);
  }
  const value = compute(expr, parts);
  return expr.type === "f32" ? Math.fround(value) : value;
}

function compute(expr: Expr, [a = NaN, b = NaN, c = NaN, d = NaN]: readonly number[]): number {
  switch (expr.kind) {
    case "unary":
      return unaryFunction(expr.op, expr.type)(a);
    case "binary":
      return binaryFunction(expr.op, expr.a.type)(a, b);
    case "select":
    case "guarded":
      return a !== 0 ? b : c;
    case "cast":
      return castFunction(expr.a.type, expr.type)(a);
    case "bitcast":
      return bitcastFunction(expr.a.type, expr.type)(a);
    case "roundTo":
      return roundToStorage(a, expr.storage);
    case "threefry": {
      const [first, second] = threefry2x32(a, b, c, d);
      if (expr.word === "xor") return (first ^ second) >>> 0;
      return expr.word === "first" ? first : second;
    }
    case "const":
    case "var":
    case "load":
      throw new TypeError(`A ${expr.kind} has no parts`);
  }
}
