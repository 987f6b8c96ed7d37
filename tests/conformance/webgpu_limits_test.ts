/** Small limits: programs are the same, cut differently. */
import type { GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { compile } from "../../backends/compile.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import { gpuTarget } from "../../backends/webgpu/target.ts";
import {
  add,
  concat,
  constant,
  input,
  mul,
  scatterAdd,
  slice,
  spec,
  trace,
} from "../../graph/mod.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { attentionWithGradients, checkRun } from "../support/attention_graphs.ts";
import { gpuTest } from "../support/gpu.ts";
import { limitedGpu } from "../support/limited_gpu.ts";
import { moduleOf } from "../support/lowered.ts";
import { trainedBlocks } from "../support/qk_norm_graphs.ts";
import { relativeError } from "../support/random_graphs.ts";
import { randomGraphTests } from "../support/random_suite.ts";
import { runOn } from "../support/run_graph.ts";

const CASES: Readonly<Record<string, Partial<GpuLimits>>> = {
  "two bindings, 12 workgroups a dimension and 64 invocations": {
    maxStorageBuffersPerShaderStage: 2,
    maxComputeWorkgroupsPerDimension: 12,
    maxComputeInvocationsPerWorkgroup: 64,
    maxComputeWorkgroupSizeY: 64,
  },
  "offsets at multiples of 256, 16 KiB of workgroup memory and 32 invocations along x": {
    minStorageBufferOffsetAlignment: 256,
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeWorkgroupSizeX: 32,
  },
  "bindings of 512 bytes and buffers of 1,280": {
    maxStorageBuffersPerShaderStage: 32,
    maxStorageBufferBindingSize: 512,
    maxBufferSize: 1280,
  },
  "eight bindings of 1,024 bytes": {
    maxStorageBuffersPerShaderStage: 8,
    maxStorageBufferBindingSize: 1024,
  },
  "four bindings of 2,048 bytes and buffers of 3,072": {
    maxStorageBuffersPerShaderStage: 4,
    maxStorageBufferBindingSize: 2048,
    maxBufferSize: 3072,
  },
};

for (const [name, limits] of Object.entries(CASES)) {
  randomGraphTests(
    `WebGPU with ${name}`,
    async (graph) => await runOn(await limitedGpu(limits), graph),
    { f32: 40, mixed: 40, gradients: 20 },
    (name, test) => gpuTest(name, test),
  );
}

gpuTest("webgpu: inputs, donated state and outputs may go on in another buffer", async () => {
  const limits = { maxBufferSize: 1024, maxStorageBufferBindingSize: 512 };
  const backend = await limitedGpu(limits);
  const count = 700;
  const graph = trace(
    { total: spec("f32", [count]), x: spec("bf16", [count]) },
    ({ total, x }) => ({ total: add(total, 1), twice: mul(total, 2), same: x }),
  );
  using program = await compile(graph, { backend, donate: { total: "total" } });
  const total = Float32Array.from({ length: count }, (_, at) => at);
  const x = Uint16Array.from({ length: count }, (_, at) => at);
  const { twice, same } = await program.run({ total, x });
  assertEquals(twice.data, total.map((value) => value * 2));
  assertEquals(same.data, x);
  assertEquals((await program.get("total")).data, total.map((value) => value + 1));
});

gpuTest("webgpu: all memory that a program takes for its arena is within its limit", async () => {
  const backend = await limitedGpu({ maxStorageBufferBindingSize: 2 ** 14 });
  const graph = moduleOf(trainedBlocks(2, 16));
  const options = { bind: {}, donate: {} };
  using plain = await backend.prepare(graph, options);
  // What it takes without its workspace and copies: there is more to it on the device.
  const { arenaBytes } = lowerGraph(graph, { target: gpuTarget(backend.capabilities) });
  assert(arenaBytes < plain.memory().arenaBytes);
  using limited = await backend.prepare(graph, { ...options, memoryLimit: arenaBytes });
  assert(limited.memory().arenaBytes <= arenaBytes);
  assert(limited.memory().recomputed.flops > 0);
  const paths = [...graph.outputs.keys()];
  for (const { path, shape } of plain.inputs) {
    const count = shape.reduce((product, extent) => product * extent, 1);
    const data = Float32Array.from({ length: count }, (_, at) => Math.sin(at + path.length));
    for (const program of [plain, limited]) program.write(path, { data });
  }
  const wanted = await plain.run(paths);
  for (const [path, { data }] of await limited.run(paths)) {
    const error = relativeError(data, wanted.get(path)?.data ?? []);
    assert(error <= 1e-5, `${path} is off by ${error}`);
  }
  await assertRejects(
    async () => await backend.prepare(graph, { ...options, memoryLimit: 1 }),
    RangeError,
    "the smallest memoryLimit that would work is",
  );
});

gpuTest("webgpu: attention is right where an entry's keys are more than all bindings", async () => {
  const limits = { maxStorageBufferBindingSize: 2048, maxStorageBuffersPerShaderStage: 4 };
  const backend = await limitedGpu(limits);
  const { y } = attentionWithGradients(1, 48, 16);
  assert(y !== undefined);
  await checkRun((graph) => runOn(backend, graph), { y }, 2e-5);
});

gpuTest(
  "webgpu: both ends of a tensor, and sums into places, are right in more than all bindings",
  async () => {
    const limits = { maxStorageBufferBindingSize: 2048, maxStorageBuffersPerShaderStage: 4 };
    const backend = await limitedGpu(limits);
    const x = input("x", "f32", [300, 9]);
    const indices = constant(Int32Array.from({ length: 20 }, (_, at) => at * 37 % 300));
    const outputs = {
      rolled: mul(x, concat([slice(x, [150, 0], [300, 9]), slice(x, [0, 0], [150, 9])], 0)),
      sums: scatterAdd(input("updates", "f32", [20, 9]), indices, 0, 300),
    };
    await checkRun((graph) => runOn(backend, graph), outputs, 2e-6);
  },
);
