/** How far fused f32 programs of whole ViTs are from the f64 reference. */
import { type Backend, wasm } from "../../backends/mod.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import * as g from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { classificationLoss, vit, vitVariant } from "../../models/mod.ts";
import { assert } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
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

/** Of all gradients as one vector: the project promises 1e-4. */
const WHOLE_TOLERANCE = 1e-5;
/** Of a parameter's gradient alone. */
const OWN_TOLERANCE = 1e-5;
/**
 * The same of queries and keys: what flows back to their scores is a difference of numbers that tokens, the
 * deeper the more alike, have in common. Rounding each op's result alone costs up to 8e-5 here.
 */
const SCORE_TOLERANCE = 5e-4;

/** The gradient of ViT-Ti/16's loss for an image, with values for what it takes. */
function tinyGradient() {
  const model = vit(vitVariant("Ti/16"));
  const specs = {
    parameters: model.parameterSpecs,
    images: g.spec("f32", [1, 224, 224, 3]),
    labels: g.spec("f32", [1, 1000]),
  };
  const graph = g.trace(specs, ({ parameters, images, labels }) => {
    const { logits } = model.apply(parameters, images);
    return gradients(classificationLoss("softmax", logits, labels), parameters);
  });
  const next = randomNumbers(1);
  const values = new Map([...graph.inputs].map(([path, node]) => [
    path,
    valueOf(path, staticShape(node.shape), next),
  ]));
  values.get("labels")?.data.fill(0).fill(1, 7, 8);
  return { ...graph, values };
}

let judged: ReturnType<typeof judge> | undefined;

/** The graph with what its outputs should be, found once for all backends. */
function judge() {
  const graph = tinyGradient();
  return { graph, expected: evaluateGraph(graph.outputs.values(), graph.values) };
}

async function checkGradients(backend: Backend, attention: "fused" | "auto"): Promise<void> {
  const { graph, expected } = judged ??= judge();
  const found = await runOn(backend, { ...graph, attention });
  let [total, difference] = [0, 0];
  const errors: (readonly [path: string, error: number, allowed: number])[] = [];
  for (const [path, node] of graph.outputs) {
    const wanted = expected.get(node)?.data ?? new Float64Array();
    const [error, size] = [distance(found.get(path) ?? [], wanted), norm(wanted)];
    total += size ** 2;
    difference += error ** 2;
    // To a bias of the keys softmax is blind: what it has of a gradient is rounding.
    if (path.endsWith("key/bias")) continue;
    const isOfScores = /attention\/(query|key)\//.test(path);
    errors.push([path, error / size, isOfScores ? SCORE_TOLERANCE : OWN_TOLERANCE]);
  }
  const whole = Math.sqrt(difference / total);
  assert(whole < WHOLE_TOLERANCE, `all gradients are off by ${whole} of their norm`);
  for (const [path, error, allowed] of errors) {
    assert(error < allowed, `${path} is off by ${error} of its norm, allowed is ${allowed}`);
  }
}

for (const attention of ["auto", "fused"] as const) {
  Deno.test(`ViT-Ti/16 on WASM: all gradients are near the f64 reference's, attention ${attention}`, async () => {
    await checkGradients(wasm(), attention);
  });
  gpuTest(
    `ViT-Ti/16 on WebGPU: all gradients are near the f64 reference's, attention ${attention}`,
    async (backend) => {
      await checkGradients(backend, attention);
    },
  );
}
