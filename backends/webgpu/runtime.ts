/** A program that runs on a GPU, and goes on when its device is lost. */
import type { Explanation } from "../../compiler/explain.ts";
import type { ProgramPort } from "../../compiler/program.ts";
import { bytesPerElement } from "../../graph/dtype.ts";
import type { Executable, MemoryReport, StepNote } from "../backend.ts";
import { noteNode, OutOfMemoryError, UnusableProgramError } from "../errors.ts";
import type { HostData, HostTensor } from "../host_array.ts";
import { arenaWords, rangeOf, tensorOf } from "./arena.ts";
import type { RoundingNote } from "./audit.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import type { GpuDevice } from "./device.ts";
import { DeviceProgram, type GpuPlan } from "./device_program.ts";
import { DeviceLostError, GpuValidationError } from "./errors.ts";
import { InputCopies, type InputData } from "./input_copies.ts";

/** A device was lost, and the program went on with another. */
export interface DeviceLossNote {
  /** What happened, for people. */
  readonly message: string;
  readonly error: DeviceLostError;
  /** Runs since the donated inputs were last set, or read all together: they are as they were then. */
  readonly runsUndone: number;
}

/** How a program behaves. */
export interface GpuExecutableOptions {
  readonly onDeviceLost: (note: DeviceLossNote) => void;
  /** Takes what an audit of the plan has found, after each run. */
  readonly onAudit?: ((notes: readonly RoundingNote[]) => void) | undefined;
}

/** A run or a read whose results are not in yet. */
interface Operation {
  readonly kind: "run" | "read";
  readonly ports: readonly ProgramPort[];
  /** What was written since the one before. */
  readonly writes: InputData;
  /** The device it was last submitted to. */
  on: DeviceProgram | undefined;
  attempt: Promise<ArrayBuffer[]>;
  /** What came of it, once its results are in. */
  tensors: ReadonlyMap<string, HostTensor> | undefined;
  ended: boolean;
}

const WORD = 4;

/** A program on a GPU. */
export class GpuExecutable implements Executable {
  readonly inputs: readonly ProgramPort[];
  readonly outputs: readonly ProgramPort[];
  readonly #plan: GpuPlan;
  readonly #options: GpuExecutableOptions;
  readonly #copies = new InputCopies();
  /** Inputs that runs change. */
  readonly #donated: ReadonlySet<string>;
  /** The oldest first. */
  readonly #underWay: Operation[] = [];
  #loaded: DeviceProgram;
  #recovery: Promise<void> | undefined;
  /** Whether a device was lost before. */
  #recovered = false;
  /** Runs since the copies of donated inputs were made. */
  #runsSince = 0;
  #unusable: Error | undefined;

  private constructor(plan: GpuPlan, loaded: DeviceProgram, options: GpuExecutableOptions) {
    const { inputs, outputs } = plan.program;
    this.inputs = inputs;
    this.outputs = outputs;
    this.#plan = plan;
    this.#loaded = loaded;
    this.#options = options;
    const updated = new Set(outputs.map(({ buffer }) => buffer));
    this.#donated = new Set(
      inputs.filter(({ buffer }) => updated.has(buffer)).map(({ path }) => path),
    );
  }

  /**
   * Compiles a program's kernels and takes its memory.
   *
   * @throws {OutOfMemoryError} When its memory cannot be had.
   * @throws {ShaderError} When a kernel does not compile.
   * @throws {GpuValidationError} When the device does not bind a kernel's buffers.
   */
  static async load(
    gpu: GpuDevice,
    plan: GpuPlan,
    options: GpuExecutableOptions,
  ): Promise<GpuExecutable> {
    return new GpuExecutable(plan, await DeviceProgram.load(gpu, plan), options);
  }

  write(path: string, { data }: { readonly data: HostData }, start = 0): void {
    this.#refuseUnusable("written to");
    const port = portAt(this.inputs, path, "input");
    const copy = this.#copies.write(port, data, start);
    this.#upload(this.#loaded, port, copy, start, start + data.length);
  }

  async readInputs(paths: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    this.#refuseUnusable("read");
    return await this.#perform("read", paths.map((path) => portAt(this.inputs, path, "input")));
  }

  async run(outputs: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    this.#refuseUnusable("run");
    return await this.#perform("run", outputs.map((path) => portAt(this.outputs, path, "output")));
  }

  memory(): MemoryReport {
    const { program: { lowerBoundBytes, peak, recomputed }, assembled } = this.#plan;
    const { arenaBytes } = assembled;
    const totalBytes = this.#unusable === undefined ? this.#loaded.bytes : 0;
    return { totalBytes, arenaBytes, lowerBoundBytes, peak, recomputed };
  }

  steps(): readonly StepNote[] {
    const { kernels, steps } = this.#plan.program;
    return steps.map(({ kernel, nodes }) => {
      const { name = "?", kind = "?" } = kernels[kernel] ?? {};
      return { kernel: name, kind, nodes: nodes.map(noteNode) };
    });
  }

  /**
   * Runs the steps with the inputs as they are, and gives each step's time in milliseconds by the device's
   * clock. Donated inputs change as in any run; it is for programs that nothing else runs meanwhile.
   *
   * @throws {TypeError} When the device has no timestamps.
   */
  async timeSteps(): Promise<number[]> {
    this.#refuseUnusable("timed");
    return await this.#loaded.timeSteps();
  }

  explain(): Explanation | undefined {
    return this.#plan.program.explanation;
  }

  describe(): string {
    return describeGpu(this.#plan.capabilities);
  }

  [Symbol.dispose](): void {
    if (this.#unusable !== undefined) return;
    this.#unusable = new UnusableProgramError("The program is disposed");
    this.#loaded[Symbol.dispose]();
  }

  /** Submits at once, and waits for the results, on another device if this one is lost. */
  async #perform(
    kind: Operation["kind"],
    ports: readonly ProgramPort[],
  ): Promise<ReadonlyMap<string, HostTensor>> {
    const writes = this.#copies.take();
    const operation: Operation = {
      kind,
      ports,
      writes,
      on: this.#loaded,
      attempt: this.#attempt(this.#loaded, kind, ports),
      tensors: undefined,
      ended: false,
    };
    this.#underWay.push(operation);
    try {
      operation.tensors = await this.#results(operation);
      return operation.tensors;
    } finally {
      operation.ended = true;
      this.#settle();
    }
  }

  async #attempt(
    loaded: DeviceProgram,
    kind: Operation["kind"],
    ports: readonly ProgramPort[],
    oneByOne = false,
  ): Promise<ArrayBuffer[]> {
    try {
      if (loaded.gpu.lost !== undefined) throw loaded.gpu.lost;
      const { program, audit } = this.#plan;
      const ranges = ports.map((port) => rangeOf(program, port));
      if (audit !== undefined && kind === "run") ranges.push(audit.range);
      const results = kind === "read"
        ? await loaded.read(ranges)
        : oneByOne
        ? await loaded.runOneByOne(ranges)
        : await loaded.run(ranges);
      const refused = loaded.gpu.takeRefused();
      if (refused !== undefined) throw await this.#explained(loaded, refused);
      const words = results[ports.length];
      if (audit !== undefined && words !== undefined) this.#options.onAudit?.(audit.notes(words));
      return results;
    } catch (error) {
      if (error instanceof DeviceLostError) throw error;
      throw await loaded.gpu.lostBy(error) ?? await this.#reason(loaded, error);
    }
  }

  /** What the device has said of a failure, if it has, and otherwise the failure. */
  async #reason(loaded: DeviceProgram, error: unknown): Promise<unknown> {
    const refused = loaded.gpu.takeRefused();
    return refused === undefined ? error : await this.#explained(loaded, refused);
  }

  async #explained(loaded: DeviceProgram, refused: GPUError): Promise<Error> {
    if (refused instanceof GPUOutOfMemoryError) {
      return new OutOfMemoryError(loaded.bytes, refused.message);
    }
    return await loaded.refused() ?? new GpuValidationError(refused.message);
  }

  async #results(operation: Operation): Promise<ReadonlyMap<string, HostTensor>> {
    for (;;) {
      const { on } = operation;
      try {
        const parts = await operation.attempt;
        return new Map(operation.ports.map((port, at) => {
          const bytes = parts[at] ?? new ArrayBuffer(0);
          return [port.path, tensorOf(port, bytes)];
        }));
      } catch (error) {
        if (!(error instanceof DeviceLostError)) throw error;
        if (this.#unusable !== undefined) throw this.#unusable;
        if (on === this.#loaded) this.#recovery ??= this.#recover(error);
        await this.#recovery;
      }
    }
  }

  /** Goes on with another device, where all that is under way is done again. */
  async #recover(error: DeviceLostError): Promise<void> {
    const lost = this.#loaded;
    try {
      if (this.#recovered) throw error;
      this.#recovered = true;
      const loaded = await DeviceProgram.load(await lost.gpu.replacement(), this.#plan);
      await this.#doAgain(loaded);
      // While that went on, what was written or run was left to it.
      if (this.#unusable !== undefined) {
        loaded[Symbol.dispose]();
        throw this.#unusable;
      }
      for (const [path, copy] of this.#copies.fresh) this.#uploadAll(loaded, path, copy);
      this.#loaded = loaded;
      lost[Symbol.dispose]();
      this.#options.onDeviceLost(this.#noteOfLoss(error));
    } catch (failure) {
      if (this.#unusable === undefined) {
        this.#unusable = failure instanceof DeviceLostError
          ? secondLoss(failure)
          : asError(failure);
        lost[Symbol.dispose]();
      }
      throw this.#unusable;
    } finally {
      this.#recovery = undefined;
    }
  }

  /** Runs and reads that are under way, once more and in order, each after what was written before it. */
  async #doAgain(loaded: DeviceProgram): Promise<void> {
    for (const [path, copy] of this.#copies.settled) this.#uploadAll(loaded, path, copy);
    for (;;) {
      const next = this.#underWay.find(({ on }) => on !== loaded);
      if (next === undefined) return;
      for (const [path, copy] of next.writes) this.#uploadAll(loaded, path, copy);
      next.on = loaded;
      next.attempt = this.#attempt(loaded, next.kind, next.ports, true);
      // Whatever else may be wrong with it is for who asked for it.
      const failure = await next.attempt.then(() => undefined, (reason: unknown) => reason);
      if (failure instanceof DeviceLostError) throw failure;
    }
  }

  #noteOfLoss(error: DeviceLostError): DeviceLossNote {
    const runsUndone = this.#donated.size === 0 ? 0 : this.#runsSince;
    const state = runsUndone === 0
      ? ""
      : ` Its state is as it was when it was last set, or read as a whole, ${runsUndone} runs before.`;
    const message = `${error.message}. The program goes on with another device, once.${state}`;
    return { message, error, runsUndone };
  }

  /** Takes account of what has ended, in the order in which it was asked for. */
  #settle(): void {
    for (;;) {
      const [oldest] = this.#underWay;
      if (oldest?.ended !== true) return;
      this.#underWay.shift();
      this.#copies.settle(oldest.writes);
      if (this.#hasState(oldest.writes)) this.#runsSince = 0;
      if (oldest.kind === "run") {
        this.#runsSince++;
      } else if (oldest.tensors !== undefined && this.#hasState(oldest.tensors)) {
        this.#keepState(oldest.tensors);
      }
    }
  }

  /** Whether all donated inputs are among these. */
  #hasState(paths: { has(path: string): boolean }): boolean {
    for (const path of this.#donated) if (!paths.has(path)) return false;
    return true;
  }

  /** Copies what the device has made of the donated inputs: all of one moment. */
  #keepState(tensors: ReadonlyMap<string, HostTensor>): void {
    if (this.#runsSince === 0) return;
    this.#runsSince = 0;
    for (const path of this.#donated) {
      const data = tensors.get(path)?.data;
      // Who asked for it may write to what they were given.
      if (data !== undefined) this.#copies.replace(path, data.slice());
    }
  }

  #uploadAll(loaded: DeviceProgram, path: string, copy: HostData): void {
    this.#upload(loaded, portAt(this.inputs, path, "input"), copy, 0, copy.length);
  }

  /** Copies elements of an input to the device: those from `start` to `end`, and what shares their words. */
  #upload(
    loaded: DeviceProgram,
    port: ProgramPort,
    copy: HostData,
    start: number,
    end: number,
  ): void {
    if (start === end) return;
    const bytes = bytesPerElement(port.dtype);
    const perWord = WORD / bytes;
    const from = Math.floor(start / perWord) * perWord;
    const to = Math.ceil(end / perWord) * perWord;
    const { offset } = rangeOf(this.#plan.program, port);
    loaded.write(offset + from * bytes, arenaWords(port.dtype, copy.subarray(from, to)));
  }

  #refuseUnusable(attempt: string): void {
    if (this.#unusable instanceof UnusableProgramError) {
      throw new UnusableProgramError(`A disposed program cannot be ${attempt}`);
    }
    if (this.#unusable !== undefined) throw this.#unusable;
  }
}

function secondLoss(error: DeviceLostError): DeviceLostError {
  const { kernel, step, nodes, wgsl } = error;
  const note = kernel === undefined || step === undefined || wgsl === undefined
    ? undefined
    : { kernel, step, nodes, wgsl };
  const reason = error.message.split("\n")[0] ?? "";
  return new DeviceLostError(`${reason}, for the second time in this program`, note, {
    cause: error,
  });
}

function asError(failure: unknown): Error {
  return failure instanceof Error ? failure : new Error(String(failure));
}

/** One line about a device. */
function describeGpu({ adapter, f16, subgroups }: GpuCapabilities): string {
  const without = [f16 ? "" : "16-bit floats", subgroups ? "" : "subgroups"].filter(Boolean);
  return `webgpu: ${adapter}${without.length > 0 ? `, without ${without.join(" or ")}` : ""}`;
}

function portAt(ports: readonly ProgramPort[], path: string, kind: string): ProgramPort {
  const port = ports.find((candidate) => candidate.path === path);
  if (port !== undefined) return port;
  throw new RangeError(`The program has no ${kind} "${path}"`);
}
