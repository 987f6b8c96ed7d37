/** How long kernels take on a device, in each of the ways that they could be computed. */
import { roundUp } from "../../compiler/multiples.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import type { GpuDevice } from "./device.ts";
import { timePasses } from "./time_passes.ts";
import type { Dispatch } from "./wgsl/module.ts";

/**
 * Tells how long each of several candidates takes, in nanoseconds: dispatches over the same bindings, of
 * so many bytes each. Undefined where that cannot be measured.
 */
export type DispatchTimer = (
  bindings: readonly number[],
  candidates: readonly (readonly Dispatch[])[],
) => Promise<readonly number[] | undefined>;

/** Measurements of each candidate; the first counts as warming up. */
const ROUNDS = 4;

/**
 * Times candidates on a device, over zeros: the least of several times of each, all in turn. It cannot on a
 * device without timestamps, nor where the device cannot hold the buffers beside what it has.
 */
export function timerOn(gpu: GpuDevice, capabilities: GpuCapabilities): DispatchTimer {
  return async (bindings, candidates) => {
    const { limits, alignment, timestamps } = capabilities;
    const { starts, end } = placesOf(bindings, alignment);
    const fits = bindings.length <= limits.maxStorageBuffersPerShaderStage &&
      end <= limits.maxBufferSize &&
      bindings.every((bytes) => bytes <= limits.maxStorageBufferBindingSize);
    if (!timestamps || !fits) return undefined;
    const { device } = gpu;
    device.pushErrorScope("out-of-memory");
    const buffer = device.createBuffer({ size: end, usage: GPUBufferUsage.STORAGE });
    try {
      if (await device.popErrorScope() !== null) return undefined;
      return await timesOf(gpu, { buffer, starts, bindings }, candidates);
    } finally {
      buffer.destroy();
    }
  };
}

function placesOf(bindings: readonly number[], alignment: number) {
  let end = 0;
  const starts = bindings.map((bytes) => {
    const start = end;
    end += roundUp(bytes, alignment);
    return start;
  });
  return { starts, end };
}

async function timesOf(
  { device, pipelines }: GpuDevice,
  { buffer, starts, bindings }: {
    readonly buffer: GPUBuffer;
    readonly starts: readonly number[];
    readonly bindings: readonly number[];
  },
  candidates: readonly (readonly Dispatch[])[],
): Promise<number[]> {
  const kernel = { kernel: "tuning", step: 0 };
  const modules = candidates.flat().map(({ wgsl }) => ({ ...kernel, wgsl, code: wgsl, bindings }));
  const ready = await pipelines.acquire(modules, ({ wgsl }) => ({ ...kernel, wgsl, nodes: [] }));
  try {
    const group = device.createBindGroup({
      layout: pipelines.groupLayout(bindings),
      entries: bindings.map((size, binding) => ({
        binding,
        resource: { buffer, offset: starts[binding] ?? 0, size },
      })),
    });
    let first = 0;
    const runs = candidates.map((dispatches) => {
      const own = dispatches.map(({ grid }, at) => ({ grid, pipeline: ready[first + at] }));
      first += dispatches.length;
      return own;
    });
    const writes = runs.map((run) => (pass: GPUComputePassEncoder) => {
      pass.setBindGroup(0, group);
      for (const { pipeline, grid } of run) {
        if (pipeline === undefined) throw new RangeError("A candidate has no pipeline");
        pass.setPipeline(pipeline);
        pass.dispatchWorkgroups(...grid);
      }
    });
    const times = await timePasses(device, Array.from({ length: ROUNDS }, () => writes).flat());
    return runs.map((_, at) =>
      Math.min(...times.filter((_, run) => run >= runs.length && run % runs.length === at))
    );
  } finally {
    pipelines.release(modules);
  }
}
