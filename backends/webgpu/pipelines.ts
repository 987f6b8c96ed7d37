/** Shader modules as pipelines. */
import type { NodeNote } from "../errors.ts";
import type { GpuModule } from "./assemble.ts";
import { ShaderError, type ShaderProblem } from "./errors.ts";

/** Compiles every module; all at once, where the host can. */
export async function compilePipelines(
  device: GPUDevice,
  modules: readonly GpuModule[],
  nodesOf: (step: number) => readonly NodeNote[],
): Promise<GPUComputePipeline[]> {
  const layouts = new Map<string, GPUPipelineLayout>();
  return await Promise.all(modules.map((module) => {
    const key = module.bindings.join();
    const layout = layouts.get(key) ?? pipelineLayout(device, module.bindings);
    layouts.set(key, layout);
    return compilePipeline(device, module, layout, nodesOf);
  }));
}

/**
 * Storage buffers that may be written. Their sizes are part of the layout: Deno (2.9) checks sizes that
 * are not against the pipeline that was set before.
 */
function pipelineLayout(device: GPUDevice, sizes: readonly number[]): GPUPipelineLayout {
  const group = device.createBindGroupLayout({
    entries: sizes.map((minBindingSize, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: "storage" as const, minBindingSize },
    })),
  });
  return device.createPipelineLayout({ bindGroupLayouts: [group] });
}

async function compilePipeline(
  device: GPUDevice,
  { wgsl, kernel, step }: GpuModule,
  layout: GPUPipelineLayout,
  nodesOf: (step: number) => readonly NodeNote[],
): Promise<GPUComputePipeline> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: kernel, code: wgsl });
  const scope = device.popErrorScope();
  const failed = (problems: readonly ShaderProblem[], cause?: unknown) =>
    new ShaderError({ kernel, wgsl, nodes: nodesOf(step) }, problems, { cause });
  const refused = await scope;
  if (refused !== null) {
    const { messages } = await module.getCompilationInfo();
    const problems = messages
      .filter(({ type }) => type === "error")
      .map(({ lineNum, message }) => ({ line: lineNum, message }));
    throw failed(problems.length > 0 ? problems : [{ line: 0, message: refused.message }]);
  }
  try {
    return await device.createComputePipelineAsync({
      label: kernel,
      layout,
      compute: { module, entryPoint: "main" },
    });
  } catch (error) {
    throw failed([{ line: 0, message: String(error) }], error);
  }
}
