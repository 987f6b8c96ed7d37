/** The same statements over buffers with other numbers. */
import type { Expr, Statement } from "../loop_ir.ts";

/** Gives the buffers in statements other numbers, sharing what was shared. */
export function renumberBuffers(
  statements: readonly Statement[],
  number: (buffer: number) => number,
): Statement[] {
  const memo = new Map<Expr, Expr>();
  const rename = (expr: Expr): Expr => {
    const known = memo.get(expr);
    if (known !== undefined) return known;
    const made = mapBuffers(expr, number, rename);
    memo.set(expr, made);
    return made;
  };
  return statements.map((statement) => renumberStatement(statement, number, rename));
}

function mapBuffers(
  expr: Expr,
  number: (buffer: number) => number,
  recur: (expr: Expr) => Expr,
): Expr {
  switch (expr.kind) {
    case "const":
    case "var":
      return expr;
    case "load":
      return { ...expr, buffer: number(expr.buffer), index: recur(expr.index) };
    case "unary":
    case "cast":
    case "bitcast":
    case "roundTo":
      return { ...expr, a: recur(expr.a) };
    case "binary":
      return { ...expr, a: recur(expr.a), b: recur(expr.b) };
    case "select":
    case "guarded":
      return { ...expr, condition: recur(expr.condition), a: recur(expr.a), b: recur(expr.b) };
    case "threefry":
      return {
        ...expr,
        key0: recur(expr.key0),
        key1: recur(expr.key1),
        counter0: recur(expr.counter0),
        counter1: recur(expr.counter1),
      };
  }
}

function renumberStatement(
  statement: Statement,
  number: (buffer: number) => number,
  rename: (expr: Expr) => Expr,
): Statement {
  const inner = (body: readonly Statement[]) =>
    body.map((child) => renumberStatement(child, number, rename));
  switch (statement.kind) {
    case "let":
      return { ...statement, value: rename(statement.value) };
    case "store":
    case "accumulate":
      return {
        ...statement,
        buffer: number(statement.buffer),
        index: rename(statement.index),
        value: rename(statement.value),
      };
    case "loop":
      return { ...statement, body: inner(statement.body) };
    case "reduce":
      return {
        ...statement,
        body: inner(statement.body),
        accumulators: statement.accumulators.map((accumulator) => ({
          ...accumulator,
          value: rename(accumulator.value),
        })),
      };
  }
}
