/** Walking loop IR expressions. */
import type { Expr } from "../loop_ir.ts";

/** The expressions directly inside one. */
export function partsOf(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case "const":
    case "var":
      return [];
    case "load":
      return [expr.index];
    case "unary":
    case "cast":
    case "bitcast":
    case "roundTo":
      return [expr.a];
    case "binary":
      return [expr.a, expr.b];
    case "select":
    case "guarded":
      return [expr.condition, expr.a, expr.b];
    case "threefry":
      return [expr.key0, expr.key1, expr.counter0, expr.counter1];
  }
}

/** Calls `visit` once for every distinct expression under the roots. */
export function visitExpressions(roots: Iterable<Expr>, visit: (expr: Expr) => void): void {
  const seen = new Set<Expr>();
  const stack = [...roots];
  for (let expr = stack.pop(); expr !== undefined; expr = stack.pop()) {
    if (seen.has(expr)) continue;
    seen.add(expr);
    visit(expr);
    stack.push(...partsOf(expr));
  }
}
