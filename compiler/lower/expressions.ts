/** Walking and rewriting loop IR. */
import type { Expr, LoopRange, Statement } from "../loop_ir.ts";

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

/** The expression with other ones directly inside it. */
export function withParts(expr: Expr, part: (inner: Expr) => Expr): Expr {
  switch (expr.kind) {
    case "const":
    case "var":
      return { ...expr };
    case "load":
      return { ...expr, index: part(expr.index) };
    case "unary":
    case "cast":
    case "bitcast":
    case "roundTo":
      return { ...expr, a: part(expr.a) };
    case "binary":
      return { ...expr, a: part(expr.a), b: part(expr.b) };
    case "select":
    case "guarded":
      return { ...expr, condition: part(expr.condition), a: part(expr.a), b: part(expr.b) };
    case "threefry":
      return {
        ...expr,
        key0: part(expr.key0),
        key1: part(expr.key1),
        counter0: part(expr.counter0),
        counter1: part(expr.counter1),
      };
  }
}

/** What takes the place of expressions and of buffers' numbers in statements. */
export interface Replacement {
  /** For a whole expression, such as a value or a bound; it sees to what is inside. */
  readonly expr: (expr: Expr) => Expr;
  readonly buffer?: (buffer: number) => number;
}

/** The statements with other expressions and buffers. */
export function mapStatements(
  statements: readonly Statement[],
  replace: Replacement,
): Statement[] {
  return statements.map((statement) => mapStatement(statement, replace));
}

function mapStatement(statement: Statement, replace: Replacement): Statement {
  const { expr, buffer = (number) => number } = replace;
  const range = ({ variable, start, end }: LoopRange): LoopRange => ({
    variable,
    start: expr(start),
    end: expr(end),
  });
  switch (statement.kind) {
    case "let":
      return { ...statement, value: expr(statement.value) };
    case "store":
    case "accumulate":
      return {
        ...statement,
        buffer: buffer(statement.buffer),
        index: expr(statement.index),
        value: expr(statement.value),
      };
    case "loop":
      return {
        ...statement,
        range: range(statement.range),
        body: mapStatements(statement.body, replace),
      };
    case "reduce":
      return {
        ...statement,
        ranges: statement.ranges.map(range),
        body: mapStatements(statement.body, replace),
        accumulators: statement.accumulators.map((accumulator) => ({
          ...accumulator,
          value: expr(accumulator.value),
        })),
      };
  }
}

/** A rewriting of expressions that keeps shared ones shared; `rewrite` gets itself for the parts. */
export function sharedRewrite(
  rewrite: (expr: Expr, recur: (part: Expr) => Expr) => Expr,
): (expr: Expr) => Expr {
  const made = new Map<Expr, Expr>();
  const recur = (expr: Expr): Expr => {
    const known = made.get(expr);
    if (known !== undefined) return known;
    const result = rewrite(expr, recur);
    made.set(expr, result);
    return result;
  };
  return recur;
}

/** The expressions that stand directly in a statement. */
export function rootsOf(statement: Statement): Expr[] {
  switch (statement.kind) {
    case "let":
      return [statement.value];
    case "store":
    case "accumulate":
      return [statement.index, statement.value];
    case "loop":
      return [statement.range.start, statement.range.end];
    case "reduce":
      return [
        ...statement.ranges.flatMap(({ start, end }) => [start, end]),
        ...statement.accumulators.map(({ value }) => value),
      ];
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
