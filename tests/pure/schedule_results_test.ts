/** Graphs whose structure is easy to schedule wrongly: each against the reference. */
import * as g from "../../graph/mod.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";

Deno.test("attention over the same queries and keys with different values is several kernels", () => {
  const q = g.input("q", "f32", [4, 3]);
  const k = g.input("k", "f32", [5, 3]);
  const v = g.input("v", "f32", [5, 2]);
  const other = g.input("other", "f32", [5, 6]);
  assertLowersRight({ a: g.attention(q, k, v), b: g.attention(q, k, other) });
  assertLowersRight({ a: g.attention(q, k, v), b: g.attention(q, k, g.tanh(v)) });
});
