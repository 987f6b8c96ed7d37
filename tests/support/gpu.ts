/** The lane of tests on a GPU, or on a driver that is one in software. */
import { webgpu, type WebGpuBackend } from "../../backends/webgpu/backend.ts";
import { GpuUnavailableError } from "../../backends/webgpu/errors.ts";
import { laneTest, type Requirement } from "./lanes.ts";

const found = await webgpu().catch((error: unknown) => {
  if (error instanceof GpuUnavailableError) return undefined;
  throw error;
});

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
