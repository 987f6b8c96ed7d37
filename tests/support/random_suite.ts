/** Random graphs on a backend against the f64 reference. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { staticShape } from "../../graph/shape.ts";
import { assert } from "./assert.ts";
import { evaluateWithNoise } from "./f32_noise.ts";
import fc from "./fast_check.ts";
import {
  buildGraph,
  type GraphRecipe,
  type RandomGraph,
  recipes,
  relativeError,
} from "./random_graphs.ts";
import type { RunnableGraph } from "./run_graph.ts";

/** f32 rounding through up to 20 ops that hardly amplify it. */
const TOLERANCE = 2e-5;
/** Kernels round at other places than the graph's nodes do, and more often. */
const MARGIN = 20;

/** Runs a graph and gives its outputs by path. */
export type RunGraph = (graph: RunnableGraph) => Promise<Map<string, Float64Array>>;

function valuesOf(graph: RandomGraph): Map<string, ReferenceTensor> {
  return new Map([...graph.inputs].map(([path, node]) => [path, {
    dtype: node.dtype,
    shape: staticShape(node.shape),
    data: Float64Array.from(graph.values.get(path) ?? []),
  }]));
}

async function checkGraph(
  run: RunGraph,
  graph: RandomGraph,
  outputs: ReadonlyMap<string, Node>,
): Promise<void> {
  const values = valuesOf(graph);
  const found = await run({ inputs: graph.inputs, outputs, values });
  const expected = evaluateGraph(outputs.values(), values);
  const noisy = [1, 2].map((seed) => evaluateWithNoise(outputs.values(), values, seed));
  for (const [path, node] of outputs) {
    const wanted = expected.get(node)?.data ?? [];
    const error = relativeError(found.get(path) ?? [], wanted);
    const noise = noisy.map((values) => relativeError(values.get(node) ?? [], wanted));
    const allowed = TOLERANCE + MARGIN * Math.max(...noise);
    assert(error < allowed, `Output "${path}" is off by ${error}, allowed is ${allowed}`);
  }
}

function lossGradients(graph: RandomGraph): Map<string, Node> {
  const losses = [...graph.outputs.values()].map((node) => g.mean(g.sin(node)));
  const loss = losses.reduce((a, b) => g.add(a, b));
  const found = gradients(loss, Object.fromEntries(graph.inputs));
  return new Map(Object.entries({ loss, ...found }));
}

/** Adds the three tests: f32 graphs, graphs of all element types, and gradients. */
export function randomGraphTests(
  device: string,
  run: RunGraph,
  runs: { readonly f32: number; readonly mixed: number; readonly gradients: number },
  add: (name: string, test: () => Promise<void>) => void = Deno.test,
): void {
  const addTest = (
    name: string,
    numRuns: number,
    recipe: fc.Arbitrary<GraphRecipe>,
    outputsOf: (graph: RandomGraph) => ReadonlyMap<string, Node>,
  ) =>
    add(`${name} on ${device}`, () =>
      fc.assert(
        fc.asyncProperty(recipe, async (recipe) => {
          const graph = buildGraph(recipe);
          await checkGraph(run, graph, outputsOf(graph));
        }),
        { numRuns },
      ));
  addTest("random graphs", runs.f32, recipes(20), ({ outputs }) => outputs);
  addTest(
    "random graphs of all element types",
    runs.mixed,
    recipes(20, "mixed"),
    ({ outputs }) => outputs,
  );
  addTest("gradients of random graphs", runs.gradients, recipes(10, "steady"), lossGradients);
}
