/** How far the fused f32 program of a whole ViT-B/16 is from the f64 reference. */
import { wasm } from "../../backends/mod.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import * as g from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { vit, vitVariant } from "../../models/mod.ts";
import { assert } from "../support/assert.ts";
import { runOn } from "../support/run_graph.ts";
import { distance, norm } from "./golden_vit.ts";

/** Norm-wise, relative: what the project promises of f32. */
const TOLERANCE = 2e-5;

/** Numbers in [-1, 1) from a linear congruential generator (Numerical Recipes). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** A parameter's value: kernels keep variances, scales are near 1, the rest is small. */
function valueOf(path: string, shape: readonly number[], next: () => number): ReferenceTensor {
  const data = new Float64Array(staticSize(shape));
  const isMixing = path.endsWith("out/kernel") || path.endsWith("patch/kernel");
  const fanIn = isMixing ? data.length / (shape.at(-1) ?? 1) : shape[0] ?? 1;
  const spread = path.endsWith("kernel") ? Math.sqrt(3 / fanIn) : 0.2;
  const middle = path.endsWith("scale") ? 1 : 0;
  for (let at = 0; at < data.length; at++) data[at] = Math.fround(middle + spread * next());
  return { dtype: "f32", shape, data };
}

Deno.test("ViT-B/16 on WASM: logits and every block are near the f64 reference's", async () => {
  const model = vit(vitVariant("B/16"));
  const specs = { parameters: model.parameterSpecs, images: g.spec("f32", [1, 224, 224, 3]) };
  const graph = g.trace(specs, ({ parameters, images }) => {
    const { logits, taps } = model.apply(parameters, images);
    const blocks = [...taps].filter(([name]) => /^encoder\/\d+\/\+mlp$/.test(name));
    return { logits, blocks: blocks.map(([, value]) => value) };
  });
  const next = randomNumbers(1);
  const values = new Map([...graph.inputs].map(([path, node]) => [
    path,
    valueOf(path, staticShape(node.shape), next),
  ]));
  const expected = evaluateGraph(graph.outputs.values(), values);
  const found = await runOn(wasm(), { ...graph, values });
  for (const [path, node] of graph.outputs) {
    const wanted = expected.get(node)?.data ?? new Float64Array();
    const error = distance(found.get(path) ?? [], wanted) / norm(wanted);
    assert(error < TOLERANCE, `${path} is off by ${error} of its norm`);
  }
});
