import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { matmulModel, vitModel } from "../../bench/onnx/graphs.ts";
import { OnnxGraph, type OnnxModel } from "../../bench/onnx/model.ts";
import type { ForwardWork } from "../../bench/works.ts";
import { vitConfig } from "../../models/mod.ts";

const CONFIG = vitConfig({
  imageSize: 8,
  patchSize: 4,
  channels: 3,
  width: 6,
  depth: 2,
  heads: 2,
  mlpWidth: 12,
  classes: 5,
  gelu: "erf",
});

const WORK: ForwardWork = {
  suite: "forward",
  backend: "wasm",
  name: "tiny forward b3",
  config: CONFIG,
  batch: 3,
};

function numbersOf({ graph }: OnnxModel, name: string): Float32Array {
  const found = graph.initializer.find((initializer) => initializer.name === name);
  if (found === undefined) throw new TypeError(`The model has no "${name}"`);
  return new Float32Array(found.rawData.slice().buffer);
}

Deno.test("bench: a ViT's ONNX graph has the ops that PyTorch's exporter writes", () => {
  const counts = new Map<string, number>();
  for (const { opType } of vitModel(WORK).graph.node) {
    counts.set(opType, (counts.get(opType) ?? 0) + 1);
  }
  assertEquals(Object.fromEntries(counts), {
    Conv: 1,
    Concat: 1,
    Gemm: 1,
    LayerNormalization: 5,
    // Queries, keys and values together; projection; two of the MLP; scores; mixture.
    MatMul: 12,
    // Four biases, two residuals and one in gelu; positions.
    Add: 15,
    Mul: 6,
    Div: 2,
    Erf: 2,
    Softmax: 2,
    Gather: 7,
    Reshape: 5,
    Transpose: 7,
  });
});

Deno.test("bench: a ViT's ONNX graph takes images NCHW to logits, at opset 17", () => {
  const { graph, opsetImport } = vitModel(WORK);
  const dims = (info: (typeof graph.input)[number] | undefined) =>
    info?.type.tensorType.shape.dim.map(({ dimValue }) => dimValue);
  assertEquals([graph.input.length, graph.output.length], [1, 1]);
  assertEquals(dims(graph.input[0]), [3, 3, 8, 8]);
  assertEquals(dims(graph.output[0]), [3, 5]);
  assertEquals(opsetImport, [{ domain: "", version: 17 }]);
});

Deno.test("bench: the joined kernel has queries, keys and values side by side", () => {
  const model = vitModel(WORK);
  const joined = numbersOf(model, "encoder/1/attention/qkv/kernel");
  assertEquals(joined.length, 6 * 18);
  assertEquals(new Set(joined).size, joined.length);
  const head = numbersOf(model, "head/kernel");
  assertEquals(head.length, 5 * 6);
});

Deno.test("bench: a ViT that ONNX graphs are not written for is refused", () => {
  const tanh = { ...WORK, config: { ...CONFIG, gelu: "tanh" as const } };
  assertThrows(() => vitModel(tanh), TypeError, "gelu is tanh, wanted erf");
});

Deno.test("bench: a product's ONNX graph is one node, its weight in the model", () => {
  const work = {
    suite: "matmul",
    name: "m",
    m: 2,
    k: 3,
    n: 4,
    host: "deno",
    backend: "wasm",
  } as const;
  const { graph } = matmulModel(work);
  assertEquals(
    graph.node.map(({ opType, input, output }) => [opType, input, output]),
    [
      ["MatMul", ["a", "b"], ["c"]],
    ],
  );
  assertEquals(graph.initializer[0]?.dims, [3, 4]);
});

Deno.test("bench: ONNX graphs that would make no sense are refused", () => {
  const graph = new OnnxGraph("g");
  graph.input("x", [2]);
  assertThrows(() => graph.input("x", [2]), RangeError, 'name "x" is taken');
  assertThrows(() => graph.node("Erf", "y", ["z"]), RangeError, 'reads "z"');
  assertThrows(
    () => graph.initializer("w", [3], new Float32Array(2)),
    RangeError,
    "wanted 3",
  );
  graph.output("nowhere", [2]);
  assertThrows(() => graph.build(), RangeError, 'output "nowhere" is no value');
});

Deno.test("bench: attributes have the format's types", () => {
  const graph = new OnnxGraph("g");
  graph.input("x", [2]);
  graph.node("Any", "y", ["x"], {
    axis: -1,
    perm: [1, 0],
    epsilon: { float: 0.5 },
  });
  assertEquals(graph.build().graph.node[0]?.attribute, [
    { name: "axis", type: 2, i: -1 },
    { name: "perm", type: 7, ints: [1, 0] },
    { name: "epsilon", type: 1, f: 0.5 },
  ]);
  assert(graph.build().graph.node.length === 1);
});
