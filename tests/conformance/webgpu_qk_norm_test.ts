/** QK-norm and attention on WebGPU in all their forms, against the reference. */
import { DEFAULT_LIMITS } from "../../backends/webgpu/capabilities.ts";
import { gpuTest, gpuWithoutCosts } from "../support/gpu.ts";
import { limitedGpu } from "../support/limited_gpu.ts";
import { qkNormTests } from "../support/qk_norm_suite.ts";
import { runOn } from "../support/run_graph.ts";

const addTest = (name: string, test: () => Promise<void>) => gpuTest(name, test);

qkNormTests(
  "WebGPU",
  async (graph) => await runOn(await gpuWithoutCosts(), graph),
  { ways: ["folded"], numRuns: 8, large: true },
  addTest,
);

qkNormTests(
  "WebGPU with the least limits",
  async (graph) => await runOn(await gpuWithoutCosts(DEFAULT_LIMITS), graph),
  { ways: ["folded"], numRuns: 3, large: false },
  addTest,
);

qkNormTests(
  "WebGPU with six bindings of 12,288 bytes",
  async (graph) => {
    const few = { maxStorageBuffersPerShaderStage: 6, maxStorageBufferBindingSize: 12288 };
    return await runOn(await limitedGpu(few), graph);
  },
  { ways: ["folded"], numRuns: 3, large: false },
  addTest,
);
