/** Random graphs on WASM: against the f64 reference, and the same bits with any thread count. */
import fc from "../support/fast_check.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { staticShape } from "../../graph/shape.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { evaluateWithNoise } from "../support/f32_noise.ts";
import { buildGraph, type RandomGraph, recipes, relativeError } from "../support/random_graphs.ts";
import { runOnWasm } from "../support/run_wasm.ts";

/** f32 rounding through up to 20 ops that hardly amplify it. */
const TOLERANCE = 2e-5;
/** Kernels round at other places than the graph's nodes do, and more often. */
const MARGIN = 20;

function valuesOf(graph: RandomGraph): Map<string, ReferenceTensor> {
  return new Map([...graph.inputs].map(([path, node]) => [path, {
    dtype: node.dtype,
    shape: staticShape(node.shape),
    data: Float64Array.from(graph.values.get(path) ?? []),
  }]));
}

async function checkGraph(graph: RandomGraph, outputs: ReadonlyMap<string, Node>): Promise<void> {
  const values = valuesOf(graph);
  const runnable = { inputs: graph.inputs, outputs, values };
  const one = await runOnWasm(runnable, { threads: 1 });
  const two = await runOnWasm(runnable, { threads: 2 });
  assertEquals(two, one);
  const expected = evaluateGraph(outputs.values(), values);
  const noisy = [1, 2].map((seed) => evaluateWithNoise(outputs.values(), values, seed));
  for (const [path, node] of outputs) {
    const wanted = expected.get(node)?.data ?? [];
    const error = relativeError(one.get(path) ?? [], wanted);
    const noise = noisy.map((found) => relativeError(found.get(node) ?? [], wanted));
    const allowed = TOLERANCE + MARGIN * Math.max(...noise);
    assert(error < allowed, `Output "${path}" is off by ${error}, allowed is ${allowed}`);
  }
}

Deno.test("random graphs on WASM", async () => {
  await fc.assert(
    fc.asyncProperty(recipes(20), async (recipe) => {
      const graph = buildGraph(recipe);
      await checkGraph(graph, graph.outputs);
    }),
    { numRuns: 150 },
  );
});

Deno.test("random graphs of all element types on WASM", async () => {
  await fc.assert(
    fc.asyncProperty(recipes(20, "mixed"), async (recipe) => {
      const graph = buildGraph(recipe);
      await checkGraph(graph, graph.outputs);
    }),
    { numRuns: 100 },
  );
});

Deno.test("gradients of random graphs on WASM", async () => {
  await fc.assert(
    fc.asyncProperty(recipes(10, "steady"), async (recipe) => {
      const graph = buildGraph(recipe);
      const losses = [...graph.outputs.values()].map((node) => g.mean(g.sin(node)));
      const loss = losses.reduce((a, b) => g.add(a, b));
      const found = gradients(loss, Object.fromEntries(graph.inputs));
      await checkGraph(graph, new Map(Object.entries({ loss, ...found })));
    }),
    { numRuns: 100 },
  );
});
