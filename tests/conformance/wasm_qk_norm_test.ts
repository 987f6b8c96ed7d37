/** QK-norm and attention on WASM in all their forms, against the reference. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { wasm } from "../../backends/wasm/backend.ts";
import type { Node } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { assert, assertEquals } from "../support/assert.ts";
import fc from "../support/fast_check.ts";
import { moduleOf } from "../support/lowered.ts";
import {
  type QkNormForm,
  qkNormForms,
  qkNormGraph,
  trainedBlocks,
  withGradients,
} from "../support/qk_norm_graphs.ts";
import { relativeError } from "../support/random_graphs.ts";
import { type RunnableGraph, runOn } from "../support/run_graph.ts";

/** Of each result's norm: twice what was seen at most, where a sum of hundreds of rows cancels. */
const TOLERANCE = 1e-5;

const OFF = { off: ["fold_qk_norm"] } as const;

/** A graph of these outputs, with numbers for its inputs: scales are around 1. */
function runnable(nodes: Record<string, Node>): RunnableGraph {
  const { inputs, outputs } = moduleOf(nodes);
  let state = 1;
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  const values = new Map([...inputs].map(([path, { dtype, shape: dims }]) => {
    const shape = staticShape(dims);
    const isScale = path.toLowerCase().endsWith("scale");
    const data = Float64Array.from(
      { length: staticSize(shape) },
      () => Math.fround((isScale ? 1 : 0) + uniform() / 2),
    );
    return [path, { dtype, shape, data }];
  }));
  return { inputs, outputs, values };
}

async function check(graph: RunnableGraph): Promise<void> {
  const expected = evaluateGraph(graph.outputs.values(), graph.values);
  const fused = { ...graph, attention: "fused" } as const;
  const ways: Record<string, RunnableGraph> = {
    folded: fused,
    apart: { ...fused, fusion: OFF },
    plain: { ...graph, attention: "plain" },
  };
  for (const relaxedSimd of [true, false]) {
    for (const [way, runnable] of Object.entries(ways)) {
      const found = await runOn(wasm({ threads: 1, relaxedSimd }), runnable);
      assertEquals(await runOn(wasm({ threads: 2, relaxedSimd }), runnable), found);
      for (const [path, node] of graph.outputs) {
        const error = relativeError(found.get(path) ?? [], expected.get(node)?.data ?? []);
        assert(error < TOLERANCE, `${path}, ${way}: off by ${error}`);
      }
    }
  }
}

function checkForm(form: QkNormForm): Promise<void> {
  return check(runnable(withGradients(qkNormGraph(form))));
}

Deno.test("QK-norm on WASM: random graphs, folded, apart and plain, forward and gradient", async () => {
  await fc.assert(fc.asyncProperty(qkNormForms, checkForm), { numRuns: 30 });
});

const NORM = { center: true, scale: true, bias: false };

const LARGE: readonly QkNormForm[] = [
  // One tile of keys, a few blocks of queries; fewer batch entries than make units of their own.
  { batch: [2], queries: 197, keys: 197, depth: 38, valueDepth: 38, isSelf: true },
  // Many tiles of keys.
  { batch: [1, 1], queries: 75, keys: 700, depth: 64, valueDepth: 32, isSelf: false },
  // The attention pooling's single query; enough entries for units of their own.
  { batch: [2, 3], queries: 1, keys: 141, depth: 123, valueDepth: 16, isSelf: false },
].map((form) => ({ ...form, query: { ...NORM, bias: true }, key: NORM, headsInside: true }));

for (const form of LARGE) {
  const { batch, queries, keys, depth } = form;
  Deno.test(
    `QK-norm on WASM: [${batch}] entries, ${queries} queries, ${keys} keys of ${depth} columns`,
    () => checkForm(form),
  );
}

Deno.test("QK-norm on WASM: ViT-22B's blocks, loss and gradients", () => {
  return check(runnable(trainedBlocks(2, 8)));
});
