/** A program as it runs: its memory, the calling thread's instance, and the workers'. */
import type { Explanation } from "../../compiler/explain.ts";
import type { Program, ProgramPort } from "../../compiler/program.ts";
import type { Executable, MemoryReport, StepNote } from "../backend.ts";
import {
  KernelError,
  type KernelFailure,
  noteNode,
  UnusableProgramError,
  WorkerError,
} from "../errors.ts";
import type { HostData, HostTensor } from "../host_array.ts";
import type { AddressType } from "./address_instructions.ts";
import { assemble, type AssembledProgram, type EmitKernel } from "./assemble.ts";
import { CONTROL } from "./barrier.ts";
import {
  abortProgram,
  type ProgramEntry,
  type RunFunction,
  stepOf,
  type ThreadFailure,
} from "./board.ts";
import { allocate, type MemoryConstructor, ProgramMemory } from "./memory.ts";
import { mayMeetSpinning, WorkerPool } from "./pool.ts";
import type { PanelLayout } from "./templates/panels.ts";

/** How a program is loaded. */
export interface LoadOptions {
  readonly threads: number;
  readonly emit: EmitKernel;
  /** See {@linkcode AssembleOptions}. */
  readonly addressTypes?: readonly AddressType[] | undefined;
  /** The inputs that lie in panels, by index in the program's buffers; default none. */
  readonly layouts?: ReadonlyMap<number, PanelLayout>;
  /** One line about the backend. */
  readonly description: string;
  readonly Memory?: MemoryConstructor;
  /** Default: the one that all programs of this many threads share. */
  readonly pool?: WorkerPool;
}

/**
 * Looks at a barrier before a thread sleeps: 15 microseconds' to three milliseconds' worth, and next to
 * none where threads have to share cores. Spinning takes the core from whoever else needs it. A
 * virtual machine's core on which nothing runs, though, is given away: measured on two of them, a
 * thread that slept in each run slowed both down to half their speed for seconds.
 */
const BARRIER_SPINS = { least: 20_000, most: 4_000_000 };
const CROWDED_SPINS = { least: 50, most: 50 };

let lastId = 0;

interface Loaded {
  readonly memory: ProgramMemory;
  readonly run: RunFunction;
  readonly entry: ProgramEntry;
  readonly pool: WorkerPool | undefined;
}

/** Drops the workers' share of programs that nobody disposed. */
const forgotten = new FinalizationRegistry<{ pool: WorkerPool; id: number }>(({ pool, id }) => {
  pool.unregister(id);
  pool.release();
});

/** A program in one WebAssembly module. */
export class WasmExecutable implements Executable {
  readonly inputs: readonly ProgramPort[];
  readonly outputs: readonly ProgramPort[];
  readonly #program: Program;
  readonly #assembled: AssembledProgram;
  readonly #description: string;
  #loaded: Loaded | undefined;
  /** Why it cannot run again, if so. */
  #failure: Error | undefined;

  private constructor(
    program: Program,
    assembled: AssembledProgram,
    loaded: Loaded,
    description: string,
  ) {
    this.inputs = program.inputs;
    this.outputs = program.outputs;
    this.#program = program;
    this.#assembled = assembled;
    this.#loaded = loaded;
    this.#description = description;
    const { pool, entry } = loaded;
    if (pool !== undefined) forgotten.register(this, { pool, id: entry.id }, this);
  }

  /**
   * Assembles, compiles and instantiates a program on every thread.
   *
   * @throws {OutOfMemoryError} When its memory cannot be had.
   * @throws {WorkerError} When a worker does not start.
   */
  static async load(program: Program, options: LoadOptions): Promise<WasmExecutable> {
    const { threads, emit, addressTypes } = options;
    const shared = threads > 1;
    const spins = mayMeetSpinning(threads) ? BARRIER_SPINS : CROWDED_SPINS;
    const assembled = assemble(program, { threads, shared, spins, emit, addressTypes });
    const memory = allocate({ ...assembled, shared }, options.Memory);
    const programMemory = new ProgramMemory(program, assembled, memory, options.layouts);
    const module = await WebAssembly.compile(assembled.bytes);
    const pool = shared ? options.pool ?? await WorkerPool.acquire(threads) : undefined;
    const entry = { id: ++lastId, module, memory, ...commandRange(assembled) };
    try {
      const stalled = (): void => pool?.checkStarted();
      const instance = await WebAssembly.instantiate(module, { env: { memory, stalled } });
      await pool?.register(entry);
      // The export of an assembled program: see assemble.ts.
      const run = instance.exports.run as RunFunction;
      const loaded = { memory: programMemory, run, entry, pool };
      const wide = assembled.addressType === "i64" ? ", 64-bit addresses" : "";
      return new WasmExecutable(program, assembled, loaded, options.description + wide);
    } catch (error) {
      pool?.unregister(entry.id);
      pool?.release();
      throw error;
    }
  }

  write(path: string, { data }: { readonly data: HostData }, start = 0): void {
    this.#usable("written to").memory.write(portAt(this.inputs, path, "input"), data, start);
  }

  /** Copies an input out, as it is now. */
  readInput(path: string): HostTensor {
    return this.#usable("read").memory.read(portAt(this.inputs, path, "input"));
  }

  /** Copies an output out, as the last run left it; or gives a view of it, if it can be had. */
  readOutput(path: string, view = false): HostTensor {
    return this.#usable("read").memory.read(portAt(this.outputs, path, "output"), view);
  }

  // The interface's reads may wait for a device; these do not.
  // deno-lint-ignore require-await
  async readInputs(paths: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    return new Map(paths.map((path) => [path, this.readInput(path)]));
  }

  async run(
    outputs: readonly string[] = [],
    views = false,
  ): Promise<ReadonlyMap<string, HostTensor>> {
    const loaded = this.#usable("run");
    const { run, entry, pool } = loaded;
    if (pool?.failure !== undefined) throw pool.failure;
    pool?.start(entry.id);
    try {
      run(entry.start, entry.end, 0, MAY_BLOCK);
    } catch (error) {
      throw await this.#explain(loaded, error);
    }
    return new Map(outputs.map((path) => [path, this.readOutput(path, views)]));
  }

  /**
   * Runs everything once, one step after the other, to see where the time goes.
   *
   * @returns Milliseconds of each of {@linkcode steps}.
   * @throws {TypeError} On more threads than one: the others take part in whole runs alone.
   */
  timeSteps(): number[] {
    const { run, pool } = this.#usable("timed");
    if (pool !== undefined) throw new TypeError("Steps can be timed on one thread alone");
    const times = this.#program.steps.map(() => 0);
    for (const { start, end, step } of this.#assembled.commands) {
      const before = performance.now();
      run(start, end, 0, MAY_BLOCK);
      times[step] = (times[step] ?? 0) + performance.now() - before;
    }
    return times;
  }

  memory(): MemoryReport {
    return {
      totalBytes: this.#assembled.layout.bytes,
      arenaBytes: this.#program.arenaBytes,
      lowerBoundBytes: this.#program.lowerBoundBytes,
      peak: this.#program.peak,
      recomputed: this.#program.recomputed,
    };
  }

  steps(): readonly StepNote[] {
    return this.#program.steps.map((_, step) => this.#noteStep(step));
  }

  explain(): Explanation | undefined {
    return this.#program.explanation;
  }

  /** How often all threads meet in a run, its end included. */
  get barriers(): number {
    return 1 + this.#assembled.commands.filter(({ barrier }) => barrier).length;
  }

  describe(): string {
    return this.#description;
  }

  [Symbol.dispose](): void {
    const loaded = this.#loaded;
    if (loaded === undefined) return;
    this.#loaded = undefined;
    forgotten.unregister(this);
    loaded.pool?.unregister(loaded.entry.id);
    loaded.pool?.release();
  }

  #usable(attempt: string): Loaded {
    if (this.#loaded === undefined) {
      throw new UnusableProgramError(`A disposed program cannot be ${attempt}`);
    }
    if (this.#failure !== undefined) {
      throw new UnusableProgramError(
        `A program that has failed cannot be ${attempt}: compile it again ` +
          `(it failed with: ${this.#failure.message})`,
        { cause: this.#failure },
      );
    }
    return this.#loaded;
  }

  #noteStep(step: number): StepNote {
    const { kernel = -1, nodes = [] } = this.#program.steps[step] ?? {};
    const { name = "?", kind = "?" } = this.#program.kernels[kernel] ?? {};
    return { kernel: name, kind, nodes: nodes.map(noteNode) };
  }

  /** Stops the other threads, finds out which failed first, and gives the error for the user. */
  async #explain(loaded: Loaded, error: unknown): Promise<Error> {
    const { entry, pool } = loaded;
    abortProgram(entry.memory, 0);
    this.#failure = error instanceof Error ? error : new Error(String(error));
    if (error instanceof WorkerError) return error;
    const words = new Int32Array(entry.memory.buffer, 0, CONTROL.steps / 4);
    const thread = Atomics.load(words, CONTROL.aborted / 4) - 1;
    const failures = await pool?.failuresOf(entry.id);
    const step = stepOf(entry.memory, thread);
    const { kernel, nodes } = this.#noteStep(step);
    const failure: KernelFailure = { kernel, step, nodes, thread };
    this.#failure = new KernelError(
      failure,
      thread === 0 ? error : asError(failures?.[thread - 1]),
    );
    return this.#failure;
  }
}

/** Whether this thread may sleep; a browser's main thread may not. */
const MAY_BLOCK = mayBlock() ? 1 : 0;

function mayBlock(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

function commandRange({ commands, layout }: AssembledProgram): { start: number; end: number } {
  return { start: layout.commands, end: commands.at(-1)?.end ?? layout.commands };
}

function portAt(ports: readonly ProgramPort[], path: string, kind: string): ProgramPort {
  const port = ports.find((candidate) => candidate.path === path);
  if (port !== undefined) return port;
  throw new RangeError(`The program has no ${kind} "${path}"`);
}

/** A worker's error as one of this thread's. */
function asError(failure: ThreadFailure | undefined): Error {
  const error = new Error(failure?.message ?? "the thread did not say why");
  error.name = failure?.name ?? "Error";
  if (failure?.stack !== undefined) error.stack = failure.stack;
  return error;
}
