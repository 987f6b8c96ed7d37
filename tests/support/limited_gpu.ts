/** A GPU of which less is used than there is. */
import { backendOn, type WebGpuBackend } from "../../backends/webgpu/backend.ts";
import type { GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";

/** The backend on the tests' device with smaller limits, and without 16-bit floats or subgroups. */
export async function limitedGpu(limits: Partial<GpuLimits>): Promise<WebGpuBackend> {
  const gpu = await sharedDevice();
  const { attentionCosts: _, ...capabilities } = gpu.capabilities;
  return backendOn(gpu, {
    capabilities: {
      ...capabilities,
      alignment: Math.max(capabilities.alignment, limits.minStorageBufferOffsetAlignment ?? 0),
      f16: false,
      subgroups: undefined,
      limits: { ...capabilities.limits, ...limits },
    },
  });
}
