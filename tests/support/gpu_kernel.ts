/** Runs one kernel by itself on a GPU, for tests. */
import type { PlainKernel } from "../../backends/webgpu/emit_kernel.ts";
import type { Dispatch, EmitOptions } from "../../backends/webgpu/wgsl/module.ts";
import type { GpuDevice } from "../../backends/webgpu/device.ts";
import { withWorkspace } from "../../backends/webgpu/workspace.ts";
import { separateBindings } from "../../backends/webgpu/bindings.ts";
import { interpretKernel } from "../../backends/reference/loop_interpreter.ts";

/** Makes the dispatches of a kernel. */
export type Emit<K extends PlainKernel> = (kernel: K, options: EmitOptions) => Dispatch[];

/** A kernel of f32 buffers, ready to run. */
export interface LoadedGpuKernel {
  /** Runs on what is given; tells what the buffers hold afterwards. */
  run(given: readonly Float32Array[]): Promise<Float32Array[]>;
  end(): void;
}

/** Makes a kernel's pipelines and an arena for its buffers. */
export async function loadGpuKernel<K extends PlainKernel>(
  { device, capabilities }: GpuDevice,
  kernel: K,
  emit: Emit<K>,
): Promise<LoadedGpuKernel> {
  const bound = withWorkspace(kernel);
  const layout = separateBindings(bound);
  const { limits, software, subgroups } = capabilities;
  const dispatches = emit(bound, {
    ...{ layout, limits, software, subgroups },
    comment: [kernel.name],
  });
  const starts: number[] = [];
  let bytes = 0;
  for (const size of layout.regions.flat()) {
    starts.push(bytes);
    bytes += Math.ceil(size / 256) * 256;
  }
  device.pushErrorScope("validation");
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const arena = device.createBuffer({ size: bytes, usage });
  const staging = device.createBuffer({
    size: bytes,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  const group = device.createBindGroupLayout({
    entries: layout.regions.flat().map((_, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: "storage" as const },
    })),
  });
  const bindGroup = device.createBindGroup({
    layout: group,
    entries: layout.regions.flat().map((size, binding) => ({
      binding,
      resource: { buffer: arena, offset: starts[binding] ?? 0, size },
    })),
  });
  const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [group] });
  const pipelines = dispatches.map(({ wgsl, grid }) => {
    const compute = { module: device.createShaderModule({ code: wgsl }), entryPoint: "main" };
    return { grid, pipeline: device.createComputePipeline({ layout: pipelineLayout, compute }) };
  });
  const refused = await device.popErrorScope();
  if (refused !== null) {
    throw new Error(`${refused.message}\n${dispatches.map(({ wgsl }) => wgsl).join("\n")}`);
  }
  const run = async (given: readonly Float32Array[]) => {
    given.forEach((array, at) => {
      if (array.length === 0) return;
      device.queue.writeBuffer(arena, starts[at] ?? 0, new Float32Array(array));
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, grid } of pipelines) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...grid);
    }
    pass.end();
    encoder.copyBufferToBuffer(arena, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const all = staging.getMappedRange().slice(0);
    staging.unmap();
    return kernel.buffers.map(({ elements }, at) => new Float32Array(all, starts[at], elements));
  };
  const end = () => {
    for (const buffer of [arena, staging]) buffer.destroy();
  };
  return { run, end };
}

/** A buffer of a kernel, as computed and as it should be. */
export interface Comparison {
  readonly name: string;
  readonly actual: Float32Array;
  readonly expected: Float32Array;
}

/** Runs the kernel on the GPU twice, which must agree bit for bit, and in the interpreter. */
export async function compareOnGpu<K extends PlainKernel>(
  gpu: GpuDevice,
  kernel: K,
  emit: Emit<K>,
  fill: (buffer: number, element: number) => number,
): Promise<Comparison[]> {
  const start = kernel.buffers.map(({ elements, access }, buffer) =>
    Float32Array.from(
      { length: elements },
      (_, element) => access === "write" ? NaN : fill(buffer, element),
    )
  );
  const loaded = await loadGpuKernel(gpu, kernel, emit);
  const [actual, again] = [await loaded.run(start), await loaded.run(start)];
  loaded.end();
  const expected = start.map((array) => array.slice());
  interpretKernel(kernel, expected);
  return kernel.buffers.map(({ name }, at) => {
    const [first, second] = [actual[at], again[at]].map((array) =>
      new Uint32Array(array?.buffer ?? new ArrayBuffer(0), array?.byteOffset, array?.length)
    );
    const differs = first?.findIndex((word, element) => word !== second?.[element]) ?? 0;
    if (differs >= 0) {
      throw new Error(`${kernel.name}: ${name}[${differs}] differs from run to run`);
    }
    return {
      name,
      actual: actual[at] ?? new Float32Array(),
      expected: expected[at] ?? new Float32Array(),
    };
  });
}
