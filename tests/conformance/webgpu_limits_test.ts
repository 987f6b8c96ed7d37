/** Small limits: programs are the same, cut differently. */
import type { GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { compile } from "../../backends/compile.ts";
import { add, mul, spec, trace } from "../../graph/mod.ts";
import { assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { limitedGpu } from "../support/limited_gpu.ts";
import { randomGraphTests } from "../support/random_suite.ts";
import { runOn } from "../support/run_graph.ts";

const CASES: Readonly<Record<string, Partial<GpuLimits>>> = {
  "two bindings, 12 workgroups a dimension and 64 invocations": {
    maxStorageBuffersPerShaderStage: 2,
    maxComputeWorkgroupsPerDimension: 12,
    maxComputeInvocationsPerWorkgroup: 64,
    maxComputeWorkgroupSizeY: 64,
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
