/** A program on one device: its memory, pipelines and bind groups, all made once. */
import type { Program } from "../../compiler/program.ts";
import { noteNode } from "../errors.ts";
import { Arena, arenaWords } from "./arena.ts";
import type { GpuDispatch, GpuModule, GpuProgram } from "./assemble.ts";
import type { Audit } from "./audit.ts";
import type { ArenaRange } from "./bindings.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import type { GpuDevice } from "./device.ts";
import { DeviceLostError, type GpuKernelNote, GpuValidationError } from "./errors.ts";
import { ReadbackRing } from "./readback.ts";
import { MOST_PASSES, timePasses } from "./time_passes.ts";

/** A program with its kernels as shaders: all that another device needs to run it too. */
export interface GpuPlan {
  readonly program: Program;
  readonly assembled: GpuProgram;
  /** Of which the shaders make use. */
  readonly capabilities: GpuCapabilities;
  /** What the shaders write down of what they round. */
  readonly audit?: Audit | undefined;
}

/** A dispatch with all that the encoder wants. */
interface ReadyDispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly dispatch: GpuDispatch;
}

/** A program on one device. */
export class DeviceProgram implements Disposable {
  readonly gpu: GpuDevice;
  readonly #plan: GpuPlan;
  readonly #arena: Arena;
  readonly #dispatches: readonly ReadyDispatch[];
  readonly #readback: ReadbackRing;

  private constructor(
    gpu: GpuDevice,
    plan: GpuPlan,
    arena: Arena,
    dispatches: readonly ReadyDispatch[],
  ) {
    this.gpu = gpu;
    this.#plan = plan;
    this.#arena = arena;
    this.#dispatches = dispatches;
    this.#readback = new ReadbackRing(gpu.device, plan.capabilities.limits);
  }

  /**
   * Compiles the kernels and takes the memory; the constants are in it.
   *
   * @throws {OutOfMemoryError} When its memory cannot be had.
   * @throws {ShaderError} When a kernel does not compile.
   * @throws {GpuValidationError} When the device does not bind a kernel's buffers.
   */
  static async load(gpu: GpuDevice, plan: GpuPlan): Promise<DeviceProgram> {
    const { program, assembled: { modules, dispatches, arenaBytes }, capabilities } = plan;
    const [arena, pipelines] = await Promise.allSettled([
      Arena.create(gpu.device, program, arenaBytes, capabilities),
      gpu.pipelines.acquire(modules, (module) => noteOf(program, module)),
    ]);
    const undo = () => {
      if (arena.status === "fulfilled") arena.value[Symbol.dispose]();
      if (pipelines.status === "fulfilled") gpu.pipelines.release(modules);
    };
    try {
      if (arena.status === "rejected") throw arena.reason;
      if (pipelines.status === "rejected") throw pipelines.reason;
      const ready = await Promise.all(dispatches.map(async (dispatch) => {
        const { module } = dispatch;
        const pipeline = pipelines.value[module];
        if (pipeline === undefined) throw new RangeError(`There is no pipeline ${module}`);
        return { pipeline, group: await bindGroup(gpu, plan, arena.value, dispatch), dispatch };
      }));
      const loaded = new DeviceProgram(gpu, plan, arena.value, ready);
      loaded.#writeConstants();
      return loaded;
    } catch (error) {
      undo();
      throw await gpu.lostBy(error) ?? error;
    }
  }

  /** Bytes on the device. */
  get bytes(): number {
    return this.#arena.bytes + this.#readback.bytes;
  }

  /** Copies whole words to a place of the arena, after all that was submitted. */
  write(offset: number, words: Uint8Array<ArrayBuffer>): void {
    let at = 0;
    for (const piece of this.#arena.pieces({ offset, bytes: words.byteLength })) {
      const part = words.subarray(at, at + piece.bytes);
      this.gpu.device.queue.writeBuffer(piece.buffer, piece.offset, part);
      at += piece.bytes;
    }
  }

  /** Submits every step, as one pass, and copies of the ranges after them; waits for the copies. */
  async run(ranges: readonly ArenaRange[]): Promise<ArrayBuffer[]> {
    return await this.#submit(ranges, (encoder) => this.#encode(encoder, this.#dispatches));
  }

  /** Copies ranges to the host. */
  async read(ranges: readonly ArenaRange[]): Promise<ArrayBuffer[]> {
    return await this.#submit(ranges, () => {});
  }

  /**
   * As {@linkcode run}, with a submit for each dispatch, which is waited for: it tells which kernel the
   * device is lost at, and takes less of the device's time at once.
   *
   * @throws {DeviceLostError} When it is lost, naming the kernel.
   */
  async runOneByOne(ranges: readonly ArenaRange[]): Promise<ArrayBuffer[]> {
    const { device } = this.gpu;
    for (const ready of this.#dispatches) {
      const encoder = device.createCommandEncoder();
      this.#encode(encoder, [ready]);
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      const { lost } = this.gpu;
      if (lost === undefined) continue;
      throw new DeviceLostError(lost.message, this.#noteOf(ready.dispatch), { cause: lost });
    }
    return await this.read(ranges);
  }

  /**
   * Runs all once, and gives each step's time in milliseconds by the device's clock.
   *
   * @throws {TypeError} When the device has no timestamps.
   */
  async timeSteps(): Promise<number[]> {
    if (!this.#plan.capabilities.timestamps) {
      throw new TypeError(
        "The device has no timestamps (`timestamp-query`): steps cannot be timed",
      );
    }
    const times: number[] = new Array(this.#plan.program.steps.length).fill(0);
    for (let first = 0; first < this.#dispatches.length; first += MOST_PASSES) {
      const timed = this.#dispatches.slice(first, first + MOST_PASSES);
      const passes = timed.map((ready) => (pass: GPUComputePassEncoder) =>
        encodeInto(pass, [ready])
      );
      const nanoseconds = await timePasses(this.gpu.device, passes);
      for (const [at, { dispatch: { step } }] of timed.entries()) {
        times[step] = (times[step] ?? 0) + (nanoseconds[at] ?? 0) / 1e6;
      }
    }
    return times;
  }

  /** Milliseconds of whole runs, one after the other, by the device's clock, which it must have. */
  async timeRuns(runs: number): Promise<number[]> {
    const run = (pass: GPUComputePassEncoder) => encodeInto(pass, this.#dispatches);
    const nanoseconds = await timePasses(this.gpu.device, Array.from({ length: runs }, () => run));
    return nanoseconds.map((time) => time / 1e6);
  }

  /** The dispatch that the device refuses to encode, and why; undefined when it takes all. */
  async refused(): Promise<GpuValidationError | undefined> {
    const { device } = this.gpu;
    for (const ready of this.#dispatches) {
      device.pushErrorScope("validation");
      const encoder = device.createCommandEncoder();
      this.#encode(encoder, [ready]);
      encoder.finish();
      const error = await device.popErrorScope();
      if (error !== null) {
        return new GpuValidationError(error.message, this.#noteOf(ready.dispatch));
      }
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
    this.#readback[Symbol.dispose]();
    this.gpu.pipelines.release(this.#plan.assembled.modules);
  }

  #encode(encoder: GPUCommandEncoder, dispatches: readonly ReadyDispatch[]): void {
    const pass = encoder.beginComputePass();
    encodeInto(pass, dispatches);
    pass.end();
  }

  async #submit(
    ranges: readonly ArenaRange[],
    encode: (encoder: GPUCommandEncoder) => void,
  ): Promise<ArrayBuffer[]> {
    const { device } = this.gpu;
    const encoder = device.createCommandEncoder();
    encode(encoder);
    const read = this.#readback.record(encoder, this.#arena, ranges);
    device.queue.submit([encoder.finish()]);
    return await read();
  }

  #writeConstants(): void {
    const { buffers, constants } = this.#plan.program;
    for (const { buffer, data } of constants) {
      const declared = buffers[buffer];
      if (declared === undefined || data.length !== declared.elements) {
        throw new RangeError(
          `Constant of buffer ${buffer} has ${data.length} elements, its buffer ` +
            `${declared?.elements}`,
        );
      }
      this.write(declared.offset, arenaWords(declared.dtype, data));
    }
  }

  #noteOf(dispatch: GpuDispatch): GpuKernelNote | undefined {
    return dispatchNote(this.#plan, dispatch);
  }
}

function encodeInto(pass: GPUComputePassEncoder, dispatches: readonly ReadyDispatch[]): void {
  for (const { pipeline, group, dispatch } of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...dispatch.grid);
  }
}

async function bindGroup(
  gpu: GpuDevice,
  plan: GpuPlan,
  arena: Arena,
  dispatch: GpuDispatch,
): Promise<GPUBindGroup> {
  const { device } = gpu;
  device.pushErrorScope("validation");
  const group = device.createBindGroup({
    layout: gpu.pipelines.groupLayout(plan.assembled.modules[dispatch.module]?.bindings ?? []),
    entries: dispatch.ranges.map((range, binding) => ({
      binding,
      resource: arena.binding(range),
    })),
  });
  const error = await device.popErrorScope();
  if (error !== null) throw new GpuValidationError(error.message, dispatchNote(plan, dispatch));
  return group;
}

/** The kernel of a dispatch, at the dispatch's own step. */
function dispatchNote(
  { program, assembled }: GpuPlan,
  { module, step }: GpuDispatch,
): GpuKernelNote | undefined {
  const found = assembled.modules[module];
  return found === undefined ? undefined : noteOf(program, { ...found, step });
}

function noteOf({ steps }: Program, { kernel, step, wgsl }: GpuModule): GpuKernelNote {
  return { kernel, step, wgsl, nodes: (steps[step]?.nodes ?? []).map(noteNode) };
}
