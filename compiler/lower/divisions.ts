/** What index arithmetic costs in inner loops: how layouts are compared. */
import type { Expr, Kernel, Statement } from "../loop_ir.ts";
import { partsOf } from "./expressions.ts";

/** How many divisions by loop variables whose name matches there are in the kernel's loops. */
export function innermostDivisions(kernel: Kernel, variables: RegExp): number {
  if (kernel.kind !== "loops") return 0;
  const counts = new Map<Expr, { divisions: number; varies: boolean }>();
  const measure = (expr: Expr): { divisions: number; varies: boolean } => {
    const known = counts.get(expr);
    if (known !== undefined) return { divisions: 0, varies: known.varies };
    let divisions = 0;
    let varies = expr.kind === "var" && variables.test(expr.name);
    for (const part of partsOf(expr)) {
      const inner = measure(part);
      divisions += inner.divisions;
      varies ||= inner.varies;
    }
    const divides = expr.kind === "binary" && expr.type === "i32" &&
      (expr.op === "div" || expr.op === "rem");
    const counted = { divisions: divisions + (divides && varies ? 1 : 0), varies };
    counts.set(expr, counted);
    return counted;
  };
  const visit = (statements: readonly Statement[]): number =>
    statements.reduce((total, statement) => total + countIn(statement, measure, visit), 0);
  return visit(kernel.body);
}

function countIn(
  statement: Statement,
  measure: (expr: Expr) => { divisions: number },
  visit: (statements: readonly Statement[]) => number,
): number {
  switch (statement.kind) {
    case "let":
      return measure(statement.value).divisions;
    case "store":
    case "accumulate":
      return measure(statement.index).divisions + measure(statement.value).divisions;
    case "loop":
      return visit(statement.body);
    case "reduce":
      return visit(statement.body) + statement.accumulators.reduce(
        (total, accumulator) => total + measure(accumulator.value).divisions,
        0,
      );
  }
}
