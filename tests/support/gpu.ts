/** The lane of tests on a GPU, or on a driver that is one in software. */
import { backendOn, type WebGpuBackend } from "../../backends/webgpu/backend.ts";
import type { GpuCapabilities, GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { GpuUnavailableError } from "../../backends/webgpu/errors.ts";
import { laneTest, type Requirement } from "./lanes.ts";

const found = await gpuWithoutCosts().catch((error: unknown) => {
  if (error instanceof GpuUnavailableError) return undefined;
  throw error;
});

/**
 * The backend as on a GPU, where attention is one kernel: a driver in software has costs by which it hardly
 * ever would be.
 *
 * @param limits Of which programs make use, where that is less than there is.
 * @param less What else they are told that there is not.
 * @throws {GpuUnavailableError} When there is no adapter.
 */
export async function gpuWithoutCosts(
  limits: Partial<GpuLimits> = {},
  less: Partial<Pick<GpuCapabilities, "f16" | "subgroups">> = {},
): Promise<WebGpuBackend> {
  const gpu = await sharedDevice();
  const { attentionCosts: _, ...capabilities } = gpu.capabilities;
  return backendOn(gpu, {
    capabilities: {
      ...capabilities,
      ...less,
      alignment: Math.max(capabilities.alignment, limits.minStorageBufferOffsetAlignment ?? 0),
      limits: { ...capabilities.limits, ...limits },
    },
  });
}

const requirement: Requirement = found === undefined
  ? { missing: "a WebGPU adapter, such as Debian's mesa-vulkan-drivers" }
  : { path: found.capabilities.adapter };

/** Adds a test that runs where there is an adapter. */
export function gpuTest(
  name: string,
  test: (backend: WebGpuBackend, context: Deno.TestContext) => Promise<void>,
): void {
  laneTest(name, requirement, async (_, context) => {
    if (found !== undefined) await test(found, context);
  });
}
