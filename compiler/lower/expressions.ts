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

/** Numbers expressions: equal ones, whatever object they are, get equal numbers. */
export class ExpressionNumbers {
  readonly #numbers = new Map<Expr, number>();
  readonly #byText = new Map<string, number>();

  /** The expression's number. */
  of(expr: Expr): number {
    const known = this.#numbers.get(expr);
    if (known !== undefined) return known;
    const own = Object.entries(expr).filter(([, value]) => typeof value !== "object");
    const parts = partsOf(expr).map((part) => this.of(part));
    const text = `${own.map(([name, value]) => `${name}=${textOf(value)}`).join()}(${parts})`;
    const number = this.#byText.get(text) ?? this.#byText.size;
    this.#byText.set(text, number);
    this.#numbers.set(expr, number);
    return number;
  }
}

function textOf(value: unknown): string {
  return Object.is(value, -0) ? "-0" : String(value);
}
