/** Graphs whose structure is easy to schedule wrongly: each against the reference. */
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import { assertStringIncludes } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import { printSteps } from "../support/lowered.ts";

Deno.test("attention over the same queries and keys with different values is several kernels", () => {
  const q = g.input("q", "f32", [4, 3]);
  const k = g.input("k", "f32", [5, 3]);
  const v = g.input("v", "f32", [5, 2]);
  const other = g.input("other", "f32", [5, 6]);
  assertLowersRight({ a: g.attention(q, k, v), b: g.attention(q, k, other) });
  assertLowersRight({ a: g.attention(q, k, v), b: g.attention(q, k, g.tanh(v)) });
});

Deno.test("one index picks from axes of several sizes, each with its own last place", () => {
  const x = g.input("x", "f32", [5, 3]);
  const one = g.input("one", "i32", [1]);
  assertLowersRight({ y: g.gather(g.gather(x, one, 0), one, 1) }, { one: [4] });
  const picks = g.input("picks", "i32", [3]);
  const part = g.slice(x, [0, 0], [3, 3]);
  assertLowersRight({ y: g.add(g.gather(x, picks), g.gather(part, picks)) }, { picks: [4, -3, 1] });
});

Deno.test("outputs that show a donated input show it as it was", () => {
  const a = g.input("a", "f32", [3]);
  const b = g.input("b", "f32", [3]);
  const donate = { a: "a" };
  assertLowersRight({ a: g.add(a, 1), old: a }, {}, { donate });
  assertLowersRight({ old: a, a: g.add(a, 1), again: a, turned: g.reverse(a) }, {}, { donate });
  const both = { a: "a", b: "b" };
  assertLowersRight({ a: b, b: a, first: a, second: b }, {}, { donate: both });
  assertLowersRight({ a: b, b: g.mul(a, b), old: b }, {}, { donate: both });
  assertLowersRight({ a, b: g.add(b, a), old: b, same: a }, {}, { donate: both });
});

Deno.test("attention without keys, queries or columns", () => {
  const sizes = [[4, 0, 3, 2], [0, 5, 3, 2], [4, 5, 0, 2], [4, 5, 3, 0], [4, 0, 0, 0]] as const;
  for (const [queries, keys, depth, columns] of sizes) {
    const q = g.input("q", "f32", [queries, depth]);
    const k = g.input("k", "f32", [keys, depth]);
    const v = g.input("v", "f32", [keys, columns]);
    const y = g.attention(q, k, v, { scale: 0.5 });
    const loss = g.sum(g.sin(y));
    assertLowersRight({ y, loss, ...gradients(loss, { q, k, v }) });
  }
});

Deno.test("argmax passes NaN over, in rows and in columns", () => {
  const x = g.input("x", "f32", [4, 3]);
  const values = [1, NaN, 2, NaN, NaN, NaN, -Infinity, -Infinity, -Infinity, -1, -1, NaN];
  assertLowersRight({ rows: g.argmax(x), columns: g.argmax(x, 0), all: g.sum(x, 0) }, {
    x: values,
  });
});

Deno.test("kernels that differ only in the type of whole numbers are not shared", () => {
  const c = g.input("c", "bool", [4]);
  const minus = (dtype: "i32" | "u32") => {
    const whole = (value: number) => g.constant(value, { dtype });
    return g.cast(g.sub(whole(0), g.select(c, whole(5), whole(6))), "f32");
  };
  assertLowersRight({ i32: minus("i32"), u32: minus("u32") });
});

Deno.test("a dim's size may be all that a graph reads of it", () => {
  assertLowersRight({ y: g.mul(g.dimSize(g.dim("batch")), 2) }, {}, { bind: { batch: 7 } });
});

Deno.test("maps that one op reads are not brought together round a third that needs one", () => {
  const x = g.input("x", "f32", [4, 3]);
  const heavy = g.tanh(g.input("y", "f32", [4, 3]));
  const total = g.broadcastTo(g.sum(heavy, 0), [4, 3]);
  assertLowersRight({ y: g.select(g.greater(x, 0), heavy, total) });
});

Deno.test("patches are moved in runs as long as they are in memory", () => {
  const images = g.input("images", "f32", [2, 8, 12, 3]);
  const split = g.reshape(images, [2, 2, 4, 3, 4, 3]);
  const patches = g.reshape(g.transpose(split, [0, 1, 3, 2, 4, 5]), [2, 6, 48]);
  const program = assertLowersRight({ patches: g.mul(patches, 2) });
  assertStringIncludes(printSteps(program), "vector loop c in 0..12");
});
