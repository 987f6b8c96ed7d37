/** Small limits: programs are the same, cut differently. */
import { backendOn } from "../../backends/webgpu/backend.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { gpuTest } from "../support/gpu.ts";
import { randomGraphTests } from "../support/random_suite.ts";
import { runOn } from "../support/run_graph.ts";

randomGraphTests(
  "WebGPU with two bindings, 12 workgroups a dimension and 64 invocations",
  async (graph) => {
    const gpu = await sharedDevice();
    const limits = {
      ...gpu.capabilities.limits,
      maxStorageBuffersPerShaderStage: 2,
      maxComputeWorkgroupsPerDimension: 12,
      maxComputeInvocationsPerWorkgroup: 64,
      maxComputeWorkgroupSizeY: 64,
    };
    return await runOn(backendOn(gpu, { capabilities: { ...gpu.capabilities, limits } }), graph);
  },
  { f32: 40, mixed: 40, gradients: 20 },
  (name, test) => gpuTest(name, test),
);
