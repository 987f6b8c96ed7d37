/**
 * Long loops. On drivers in software an invocation's loops must not go round too often: Mesa's leaves
 * them after 65,535 rounds, all of them counted, and what is left of sums goes missing.
 */
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { MOST_ROUNDS } from "../../backends/webgpu/wgsl/rounds.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { inputValues } from "../support/compare_lowered.ts";
import { errorAgainst } from "../support/conformance.ts";
import { gpuTest } from "../support/gpu.ts";
import { moduleOf } from "../support/lowered.ts";
import { runOn } from "../support/run_graph.ts";

/** More than an invocation may go round. */
const MANY = MOST_ROUNDS + 6001;
/** Terms of a sum without order, in f32: an error of less than the square root of their number, in ulps. */
const TOLERANCE = 2e-4;

function tableUpdates(count: number): Record<string, g.Node> {
  const [table, places] = [g.input("table", "f32", [9, 64]), g.input("places", "i32", [count])];
  return { slope: gradients(g.sum(g.square(g.gather(table, places))), { table }).table };
}

/** Attention and its gradients. */
function attended(queries: number, keys: number): Record<string, g.Node> {
  const input = (name: string, rows: number) => g.input(name, "f32", [1, rows, 4]);
  const operands = { q: input("q", queries), k: input("k", keys), v: input("v", keys) };
  const y = g.attention(operands.q, operands.k, operands.v);
  return { y, ...gradients(g.sum(g.sin(y)), operands) };
}

const CASES: Readonly<Record<string, () => Record<string, g.Node>>> = {
  "sums over many rows": () => ({ y: g.sum(g.square(g.input("x", "f32", [MANY, 64])), 0) }),
  "sums over two axes, the inner one short": () => ({
    y: g.sum(g.square(g.input("x", "f32", [MANY, 2, 64])), [0, 1]),
  }),
  "three passes over long rows": () => ({ y: g.softmax(g.input("x", "f32", [40, 3 * MANY])) }),
  "remainders of many times as much": () => ({
    y: g.sum(g.rem(g.mul(g.input("x", "f32", [3000, 64]), 2 ** 20), 3 * 2 ** -12), 0),
  }),
  "many updates of a table": () => tableUpdates(9000),
  "attention to many keys": () => attended(3, 2 * MANY),
  "attention of many queries": () => attended(2 * MANY, 3),
  "a product whose sums are long": () => ({
    y: g.contract(
      "m k, k n -> m n",
      g.input("a", "f32", [3, 5 * MANY]),
      g.input("b", "f32", [5 * MANY, 4]),
    ),
  }),
  "a product of columns whose sums are long": () => ({
    y: g.contract(
      "k m, k n -> m n",
      g.input("a", "f32", [5 * MANY, 3]),
      g.input("b", "f32", [5 * MANY, 4]),
    ),
  }),
};

for (const [name, build] of Object.entries(CASES)) {
  gpuTest(`webgpu: ${name}`, async (backend) => {
    const outputs = build();
    const { inputs } = moduleOf(outputs);
    const values = inputValues(inputs);
    const paths = new Map(Object.entries(outputs));
    const found = await runOn(backend, { inputs, outputs: paths, values, attention: "fused" });
    const expected = evaluateGraph(Object.values(outputs), values);
    for (const [path, node] of Object.entries(outputs)) {
      const error = errorAgainst(found.get(path) ?? [], expected.get(node)?.data ?? []);
      assert(error < TOLERANCE, `"${path}" is off by ${error}`);
    }
  });
}

function shadersOf(outputs: Record<string, g.Node>, software: boolean): string {
  const program = lowerGraph(moduleOf(outputs), { target: { alignment: 256 } });
  return assembleGpu(program, gpuCapabilities({ software })).modules.map(({ wgsl }) => wgsl).join();
}

Deno.test("webgpu: long loops are written out in part for drivers in software alone", () => {
  const loops = (rows: number, software: boolean) =>
    shadersOf({ y: g.sum(g.input("x", "f32", [rows, 64]), 0) }, software).match(/for \(.*\)/g);
  const few = MOST_ROUNDS - 1;
  assertEquals(loops(few, true), [`for (var k0 = 0; k0 < ${few}; k0++)`]);
  assertEquals(loops(MANY, true), [`for (var k0 = 0; k0 < ${MANY}; )`]);
  assert(!loops(MANY, false)?.some((loop) => loop.endsWith("; )")));
});

Deno.test("webgpu: what a driver in software might leave early is refused, and what to do is said", () => {
  assert(shadersOf(tableUpdates(2_000_000), false) !== "");
  assertThrows(
    () => shadersOf(tableUpdates(2_000_000), true),
    RangeError,
    "go round more often than the 60000 times",
  );
});

Deno.test("webgpu: attention over many rows is cut for drivers in software alone", () => {
  const dispatches = (queries: number, keys: number, software: boolean) => {
    const program = lowerGraph(moduleOf(attended(queries, keys)), {
      target: { alignment: 256 },
      attention: "fused",
    });
    const { dispatches } = assembleGpu(program, gpuCapabilities({ software }));
    return dispatches.length;
  };
  for (const [queries, keys] of [[40, 200_000], [200_000, 40]] as const) {
    const whole = dispatches(queries, keys, false);
    assertEquals(dispatches(40, 1370, true), whole);
    assert(dispatches(queries, keys, true) > whole);
  }
});
