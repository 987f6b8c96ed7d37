import fc from "../support/fast_check.ts";
import { evaluate, evaluateGraph } from "../../backends/reference/evaluate.ts";
import { checkpoint, grad, gradients } from "../../compiler/mod.ts";
import * as g from "../../graph/mod.ts";
import type { Node, Tensor } from "../../graph/mod.ts";
import { isRecompute } from "../../graph/ops/checkpoint.ts";
import { topologicalOrder } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { staticShape } from "../../graph/shape.ts";
import { adam, trainingStep, vit } from "../../models/mod.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";
import { lowered, moduleOf } from "../support/lowered.ts";
import { randomTensor } from "../support/op_case.ts";
import { buildGraph, recipes, relativeError } from "../support/random_graphs.ts";

const { add, input, layerNorm, matmul, mean, mul, sin, square, sum } = g;

/** Values for every input that the outputs read. */
function valuesFor(outputs: Record<string, Node>): Map<string, ReferenceTensor> {
  const { inputs } = moduleOf(outputs);
  return new Map(
    [...inputs].map(([path, { dtype, shape }], at) => [
      path,
      randomTensor(dtype, staticShape(shape), "unit", 3, at),
    ]),
  );
}

/** Asserts that two graphs over the same inputs give the same numbers in f64. */
function assertSameNumbers(found: Record<string, Node>, wanted: Record<string, Node>): void {
  const values = valuesFor({ ...found, ...wanted });
  const numbers = evaluateGraph([...Object.values(found), ...Object.values(wanted)], values);
  for (const [path, node] of Object.entries(wanted)) {
    const got = found[path];
    assert(got !== undefined, path);
    const error = relativeError(
      numbers.get(got)?.data ?? new Float64Array(),
      numbers.get(node)?.data ?? new Float64Array(),
    );
    assert(error <= 1e-12, `${path} is off by ${error}`);
  }
}

const TOKENS = 32;
const WIDTH = 16;
type Block = (x: Tensor, weights: { into: Tensor; out: Tensor }) => Tensor;

const block: Block = (x, { into, out }) => add(x, matmul(g.gelu(matmul(layerNorm(x), into)), out));

/** The loss and its gradients of a stack of blocks of the given form. */
function stackOf(form: Block, depth: number, name = "x"): Record<string, Node> {
  const layers = Array.from({ length: depth }, (_, layer) => ({
    into: input(`into${layer}`, "f32", [WIDTH, 4 * WIDTH]),
    out: input(`out${layer}`, "f32", [4 * WIDTH, WIDTH]),
  }));
  const x = input(name, "f32", [TOKENS, WIDTH]);
  const y = layers.reduce<Tensor>((h, weights) => form(h, weights), x);
  const loss = mean(square(y));
  const slopes = gradients(loss, layers);
  const flat = slopes.flatMap(({ into, out }, layer) => [
    [`into${layer}`, into] as const,
    [`out${layer}`, out] as const,
  ]);
  return { loss, ...Object.fromEntries(flat) };
}

Deno.test("a checkpointed block gives the same loss and gradients, in less memory", () => {
  const plain = stackOf(block, 8);
  const marked = stackOf(checkpoint(block), 8);
  assertSameNumbers(marked, plain);
  const program = assertLowersRight(marked);
  const { arenaBytes } = lowered(plain);
  assert(program.arenaBytes < 0.7 * arenaBytes, `${program.arenaBytes} of ${arenaBytes} bytes`);
});

Deno.test("copies are computed after the loss, and never with their originals", () => {
  const program = lowered(stackOf(checkpoint(block), 3));
  const { buffer } = program.outputs.find(({ path }) => path === "loss") ?? {};
  const lossStep = program.steps.findIndex(({ members }) =>
    members.some(({ buffers }) => buffers.includes(buffer ?? -1))
  );
  const isCopy = (node: Node) =>
    node.op.name === "rsqrt" && topologicalOrder([node]).some(isRecompute);
  const copies = program.steps.flatMap(({ nodes }, step) => nodes.some(isCopy) ? [step] : []);
  assertEquals(copies.length, 3);
  for (const step of copies) assert(step > lossStep, `${step} is not after ${lossStep}`);
});

Deno.test("the report says what is recomputed and what that costs", () => {
  const plain = lowered(stackOf(block, 3));
  assertEquals(plain.recomputed, { flops: 0, fraction: 0, regions: [] });
  const scoped: Block = (x, weights) => g.withScope("stack", () => checkpoint(block)(x, weights));
  const { recomputed } = lowered(stackOf(scoped, 3, "scoped"));
  assertEquals(recomputed.regions.map(({ name }) => name), ["stack"]);
  const [region] = recomputed.regions;
  assertEquals(region?.flops, recomputed.flops);
  // Of each block, the first product and what is elementwise; the second product is not needed.
  const product = 3 * 2 * TOKENS * WIDTH * 4 * WIDTH;
  assert(recomputed.flops > product && recomputed.flops < 1.5 * product, `${recomputed.flops}`);
  assert(recomputed.fraction > 0.1 && recomputed.fraction < 0.34, `${recomputed.fraction}`);
});

Deno.test("the live set at the peak adds up to the lower bound", () => {
  const { peak, lowerBoundBytes } = lowered(stackOf(block, 3));
  assertEquals(peak.reduce((total, { bytes }) => total + bytes, 0), lowerBoundBytes);
  assert(peak.some(({ name }) => name === "into0"));
  peak.forEach(({ bytes }, at) => assert(bytes <= (peak[at - 1]?.bytes ?? Infinity)));
});

Deno.test("checkpoints nest", () => {
  const inner = checkpoint((x: Tensor) => sin(square(x)));
  const twice = (f: (x: Tensor) => Tensor) => (x: Tensor) => mul(f(f(x)), f(x));
  const x = input("x", "f32", [5, 3]);
  const plain = twice((y) => sin(square(y)));
  const slope = (f: (x: Tensor) => Tensor) => ({ slope: grad((y: Tensor) => sum(f(y)))(x) });
  const outer = checkpoint(twice(checkpoint(twice(inner))));
  assertSameNumbers(slope(outer), slope(twice(plain)));
  assertLowersRight(slope(outer));
});

Deno.test("second derivatives go through checkpoints", () => {
  const cube = checkpoint((x: Tensor) => mul(x, mul(x, x)));
  const at2 = (f: (x: Tensor) => Tensor) => [...evaluate(f(g.constant(2))).data];
  assertEquals(at2(grad(cube)), [12]);
  assertEquals(at2(grad(grad(cube))), [12]);
  assertEquals(at2(grad(grad(grad(cube)))), [6]);
  // A gradient taken within a checkpoint, which is differentiated itself.
  assertEquals(at2(grad(checkpoint(grad(checkpoint(grad(cube)))))), [6]);
  const x = input("x", "f32", [7]);
  const bend = (f: (x: Tensor) => Tensor) => (y: Tensor) => sum(square(grad(f)(y)));
  const wave = (y: Tensor) => sum(sin(mul(y, sin(y))));
  const slope = { slope: grad(bend(checkpoint(wave)))(x) };
  assertSameNumbers(slope, { slope: grad(bend(wave))(x) });
  assertLowersRight(slope);
});

Deno.test("structures go in and out, and what is taken from around is kept", () => {
  const [a, b, around] = ["a", "b", "c"].map((name) => input(name, "f32", [4]));
  assert(a !== undefined && b !== undefined && around !== undefined);
  const captured = sin(around);
  const fn = ({ a, parts: [b] }: { a: Tensor; parts: readonly [Tensor] }, power: number) => {
    const middle = sin(mul(a, captured));
    return { same: a, list: [g.pow(middle, power), mul(sin(middle), b)] };
  };
  const total = (form: typeof fn) => {
    const { same, list } = form({ a, parts: [b] }, 2);
    const loss = sum(list.reduce((x, y) => mul(x, y), square(same)));
    return { loss, ...gradients(loss, { a, b, around }) };
  };
  const marked = total(checkpoint(fn));
  assertSameNumbers(marked, total(fn));
  assertLowersRight(marked);
  // Captured values are no part of the region: the sine around it is computed once.
  const sines = topologicalOrder(Object.values(marked)).filter(({ op, inputs }) =>
    op.name === "sin" && inputs[0]?.op.name === "recompute"
  );
  assertEquals(sines.length, 0);
});

Deno.test("several results share one recomputation", () => {
  const x = input("x", "f32", [6]);
  const pair = checkpoint((y: Tensor) => {
    const base = sin(mul(y, 3));
    return [square(base), g.exp(base)];
  });
  const [first = x, second = x] = pair(x);
  const slope = gradients(sum(mul(sin(first), second)), x);
  const names = topologicalOrder([slope]).filter(({ op }) => op.name === "recompute");
  assertEquals(names.length, 1);
});

Deno.test("random numbers are drawn the same again", () => {
  const x = input("x", "f32", [40]);
  const drop = (y: Tensor) => mul(g.dropout(g.randomKey(5), sin(y), 0.5), y);
  const slope = (f: (y: Tensor) => Tensor) => ({ slope: grad((y: Tensor) => sum(f(y)))(x) });
  assertSameNumbers(slope(checkpoint(drop)), slope(drop));
  assertLowersRight(slope(checkpoint(drop)));
});

Deno.test("without a gradient a checkpoint makes no difference", () => {
  const x = input("x", "f32", [5]);
  const plain = lowered({ y: sin(square(x)) });
  const marked = lowered({ y: checkpoint((y: Tensor) => sin(square(y)))(x) });
  assertEquals(marked.steps.length, plain.steps.length);
  assertEquals(marked.arenaBytes, plain.arenaBytes);
});

Deno.test("error: a checkpointed function returns something else than tensors", () => {
  const wrong = checkpoint((x: Tensor) => ({ x, when: new Date(0) }));
  assertThrows(() => wrong(input("x", "f32", [])), TypeError, "Date");
});

Deno.test("random graphs: checkpoints change no gradient", () => {
  fc.assert(
    fc.property(recipes(14), (recipe) => {
      const graph = buildGraph(recipe);
      const slopes = (outputs: readonly Node[]) => {
        const loss = outputs.map((node) => mean(sin(node))).reduce((a, b) => add(a, b));
        return gradients(loss, Object.fromEntries(graph.inputs));
      };
      const plain = slopes([...graph.outputs.values()]);
      const marked = slopes(checkpoint(() => [...buildGraph(recipe).outputs.values()])());
      const values = new Map(
        [...graph.inputs].map(([path, { dtype, shape }]) => [path, {
          dtype,
          shape: staticShape(shape),
          data: Float64Array.from(graph.values.get(path) ?? []),
        }]),
      );
      const all = [...Object.values(plain), ...Object.values(marked)];
      const numbers = evaluateGraph(all, values);
      for (const [path, node] of Object.entries(plain)) {
        const other = marked[path];
        assert(other !== undefined);
        const found = numbers.get(other)?.data ?? new Float64Array();
        const error = relativeError(found, numbers.get(node)?.data ?? new Float64Array());
        assert(error <= 1e-9, `${path} is off by ${error}`);
      }
    }),
    { numRuns: 100 },
  );
});

/** A whole training step of a small ViT. */
function smallStep(checkpoint: boolean) {
  const model = vit({
    imageSize: 8,
    patchSize: 4,
    channels: 1,
    width: 8,
    depth: 3,
    heads: 2,
    mlpWidth: 16,
    classes: 3,
    dropout: 0.1,
  });
  const schedule = { kind: "constant", learningRate: 1e-3 } as const;
  return trainingStep({ model, optimizer: adam({ schedule, clipNorm: 1 }), checkpoint });
}

Deno.test("a checkpointed ViT training step is the same step", () => {
  const [plain, marked] = [smallStep(false), smallStep(true)];
  const bind = { batch: 2 };
  const values = new Map<string, ReferenceTensor>();
  [...plain.inputs].forEach(([path, { dtype, shape }], at) => {
    const sizes = shape.map((size) => typeof size === "number" ? size : bind.batch);
    const domain = dtype === "f32" && path.startsWith("state/optimizer") ? "fraction" : "unit";
    const value = randomTensor(dtype, sizes, domain, 9, at);
    if (path === "labels") value.data.set([2, 0]);
    if (path === "state/step") value.data.set([4]);
    values.set(path, value);
  });
  const wanted = evaluateGraph(plain.outputs.values(), values, bind);
  const found = evaluateGraph(marked.outputs.values(), values, bind);
  const program = new InterpretedProgram(
    lowered(Object.fromEntries(marked.outputs), { bind, donate: {} }),
  );
  for (const [path, { data }] of values) program.write(path, data);
  program.run();
  for (const [path, node] of plain.outputs) {
    const want = wanted.get(node)?.data ?? new Float64Array();
    const other = marked.outputs.get(path);
    assert(other !== undefined, path);
    const error = relativeError(found.get(other)?.data ?? new Float64Array(), want);
    assert(error <= 1e-12, `${path} is off by ${error}`);
    const inF32 = relativeError(program.read(path), want);
    assert(inF32 <= 1e-6, `${path}, interpreted, is off by ${inF32}`);
  }
});
