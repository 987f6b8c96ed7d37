import * as graph from "../../graph/mod.ts";
import { isTensor } from "../../graph/trace.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";

const { dim, flattenTree, mapTree, spec, trace, unflattenTree } = graph;

Deno.test("trace gives tensors in the structure of the specs", () => {
  const batch = dim("batch");
  const specs = {
    images: spec("f32", [batch, 784]),
    parameters: { layers: [{ kernel: spec("f32", [784, 10]) }, { kernel: spec("f32", [10, 3]) }] },
    unused: spec("u32", [2]),
  } as const;
  const traced = trace(specs, ({ images, parameters: { layers: [first, second] } }) => {
    const hidden: graph.Tensor<"f32", [graph.SymbolicDim<"batch">, 10]> = graph.matmul(
      images,
      first.kernel,
    );
    return { hidden, outputs: [graph.matmul(hidden, second.kernel)] as const };
  });
  assertEquals([...traced.inputs.keys()], [
    "images",
    "parameters/layers/0/kernel",
    "parameters/layers/1/kernel",
    "unused",
  ]);
  assertEquals([...traced.outputs.keys()], ["hidden", "outputs/0"]);
  assertEquals(traced.outputs.get("outputs/0")?.shape, [batch, 3]);
  assert(traced.outputTree.hidden === traced.outputs.get("hidden"));
  assert(traced.inputTree.unused === traced.inputs.get("unused"));
  assertEquals(traced.inputTree.images.label, "images");
});

Deno.test("a bare spec is called input, and a bare result output", () => {
  const traced = trace(spec("f32", []), (x) => graph.exp(x));
  assertEquals([...traced.inputs.keys()], ["input"]);
  assertEquals([...traced.outputs.keys()], ["output"]);
});

Deno.test("specs are checked", () => {
  assertEquals(String(spec("f32", [dim("batch"), 784])), "f32[batch, 784]");
  assertThrows(
    () => spec("f64" as "f32", []),
    TypeError,
    'Cannot specify element type "f64": wanted f32, f16, bf16, i32, u32, bool',
  );
  assertThrows(
    () => spec("f32", [2.5]),
    TypeError,
    "Cannot specify shape [2.5]: 2.5 is not a size",
  );
});

Deno.test("error: a result that holds no tensors, or something else", () => {
  const scalar = spec("f32", []);
  assertThrows(() => trace(scalar, () => ({})), TypeError, "the function returned no tensor");
  assertThrows(
    () => trace(scalar, (x) => ({ x, count: 3 })),
    TypeError,
    '"count" in the structure is 3: wanted a leaf, a record or an array',
  );
  assertThrows(
    () => trace(scalar, (x) => Promise.resolve(x)),
    TypeError,
    "The structure is a Promise: wanted a leaf",
  );
  assertThrows(
    () => trace({ "a/b": scalar, a: { b: scalar } }, ({ a }) => a.b),
    TypeError,
    'Two leaves of the structure have the path "a/b"',
  );
});

Deno.test("trees map, flatten and come back", () => {
  const isNumber = (value: unknown): value is number => typeof value === "number";
  const tree = { a: [1, 2] as [number, number], b: { c: 3 }, none: undefined };
  assertEquals([...flattenTree(tree, isNumber)], [["a/0", 1], ["a/1", 2], ["b/c", 3]]);
  const texts = mapTree(tree, isNumber, (leaf, path) => `${path}=${leaf}`);
  const first: string = texts.a[0];
  assertEquals([first, texts.b.c], ["a/0=1", "b/c=3"]);
  const twice = new Map([...flattenTree(tree, isNumber)].map(([path, n]) => [path, 2 * n]));
  assertEquals(unflattenTree(tree, isNumber, twice), { a: [2, 4], b: { c: 6 }, none: undefined });
  assertThrows(
    () => unflattenTree(tree, isNumber, new Map([["a/0", 1]])),
    TypeError,
    'The structure\'s leaf "a/1" has no value',
  );
  assert(!isTensor(tree));
});
