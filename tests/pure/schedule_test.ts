import fc from "../support/fast_check.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { FUSION_RULES, type FusionRule } from "../../compiler/fusion_rules.ts";
import type { Program } from "../../compiler/program.ts";
import { lowerGraph, type LowerOptions } from "../../compiler/pipeline.ts";
import { isFloat } from "../../graph/dtype.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { topologicalOrder } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { sameShape, staticShape } from "../../graph/shape.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";
import { lowered, printSteps } from "../support/lowered.ts";
import { buildGraph, type RandomGraph, recipes, relativeError } from "../support/random_graphs.ts";

/** The interpreter computes in f64 but keeps f32 between kernels. */
const TOLERANCE = 1e-3;

function referenceInputs(graph: RandomGraph): Map<string, ReferenceTensor> {
  return new Map([...graph.inputs].map(([path, node]) => [path, {
    dtype: node.dtype,
    shape: staticShape(node.shape),
    data: Float64Array.from(graph.values.get(path) ?? []),
  }]));
}

/** The largest relative error over all outputs of the lowered program, interpreted. */
function errorOf(
  graph: RandomGraph,
  outputs: ReadonlyMap<string, Node>,
  options: Partial<LowerOptions> = {},
): number {
  const module = { inputs: graph.inputs, outputs };
  const program = lowerGraph(module, { target: { alignment: 64 }, ...options });
  const interpreted = new InterpretedProgram(program);
  for (const [path, values] of graph.values) interpreted.write(path, values);
  interpreted.run();
  const expected = evaluateGraph(outputs.values(), referenceInputs(graph));
  let worst = 0;
  for (const [path, node] of outputs) {
    const data = Array.from(expected.get(node)?.data ?? []);
    const found = interpreted.read(path);
    if (isFloat(node.dtype)) worst = Math.max(worst, relativeError(found, data));
    else assertEquals(found, data, path);
  }
  return worst;
}

Deno.test("random graphs: kernels compute what the graph says", () => {
  fc.assert(
    fc.property(recipes(25), (recipe) => {
      const graph = buildGraph(recipe);
      assert(errorOf(graph, graph.outputs) < TOLERANCE);
    }),
    { numRuns: 200 },
  );
});

Deno.test("random graphs of all element types: kernels compute what the graph says", () => {
  fc.assert(
    fc.property(recipes(25, "mixed"), (recipe) => {
      const graph = buildGraph(recipe);
      assert(errorOf(graph, graph.outputs) < TOLERANCE);
    }),
    { numRuns: 200 },
  );
});

Deno.test("random graphs: kernels compute what the graph says whatever rules are off", () => {
  const names = Object.keys(FUSION_RULES) as FusionRule[];
  fc.assert(
    fc.property(recipes(25, "mixed"), fc.subarray(names), (recipe, off) => {
      const graph = buildGraph(recipe);
      assert(errorOf(graph, graph.outputs, { fusion: { off } }) < TOLERANCE);
    }),
    { numRuns: 200 },
  );
});

Deno.test("random graphs: kernels compute the gradient", () => {
  fc.assert(
    fc.property(recipes(12, "steady"), (recipe) => {
      const graph = buildGraph(recipe);
      const losses = [...graph.outputs.values()].map((node) => g.mean(g.sin(node)));
      const loss = losses.reduce((a, b) => g.add(a, b));
      const found = gradients(loss, Object.fromEntries(graph.inputs));
      assert(errorOf(graph, new Map(Object.entries({ loss, ...found }))) < TOLERANCE);
    }),
    { numRuns: 100 },
  );
});

/**
 * Some inputs donated to outputs of their type, wherever in the graph these are computed, and some
 * shown as outputs too.
 */
function withDonations(graph: RandomGraph, seed: number) {
  const outputs = new Map(graph.outputs);
  const donate: Record<string, string> = {};
  const nodes = topologicalOrder(graph.outputs.values());
  let state = seed;
  for (const [path, input] of graph.inputs) {
    state = (state * 7 + 3) % 1009;
    const same = nodes.filter((node) =>
      node.dtype === input.dtype && sameShape(node.shape, input.shape)
    );
    const target = same[state % Math.max(same.length, 1)];
    if (target !== undefined && state % 3 !== 0) {
      donate[path] = `next_${path}`;
      outputs.set(`next_${path}`, target);
    }
    if (state % 5 === 0) outputs.set(`old_${path}`, input);
  }
  return { outputs, donate };
}

Deno.test("random graphs with donated inputs: what takes their memory waits for all readers", () => {
  fc.assert(
    fc.property(recipes(15, "mixed"), (recipe) => {
      const graph = buildGraph(recipe);
      const { outputs, donate } = withDonations(graph, recipe.seed);
      assert(errorOf(graph, outputs, { donate }) < TOLERANCE);
    }),
    { numRuns: 120 },
  );
});

Deno.test("a layer norm is one kernel with two reductions", () => {
  const x = g.input("x", "f32", [2, 5, 8]);
  const scale = g.input("scale", "f32", [8]);
  const bias = g.input("bias", "f32", [8]);
  assertEquals(
    printSteps(lowered({ y: g.layerNorm(x, { scale, bias }) })),
    `rows_sum_mul_sub_add_1more_10x8(read in0: f32[80], write out1: f32[80], read in2: f32[8], read in3: f32[8])
  parallel u < 1:
    loop r in (u * 512)..min(((u * 512) + 512), 10):
      reduce c in 0..8:
        acc0 = sum in0[((r * 8) + c)]
      reduce c in 0..8:
        t0 = (in0[((r * 8) + c)] - (acc0 * 0.125))
        acc1 = sum (t0 * t0)
      vector loop c in 0..8:
        out1[((r * 8) + c)] = ((((in0[((r * 8) + c)] - (acc0 * 0.125)) * rsqrt(((acc1 * 0.125) + 9.999999974752427e-7))) * in2[c]) + in3[c])`,
  );
});

Deno.test("a softmax is one kernel that computes each exponential once", () => {
  const x = g.input("x", "f32", [10, 8]);
  const text = printSteps(lowered({ y: g.softmax(x) }));
  assertEquals(text.split("parallel").length, 2);
  assert(text.includes("scratch0[c] = exp("), text);
  assert(text.includes("out1[((r * 8) + c)] = (scratch0[c] * reciprocal(acc1))"), text);
});

Deno.test("bias and activation become a matmul's epilogue", () => {
  const x = g.input("x", "f32", [3, 5, 8]);
  const w = g.input("w", "f32", [8, 6]);
  const b = g.input("b", "f32", [6]);
  const y = g.tanh(g.add(g.contract("b n d, d e -> b n e", x, w), b));
  assertEquals(
    printSteps(lowered({ y })),
    `matmul_contract_add_tanh_1x15x6x8(read in0: f32[120], read in1: f32[48], write out2: f32[90], read in3: f32[6])
  matmul batch [] m [i_a:3, i_b:5] n [i_d:6]:
    acc += k [8] in0[0 + (; 40, 8; 1)] * in1[0 + (; 1; 6)]
    out2[(((i_a * 30) + (i_b * 6)) + i_d)] = tanh((acc + in3[i_d]))`,
  );
});

Deno.test("attention reads its operands through their transposes", () => {
  const x = g.input("x", "f32", [2, 5, 3, 4]);
  const heads = g.transpose(x, [0, 2, 1, 3]);
  const program = lowered({ y: g.attention(heads, heads, heads) });
  assertEquals(program.steps.length, 1);
  const kernel = program.kernels[0];
  assert(kernel?.kind === "attention");
  assertEquals(kernel.q.batchStrides, [60, 4]);
  assertEquals(kernel.q.rowStride, 12);
});

Deno.test("identical layers share kernels", () => {
  const w = [0, 1, 2, 3].map((layer) => g.input(`w${layer}`, "f32", [8, 8]));
  const x = g.input("x", "f32", [4, 8]);
  const y = w.reduce((h, weight) => g.gelu(g.matmul(g.layerNorm(h), weight)), x);
  const program = lowered({ y });
  assertEquals(program.steps.length, 8);
  assertEquals(program.kernels.length, 2);
});

Deno.test("gradients of several biases of one input are summed in one kernel", () => {
  const x = g.input("x", "f32", [6, 5, 8]);
  const program = lowered({ sum: g.sum(x, [0, 1]), squares: g.sum(g.square(x), [0, 1]) });
  assertEquals(program.steps.length, 1);
  assert(printSteps(program).startsWith("columns_"));
});

Deno.test("a long sum is split the same way whatever the thread count", () => {
  const x = g.input("x", "f32", [300, 300]);
  const program = lowered({ y: g.sum(x) });
  assertEquals(program.steps.length, 2);
});

function runDonated(program: Program, a: number[], b: number[]): { a: number[]; b: number[] } {
  const interpreted = new InterpretedProgram(program);
  interpreted.write("state/a", a);
  interpreted.write("state/b", b);
  interpreted.run();
  return { a: interpreted.read("state/a"), b: interpreted.read("state/b") };
}

Deno.test("donated inputs are updated in place", () => {
  const a = g.input("state/a", "f32", [3]);
  const b = g.input("state/b", "f32", [3]);
  const outputs = { "state/a": g.add(a, b), "state/b": g.mul(b, 2) };
  const program = lowered(outputs, { donate: { state: "state" } });
  for (const path of ["state/a", "state/b"]) {
    const input = program.inputs.find((port) => port.path === path);
    const output = program.outputs.find((port) => port.path === path);
    assertEquals(input?.buffer, output?.buffer);
  }
  assertEquals(runDonated(program, [1, 2, 3], [10, 20, 30]), { a: [11, 22, 33], b: [20, 40, 60] });
});

Deno.test("donated inputs may trade places, stay as they are, and share a result", () => {
  const a = g.input("state/a", "f32", [2]);
  const b = g.input("state/b", "f32", [2]);
  const donate = { state: "state" };
  const swapped = lowered({ "state/a": b, "state/b": a }, { donate });
  assertEquals(runDonated(swapped, [1, 2], [3, 4]), { a: [3, 4], b: [1, 2] });
  const kept = lowered({ "state/a": a, "state/b": g.add(a, b) }, { donate });
  assertEquals(runDonated(kept, [1, 2], [3, 4]), { a: [1, 2], b: [4, 6] });
  const sum = g.add(a, b);
  const shared = lowered({ "state/a": sum, "state/b": sum }, { donate });
  assertEquals(runDonated(shared, [1, 2], [3, 4]), { a: [4, 6], b: [4, 6] });
  const reversed = lowered({ "state/a": g.reverse(a), "state/b": g.reverse(b) }, { donate });
  assertEquals(runDonated(reversed, [1, 2], [3, 4]), { a: [2, 1], b: [4, 3] });
});

Deno.test("constants, empty tensors and plain inputs may be outputs", () => {
  const x = g.input("x", "f32", [2, 2]);
  const outputs = {
    x,
    transposed: g.transpose(x),
    seven: g.full(7, [3]),
    table: g.constant([1, 2, 3]),
    empty: g.slice(x, [0, 0], [0, 2]),
    emptySum: g.sum(g.slice(x, [0, 0], [0, 2]), 0),
  };
  const interpreted = new InterpretedProgram(lowered(outputs));
  interpreted.write("x", [1, 2, 3, 4]);
  interpreted.run();
  assertEquals(interpreted.read("x"), [1, 2, 3, 4]);
  assertEquals(interpreted.read("transposed"), [1, 3, 2, 4]);
  assertEquals(interpreted.read("seven"), [7, 7, 7]);
  assertEquals(interpreted.read("table"), [1, 2, 3]);
  assertEquals(interpreted.read("empty"), []);
  assertEquals(interpreted.read("emptySum"), [0, 0]);
});
