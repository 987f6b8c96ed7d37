import fc from "../support/fast_check.ts";
import { flatten, Index, unflatten } from "../../compiler/index_expr.ts";
import { visitExpressions } from "../../compiler/lower/expressions.ts";
import type { Expr } from "../../compiler/loop_ir.ts";
import { assert, assertEquals } from "../support/assert.ts";

function evaluate(expr: Expr, variables: ReadonlyMap<string, number>): number {
  if (expr.kind === "const") return expr.value;
  if (expr.kind === "var") return variables.get(expr.name) ?? NaN;
  if (expr.kind !== "binary") throw new TypeError(`No ${expr.kind} in an index`);
  const a = evaluate(expr.a, variables);
  const b = evaluate(expr.b, variables);
  switch (expr.op) {
    case "add":
      return a + b;
    case "mul":
      return a * b;
    case "div":
      return Math.floor(a / b);
    case "rem":
      return a % b;
    default:
      throw new TypeError(`No ${expr.op} in an index`);
  }
}

Deno.test("flattening what was unflattened gives the index back, without divisions", () => {
  const shapes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });
  fc.assert(fc.property(shapes, shapes, (rows, columns) => {
    const shape = [...rows, ...columns];
    const size = (axes: readonly number[]) => axes.reduce((a, b) => a * b, 1);
    const flat = Index.variable("r", size(rows)).scale(size(columns))
      .add(Index.variable("c", size(columns)));
    assertEquals(flatten(unflatten(flat, shape), shape).key, flat.key);
  }));
});

Deno.test("quotients and remainders of an index have the value that they should", () => {
  const factor = fc.integer({ min: 1, max: 12 });
  fc.assert(fc.property(factor, factor, factor, factor, factor, (a, b, extent, by, then) => {
    const index = Index.variable("x", extent).scale(a).add(Index.variable("y", 5).scale(b));
    const made = index.quotient(by).scale(then).add(index.remainder(by)).offset(3);
    for (let x = 0; x < extent; x++) {
      for (let y = 0; y < 5; y++) {
        const value = a * x + b * y;
        const wanted = Math.floor(value / by) * then + value % by + 3;
        const variables = new Map([["x", x], ["y", y]]);
        assertEquals(evaluate(made.toExpr(), variables), wanted);
        const [low, high] = made.range();
        assertEquals(low <= wanted && wanted <= high, true);
      }
    }
  }));
});

Deno.test("a merged axis splits into its parts without divisions", () => {
  const rows = Index.variable("r", 197).scale(64).add(Index.variable("c", 64));
  assertEquals(unflatten(rows, [197, 64]).map((index) => index.key), ["1*r+0", "1*c+0"]);
  assertEquals(unflatten(rows, [197, 4, 16]).map((index) => index.divisions()), [0, 1, 1]);
});

Deno.test("strides are known where they are constant", () => {
  const x = Index.variable("x", 10);
  const index = x.scale(6).add(Index.variable("y", 6));
  assertEquals(index.stride("x"), 6);
  assertEquals(index.stride("z"), 0);
  assertEquals(x.quotient(3).stride("x"), undefined);
});

Deno.test("reshapes that do not fit each other make an index longer, not exponentially long", () => {
  let indices = [Index.variable("r", 12), Index.variable("c", 8)];
  for (let round = 0; round < 40; round++) {
    const [row = Index.constant(0), column = Index.constant(0)] = indices;
    indices = unflatten(flatten([column, row], [8, 12]), [12, 8]);
  }
  const expressions = new Set<Expr>();
  visitExpressions(indices.map((index) => index.toExpr()), (expr) => expressions.add(expr));
  assert(expressions.size < 1000, `${expressions.size} expressions`);
  assert(indices.every((index) => index.key.length < 100), indices[0]?.key);
});
