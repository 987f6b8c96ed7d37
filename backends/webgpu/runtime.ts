/** A program as it runs on a GPU: its arena, pipelines and bind groups, all made once. */
import type { Explanation } from "../../compiler/explain.ts";
import type { Program, ProgramPort } from "../../compiler/program.ts";
import type { Executable, MemoryReport, StepNote } from "../backend.ts";
import { noteNode, UnusableProgramError } from "../errors.ts";
import { bytesPerElement, type DType } from "../../graph/dtype.ts";
import type { HostData, HostTensor } from "../host_array.ts";
import { createArena, rangeOf, tensorOf, writeElements } from "./arena.ts";
import { assembleGpu, type GpuDispatch } from "./assemble.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import type { GpuDevice } from "./device.ts";
import { GpuValidationError } from "./errors.ts";
import { compilePipelines } from "./pipelines.ts";
import { ReadbackRing } from "./readback.ts";

/** A dispatch with all that the encoder wants. */
interface ReadyDispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
}

/** What is on the device. */
interface Loaded {
  readonly arena: GPUBuffer;
  readonly dispatches: readonly ReadyDispatch[];
  readonly readback: ReadbackRing;
}

/** A program on a GPU. */
export class GpuExecutable implements Executable {
  readonly inputs: readonly ProgramPort[];
  readonly outputs: readonly ProgramPort[];
  readonly #program: Program;
  readonly #gpu: GpuDevice;
  #loaded: Loaded | undefined;
  /** Where each 16-bit input was last written to, and what: the next piece may begin in its word. */
  readonly #lastHalves = new Map<string, { readonly place: number; readonly bits: number }>();

  private constructor(program: Program, gpu: GpuDevice, loaded: Loaded) {
    this.inputs = program.inputs;
    this.outputs = program.outputs;
    this.#program = program;
    this.#gpu = gpu;
    this.#loaded = loaded;
  }

  /**
   * Compiles a program's kernels and takes its memory.
   *
   * @throws {OutOfMemoryError} When its memory cannot be had.
   * @throws {ShaderError} When a kernel does not compile.
   */
  static async load(
    program: Program,
    gpu: GpuDevice,
    capabilities: GpuCapabilities,
  ): Promise<GpuExecutable> {
    const { device } = gpu;
    const assembled = assembleGpu(program, capabilities);
    const nodesOf = (step: number) => (program.steps[step]?.nodes ?? []).map(noteNode);
    const [arena, pipelines] = await Promise.all([
      createArena(device, program, capabilities),
      compilePipelines(device, assembled.modules, nodesOf),
    ]);
    device.pushErrorScope("validation");
    const dispatches = assembled.dispatches.map((dispatch) =>
      readyDispatch(device, arena, pipelines, dispatch)
    );
    const refused = await device.popErrorScope();
    if (refused !== null) throw new GpuValidationError(refused.message);
    const loaded = { arena, dispatches, readback: new ReadbackRing(device) };
    return new GpuExecutable(program, gpu, loaded);
  }

  write(path: string, { data }: { readonly data: HostData }, start = 0): void {
    const { arena } = this.#usable("written to");
    const port = portAt(this.inputs, path, "input");
    const { offset } = rangeOf(this.#program, port);
    const { words, from } = this.#wholeWords(path, port.dtype, data, start);
    const bytes = from * bytesPerElement(port.dtype);
    writeElements(this.#gpu.device, arena, offset + bytes, port.dtype, words);
  }

  /** The elements, and before them the one that shares their first word. */
  #wholeWords(path: string, dtype: DType, data: HostData, start: number) {
    if (bytesPerElement(dtype) === 4) return { words: data, from: start };
    const before = this.#lastHalves.get(path);
    const last = data.at(-1);
    if (last !== undefined) {
      this.#lastHalves.set(path, { place: start + data.length - 1, bits: last });
    }
    if (start % 2 === 0) return { words: data, from: start };
    if (before?.place !== start - 1) {
      throw new RangeError(
        `Input "${path}" cannot be written from element ${start}: 16-bit elements come in pairs, ` +
          "or one piece after the other",
      );
    }
    const words = new Uint16Array(data.length + 1);
    words[0] = before.bits;
    words.set(data, 1);
    return { words, from: start - 1 };
  }

  async readInputs(paths: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    const loaded = this.#usable("read");
    const encoder = this.#gpu.device.createCommandEncoder();
    const ports = paths.map((path) => portAt(this.inputs, path, "input"));
    return await this.#submit(loaded, encoder, ports);
  }

  async run(outputs: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    const loaded = this.#usable("run");
    const encoder = this.#gpu.device.createCommandEncoder();
    const ports = outputs.map((path) => portAt(this.outputs, path, "output"));
    const pass = encoder.beginComputePass();
    for (const { pipeline, group, grid } of loaded.dispatches) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
    }
    pass.end();
    return await this.#submit(loaded, encoder, ports);
  }

  memory(): MemoryReport {
    const { arena, readback } = this.#loaded ?? {};
    return {
      totalBytes: (arena?.size ?? 0) + (readback?.bytes ?? 0),
      arenaBytes: this.#program.arenaBytes,
      lowerBoundBytes: this.#program.lowerBoundBytes,
      peak: this.#program.peak,
      recomputed: this.#program.recomputed,
    };
  }

  steps(): readonly StepNote[] {
    return this.#program.steps.map(({ kernel, nodes }) => {
      const { name = "?", kind = "?" } = this.#program.kernels[kernel] ?? {};
      return { kernel: name, kind, nodes: nodes.map(noteNode) };
    });
  }

  explain(): Explanation | undefined {
    return this.#program.explanation;
  }

  describe(): string {
    return describeGpu(this.#gpu);
  }

  [Symbol.dispose](): void {
    const loaded = this.#loaded;
    if (loaded === undefined) return;
    this.#loaded = undefined;
    loaded.arena.destroy();
    loaded.readback.dispose();
  }

  /** Submits the commands, and copies of the ports after them; gives the copies. */
  async #submit(
    { arena, readback }: Loaded,
    encoder: GPUCommandEncoder,
    ports: readonly ProgramPort[],
  ): Promise<ReadonlyMap<string, HostTensor>> {
    const ranges = ports.map((port) => rangeOf(this.#program, port));
    const read = readback.record(encoder, arena, ranges);
    this.#gpu.device.queue.submit([encoder.finish()]);
    try {
      const parts = await read();
      this.#gpu.check();
      return new Map(ports.map((port, at) => {
        const bytes = parts[at] ?? new ArrayBuffer(0);
        return [port.path, tensorOf(port, bytes)];
      }));
    } catch (error) {
      this.#gpu.check();
      throw error;
    }
  }

  #usable(attempt: string): Loaded {
    if (this.#loaded === undefined) {
      throw new UnusableProgramError(`A disposed program cannot be ${attempt}`);
    }
    this.#gpu.check();
    return this.#loaded;
  }
}

/** One line about a device. */
export function describeGpu({ capabilities }: GpuDevice): string {
  const { adapter, f16, subgroups } = capabilities;
  const without = [f16 ? "" : "16-bit floats", subgroups ? "" : "subgroups"].filter(Boolean);
  return `webgpu: ${adapter}${without.length > 0 ? `, without ${without.join(" or ")}` : ""}`;
}

function readyDispatch(
  device: GPUDevice,
  arena: GPUBuffer,
  pipelines: readonly GPUComputePipeline[],
  { module, grid, ranges }: GpuDispatch,
): ReadyDispatch {
  const pipeline = pipelines[module];
  if (pipeline === undefined) throw new RangeError(`There is no pipeline ${module}`);
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: ranges.map(({ offset, bytes }, binding) => ({
      binding,
      resource: { buffer: arena, offset, size: bytes },
    })),
  });
  return { pipeline, group, grid };
}

function portAt(ports: readonly ProgramPort[], path: string, kind: string): ProgramPort {
  const port = ports.find((candidate) => candidate.path === path);
  if (port !== undefined) return port;
  throw new RangeError(`The program has no ${kind} "${path}"`);
}
