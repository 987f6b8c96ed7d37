/** QK-norm and attention on WebGPU in all their forms, against the reference. */
import { backendOn, webgpu } from "../../backends/webgpu/backend.ts";
import { DEFAULT_LIMITS } from "../../backends/webgpu/capabilities.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { gpuTest } from "../support/gpu.ts";
import { limitedGpu } from "../support/limited_gpu.ts";
import { qkNormTests } from "../support/qk_norm_suite.ts";
import { runOn } from "../support/run_graph.ts";

const addTest = (name: string, test: () => Promise<void>) => gpuTest(name, test);

qkNormTests(
  "WebGPU",
  async (graph) => await runOn(await webgpu(), graph),
  { ways: ["folded"], numRuns: 8, large: true },
  addTest,
);

qkNormTests(
  "WebGPU with the least limits",
  async (graph) => {
    const gpu = await sharedDevice();
    const capabilities = { ...gpu.capabilities, limits: DEFAULT_LIMITS };
    return await runOn(backendOn(gpu, { capabilities }), graph);
  },
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
