/** Attention alone, as a graph: what its forms cost is measured with it. */
import * as g from "../graph/mod.ts";
import type { AttentionSizes } from "./attention_costs.ts";
import { gradients } from "./autodiff.ts";
import type { GraphModule } from "./module.ts";

/** Attention of `[entries, rows, columns]` in f32, with the gradients of all operands where it is trained. */
export function attentionGraph(sizes: AttentionSizes): GraphModule {
  const { entries, queries, keys, depth, valueDepth, isTrained } = sizes;
  const q = g.input("q", "f32", [entries, queries, depth]);
  const k = g.input("k", "f32", [entries, keys, depth]);
  const v = g.input("v", "f32", [entries, keys, valueDepth]);
  const cotangent = g.input("cotangent", "f32", [entries, queries, valueDepth]);
  const y = g.attention(q, k, v);
  const slopes = isTrained ? gradients(g.sum(g.mul(y, cotangent)), { q, k, v }) : {};
  return {
    inputs: new Map<string, g.Node>(Object.entries({ q, k, v, cotangent })),
    outputs: new Map<string, g.Node>(Object.entries({ y, ...slopes })),
  };
}
