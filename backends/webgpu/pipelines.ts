/** Shader modules as pipelines, each made once for all programs of a device. */
import type { GpuModule } from "./assemble.ts";
import { type GpuKernelNote, ShaderError, type ShaderProblem } from "./errors.ts";

interface Entry {
  readonly pipeline: Promise<GPUComputePipeline>;
  users: number;
}

interface Layouts {
  readonly group: GPUBindGroupLayout;
  readonly pipeline: GPUPipelineLayout;
}

/** What a shader's compilation ended with. */
class ShaderProblems extends Error {
  readonly problems: readonly ShaderProblem[];

  constructor(problems: readonly ShaderProblem[], options?: ErrorOptions) {
    super("A shader does not compile", options);
    this.problems = problems;
  }
}

/** The pipelines that programs on a device use: what is the same is compiled once. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #entries = new Map<string, Entry>();
  readonly #layouts = new Map<string, Layouts>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Pipelines in use. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * The pipelines of these modules; those that are new are compiled all at once, where the host can.
   * They are kept until they are {@linkcode release}d as often as they were asked for.
   *
   * @throws {ShaderError} When one does not compile; none is kept then.
   */
  async acquire(
    modules: readonly GpuModule[],
    noteOf: (module: GpuModule) => GpuKernelNote,
  ): Promise<GPUComputePipeline[]> {
    const entries = modules.map((module) => this.#use(module));
    const found = await Promise.allSettled(entries.map(({ pipeline }) => pipeline));
    const failed = found.findIndex(({ status }) => status === "rejected");
    if (failed < 0) {
      return found.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
    }
    this.release(modules);
    const [module, one] = [modules[failed], found[failed]];
    const reason: unknown = one?.status === "rejected" ? one.reason : undefined;
    if (module === undefined || !(reason instanceof ShaderProblems)) throw reason;
    throw new ShaderError(noteOf(module), reason.problems, { cause: reason.cause });
  }

  /** Ends one use of each module's pipeline. */
  release(modules: readonly GpuModule[]): void {
    for (const module of modules) {
      const key = keyOf(module);
      const entry = this.#entries.get(key);
      if (entry !== undefined && --entry.users === 0) this.#entries.delete(key);
    }
    if (this.#entries.size === 0) this.#layouts.clear();
  }

  #use(module: GpuModule): Entry {
    const key = keyOf(module);
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const layout = () => this.#layoutsOf(module.bindings).pipeline;
    const entry = { pipeline: compilePipeline(this.#device, module, layout), users: 1 };
    this.#entries.set(key, entry);
    return entry;
  }

  /** The layout of bind groups for bindings of these sizes. */
  groupLayout(sizes: readonly number[]): GPUBindGroupLayout {
    return this.#layoutsOf(sizes).group;
  }

  /**
   * Storage buffers that may be written. Their sizes are part of the layout: Deno (2.9) checks sizes that
   * are not against the pipeline that was set before.
   */
  #layoutsOf(sizes: readonly number[]): Layouts {
    const key = sizes.join();
    const known = this.#layouts.get(key);
    if (known !== undefined) return known;
    const group = this.#device.createBindGroupLayout({
      entries: sizes.map((minBindingSize, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "storage" as const, minBindingSize },
      })),
    });
    const layouts = {
      group,
      pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }),
    };
    this.#layouts.set(key, layouts);
    return layouts;
  }
}

function keyOf({ code, bindings }: GpuModule): string {
  return `${bindings.join()}\n${code}`;
}

async function compilePipeline(
  device: GPUDevice,
  { wgsl, kernel }: GpuModule,
  layoutOf: () => GPUPipelineLayout,
): Promise<GPUComputePipeline> {
  device.pushErrorScope("validation");
  const layout = layoutOf();
  const module = device.createShaderModule({ label: kernel, code: wgsl });
  const refused = await device.popErrorScope();
  if (refused !== null) {
    const { messages } = await module.getCompilationInfo();
    const problems = messages
      .filter(({ type }) => type === "error")
      .map(({ lineNum, message }) => ({ line: lineNum, message }));
    throw new ShaderProblems(
      problems.length > 0 ? problems : [{ line: 0, message: refused.message }],
    );
  }
  try {
    return await device.createComputePipelineAsync({
      label: kernel,
      layout,
      compute: { module, entryPoint: "main" },
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ShaderProblems([{ line: 0, message }], { cause: error });
  }
}
