/** A GPU of which less is used than there is. */
import type { WebGpuBackend } from "../../backends/webgpu/backend.ts";
import type { GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { gpuWithoutCosts } from "./gpu.ts";

/** The backend on the tests' device with smaller limits, and without 16-bit floats or subgroups. */
export async function limitedGpu(limits: Partial<GpuLimits>): Promise<WebGpuBackend> {
  return await gpuWithoutCosts(limits, { f16: false, subgroups: undefined });
}
