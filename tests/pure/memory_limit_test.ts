import fc from "../support/fast_check.ts";
import { compile, reference, wasm } from "../../backends/mod.ts";
import { gradients } from "../../compiler/mod.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Tensor } from "../../graph/mod.ts";
import { adam, trainingStep, vit } from "../../models/mod.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";
import { lowered } from "../support/lowered.ts";
import { randomTensor } from "../support/op_case.ts";
import { buildGraph, recipes, relativeError } from "../support/random_graphs.ts";

/** A training step of a small ViT whose activations take most of its memory. */
const step = trainingStep({
  model: vit({
    imageSize: 16,
    patchSize: 2,
    channels: 1,
    width: 16,
    depth: 4,
    heads: 2,
    mlpWidth: 64,
    classes: 3,
  }),
  optimizer: adam({ schedule: { kind: "constant", learningRate: 1e-3 }, clipNorm: 1 }),
});
const BATCH = { batch: 2 };
const TARGET = { alignment: 64 };

function stepIn(memoryLimit?: number): Program {
  const donate = { state: "state" };
  return lowerGraph(step, { bind: BATCH, donate, target: TARGET, memoryLimit });
}

/** The number in the message of the error that a limit of one byte gives. */
function smallestLimit(attempt: () => unknown): number {
  const { message } = assertThrows(attempt, RangeError, "would work is");
  return Number(/smallest memoryLimit that would work is (\d+)/.exec(message)?.[1]);
}

Deno.test("a limit that the program keeps to anyway changes nothing", () => {
  const plain = stepIn();
  const limited = stepIn(plain.arenaBytes);
  assertEquals(limited.steps.length, plain.steps.length);
  assertEquals(limited.recomputed, { flops: 0, fraction: 0, regions: [] });
});

Deno.test("the lower the limit, the more is recomputed, down to the limit that the error names", () => {
  const { arenaBytes } = stepIn();
  const smallest = smallestLimit(() => stepIn(1));
  assert(smallest < 0.55 * arenaBytes, `${smallest} of ${arenaBytes}`);
  let flops = 0;
  for (const share of [0.8, 0.4, 0]) {
    const limit = Math.ceil(smallest + share * (arenaBytes - smallest));
    const { arenaBytes: taken, recomputed } = stepIn(limit);
    assert(taken <= limit, `${taken} bytes in ${limit}`);
    assert(recomputed.flops >= flops, `${recomputed.flops} FLOPs in ${limit}, ${flops} in more`);
    flops = recomputed.flops;
    const parts = recomputed.regions.reduce((total, region) => total + region.flops, 0);
    assertEquals(parts, recomputed.flops);
    assert(recomputed.regions.some(({ name }) => /^encoder\/\d$/.test(name)));
    assert(recomputed.fraction < 1 / 3, `${recomputed.fraction} of the FLOPs`);
  }
  assertEquals(smallestLimit(() => stepIn(smallest - 1)), smallest);
});

Deno.test("a ViT's training step in the least memory is the same step", () => {
  const programs = [stepIn(), stepIn(smallestLimit(() => stepIn(1)))].map((program) =>
    new InterpretedProgram(program)
  );
  [...step.inputs].forEach(([path, { dtype, shape }], at) => {
    const sizes = shape.map((size) => typeof size === "number" ? size : BATCH.batch);
    const domain = path.startsWith("state/optimizer") ? "fraction" : "unit";
    const { data } = randomTensor(dtype, sizes, domain, 2, at);
    if (path === "labels") data.set([1, 2]);
    if (path === "state/step") data.set([3]);
    for (const program of programs) program.write(path, data);
  });
  for (const program of programs) program.run();
  const [plain, limited] = programs;
  assert(plain !== undefined && limited !== undefined);
  for (const path of step.outputs.keys()) {
    const error = relativeError(limited.read(path), plain.read(path));
    assert(error <= 1e-6, `${path} is off by ${error}`);
  }
});

/** A network of another kind: no scopes, no attention, widths that change. */
function wave() {
  const x = g.input("x", "f32", [512, 8]);
  const weights = [32, 64, 64, 32, 8].map((width, at, widths) =>
    g.input(`w${at}`, "f32", [widths[at - 1] ?? 8, width])
  );
  const y = weights.reduce<Tensor>((h, weight) => g.sin(g.tanh(g.matmul(h, weight))), x);
  const loss = g.mean(g.square(y));
  const slopes = gradients(loss, weights);
  return { loss, ...Object.fromEntries(slopes.map((slope, at) => [`slope${at}`, slope])) };
}

Deno.test("without scopes, single values are recomputed", () => {
  const outputs = wave();
  const plain = lowered(outputs);
  const smallest = smallestLimit(() => lowered(outputs, { memoryLimit: 1 }));
  assert(smallest < 0.8 * plain.arenaBytes, `${smallest} of ${plain.arenaBytes}`);
  const { recomputed } = lowered(outputs, { memoryLimit: smallest });
  assert(recomputed.regions.length > 0);
});

Deno.test("random graphs: the least memory gives the same numbers", () => {
  let smaller = 0;
  fc.assert(
    fc.property(recipes(16), (recipe) => {
      const graph = buildGraph(recipe);
      const losses = [...graph.outputs.values()].map((node) => g.mean(g.sin(node)));
      const loss = losses.reduce((a, b) => g.add(a, b));
      const slopes = gradients(loss, Object.fromEntries(graph.inputs));
      const module = {
        inputs: graph.inputs,
        outputs: new Map(Object.entries({ loss, ...slopes })),
      };
      const plain = lowerGraph(module, { target: TARGET });
      const smallest = smallestLimit(() => lowerGraph(module, { target: TARGET, memoryLimit: 1 }));
      const limited = lowerGraph(module, { target: TARGET, memoryLimit: smallest });
      assert(limited.arenaBytes <= smallest && smallest <= plain.arenaBytes);
      if (smallest === plain.arenaBytes) return;
      smaller++;
      assert(limited.recomputed.regions.length > 0);
      const [wanted, found] = [plain, limited].map((program) => {
        const interpreted = new InterpretedProgram(program);
        for (const [path, values] of graph.values) interpreted.write(path, values);
        interpreted.run();
        return [...module.outputs.keys()].flatMap((path) => interpreted.read(path));
      });
      const error = relativeError(found ?? [], wanted ?? []);
      assert(error <= 1e-5, `off by ${error}`);
    }),
    { numRuns: 200, seed: 12 },
  );
  assert(smaller >= 5, `only ${smaller} graphs had anything to recompute`);
});

Deno.test("compile takes the limit, and memory() says what it cost", async () => {
  const graph = g.trace({ x: g.spec("f32", [64, 8]), w: g.spec("f32", [8, 256]) }, ({ x, w }) => {
    const hidden = g.tanh(g.sin(g.matmul(x, w)));
    const loss = g.mean(g.square(g.exp(g.matmul(g.gelu(hidden), g.transpose(w)))));
    return { loss, slope: gradients(loss, w) };
  });
  const { inputs, outputs } = graph;
  const memoryLimit = smallestLimit(() =>
    lowerGraph({ inputs, outputs }, { target: TARGET, memoryLimit: 1 })
  );
  const backend = wasm({ threads: 1 });
  using plain = await compile(graph, { backend });
  using limited = await compile(graph, { backend, memoryLimit });
  const { arenaBytes, peak, recomputed, lowerBoundBytes } = limited.memory();
  assert(arenaBytes <= memoryLimit && memoryLimit < plain.memory().arenaBytes);
  assertEquals(peak.reduce((total, { bytes }) => total + bytes, 0), lowerBoundBytes);
  assert(recomputed.flops > 0 && recomputed.fraction > 0);
  assertEquals(plain.memory().recomputed.flops, 0);
  const x = Float32Array.from({ length: 512 }, (_, at) => Math.sin(at));
  const w = Float32Array.from({ length: 2048 }, (_, at) => Math.cos(at) / 8);
  assertEquals(await limited.run({ x, w }), await plain.run({ x, w }));
});

Deno.test("error: a limit that is none, and one that the reference does not keep to", async () => {
  const outputs = { y: g.sin(g.input("x", "f32", [4])) };
  for (const memoryLimit of [0, -1, NaN]) {
    assertThrows(
      () => lowered(outputs, { memoryLimit }),
      RangeError,
      `memoryLimit is ${memoryLimit}, wanted a number of bytes > 0`,
    );
  }
  const graph = g.trace(g.spec("f32", [4]), (x) => g.sin(x));
  await assertRejects(
    () => compile(graph, { backend: reference(), memoryLimit: 63 }),
    RangeError,
    "in 63 bytes: the smallest memoryLimit that would work is 64",
  );
});
