/** A compiled program as its user sees it. */
import type { Explanation } from "../compiler/explain.ts";
import { isTensor, type TracedGraph } from "../graph/trace.ts";
import type { Executable, MemoryReport, StepNote } from "./backend.ts";
import { InputError } from "./errors.ts";
import { type HostPort, type HostTensor, toHostTensor } from "./host_array.ts";
import {
  type AtPath,
  collectTree,
  type HostInputs,
  type HostOutputs,
  pairWithPorts,
  quoted,
} from "./host_tree.ts";
import { type InputSource, sourcePorts, writePieces } from "./input_source.ts";
import { suggestion } from "./nearest_name.ts";

/** What is to become an input. */
interface PathValue {
  readonly path: string;
  readonly tensor: () => HostTensor;
}

/** What a program needs to know beside its executable. */
export interface ProgramOptions {
  /** Donated paths, input to output. */
  readonly donated: ReadonlyMap<string, string>;
  /** Whether NaN in an input is an error. */
  readonly checkInputs: boolean;
}

/** How a run gives its results. */
export interface RunOptions {
  /**
   * Whether results may be views of the program's own memory instead of copies: for large results that
   * are read at once. A view holds this run's result until the program is given inputs, run or disposed,
   * and must not be written to; with several threads its buffer is a `SharedArrayBuffer`. From a device
   * with a memory of its own results are copies all the same. Default false.
   */
  readonly views?: boolean;
}

/**
 * A program that is ready to run. It holds memory and takes part in worker threads until it is
 * disposed: declare it with `using`.
 *
 * `In` is the traced function's argument, `Out` its result without the donated outputs.
 */
export class CompiledProgram<In, Out> implements Disposable {
  readonly #executable: Executable;
  readonly #graph: TracedGraph;
  readonly #ports: ReadonlyMap<string, HostPort>;
  readonly #options: ProgramOptions;
  /** Outputs that are not donated. */
  readonly #returned: readonly string[];
  readonly #unset: Set<string>;
  /** Inputs that a source is writing. */
  readonly #loading = new Set<string>();
  #disposed = false;

  /** Use `compile`. */
  constructor(executable: Executable, graph: TracedGraph, options: ProgramOptions) {
    this.#executable = executable;
    this.#graph = graph;
    this.#options = options;
    this.#ports = new Map(executable.inputs.map((port) => [port.path, port]));
    const donated = new Set(options.donated.values());
    this.#returned = executable.outputs.map(({ path }) => path).filter((path) =>
      !donated.has(path)
    );
    this.#unset = new Set(this.#ports.keys());
  }

  /**
   * Runs the program once. What was given before and the donated inputs may be left out. The next run
   * may be started before this one's results are awaited, unless they are views.
   *
   * @returns The outputs in the structure that the traced function returned, without the donated.
   * @throws {InputError} When an input is missing, unknown, or not what it should be.
   * @throws {KernelError} When a kernel fails.
   */
  async run(
    inputs?: HostInputs<In>,
    { views = false }: RunOptions = {},
  ): Promise<HostOutputs<Out>> {
    const values = this.#convert(inputs);
    const given = new Set(values.map(({ path }) => path));
    const missing = [...this.#unset].filter((path) => !given.has(path));
    if (missing.length > 0) {
      throw new InputError(
        `Missing ${missing.length === 1 ? "input" : "inputs"} ${quoted(missing)}: ` +
          "wanted a value in this run or before",
      );
    }
    this.#write(values);
    const results = await this.#executable.run(this.#returned, views);
    const outputs = collectTree(this.#graph.outputTree, (path) => results.get(path || "output"));
    // The traced function returned this structure, of tensors with these element types.
    return (outputs ?? {}) as HostOutputs<Out>;
  }

  /**
   * Sets inputs, which stay until they are set again (a donated one until the next run changes it).
   * Where a function is given, it is called once all that stands in the structure has been checked,
   * and when it fails its input counts as not set.
   *
   * @throws {InputError} When an input is unknown, or not what it should be.
   */
  set(inputs: HostInputs<In>): void {
    this.#write(this.#convert(inputs));
  }

  /**
   * Sets inputs that come piece by piece, without ever holding them in memory beside the program's.
   * Until all have come they count as not set, and so they do when one is not what it should be.
   *
   * @throws {InputError} When an input is unknown, or not what it should be: element type and shape
   *   before anything is written, numbers and their count when they come. Whatever the source throws
   *   is passed on.
   */
  async load(source: InputSource): Promise<void> {
    const ports = sourcePorts(source, this.#ports);
    for (const path of ports.keys()) this.#refuseLoading(path);
    for (const path of ports.keys()) {
      this.#unset.add(path);
      this.#loading.add(path);
    }
    try {
      const { checkInputs } = this.#options;
      await writePieces(
        source,
        ports,
        checkInputs,
        (...piece) => this.#executable.write(...piece),
      );
      for (const path of ports.keys()) this.#unset.delete(path);
    } finally {
      for (const path of ports.keys()) this.#loading.delete(path);
    }
  }

  /** Path, element type and shape of each input. */
  get inputs(): readonly HostPort[] {
    return this.#executable.inputs;
  }

  /**
   * Copies an input, or a record of inputs, out of the program: donated ones as the last run left
   * them.
   *
   * @param path Such as `state` or `state/parameters/head/kernel`.
   * @throws {InputError} When there is none at the path, or it has never been set.
   */
  async get<P extends string>(path: P): Promise<HostOutputs<AtPath<In, P>>> {
    const bare = isTensor(this.#graph.inputTree) && path === "input";
    const names: string[] = [];
    const collect = (read: (name: string) => HostTensor | undefined) =>
      collectTree(this.#graph.inputTree, (leaf) => read(leaf || "input"), bare ? "" : path);
    collect((name) => {
      if (this.#unset.has(name)) throw new InputError(`Input "${name}" has never been set`);
      names.push(name);
      return undefined;
    });
    const tensors = await this.#executable.readInputs(names);
    const found = collect((name) => tensors.get(name));
    if (found === undefined) {
      throw new InputError(`There is no input "${path}"${suggestion(path, this.#ports.keys())}`);
    }
    // The traced argument has this structure at this path.
    return found as HostOutputs<AtPath<In, P>>;
  }

  /** Bytes that the program holds. */
  memory(): MemoryReport {
    return this.#executable.memory();
  }

  /** The program's steps in order, each with its kernel and the graph nodes in it. */
  kernels(): readonly StepNote[] {
    return this.#executable.steps();
  }

  /**
   * Which kernel computes what, which fusion rules fired where, which did not and why. Its text is
   * made for a terminal; undefined where the backend has no kernels.
   */
  explain(): Explanation | undefined {
    return this.#executable.explain();
  }

  /** One line: the backend, its threads, and whatever it had to do without. */
  describe(): string {
    return this.#executable.describe();
  }

  /** Whether it has been disposed. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Gives back memory and workers. The program cannot be used afterwards. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#executable[Symbol.dispose]();
  }

  /** Checks what is given as a whole; what a function makes is checked when it has been made. */
  #convert(inputs: unknown): PathValue[] {
    const root = isTensor(this.#graph.inputTree) ? "input" : "";
    return pairWithPorts(inputs, this.#ports, root).map(({ port, value }) => {
      const { path } = port;
      this.#refuseLoading(path);
      const check = (given: unknown) => toHostTensor(port, given, this.#options.checkInputs);
      if (typeof value === "function") return { path, tensor: () => check(value()) };
      const tensor = check(value);
      return { path, tensor: () => tensor };
    });
  }

  #write(values: readonly PathValue[]): void {
    for (const { path, tensor } of values) {
      // If the function fails, there is no telling what its caller thinks is set.
      this.#unset.add(path);
      this.#executable.write(path, tensor());
      this.#unset.delete(path);
    }
  }

  #refuseLoading(path: string): void {
    if (!this.#loading.has(path)) return;
    throw new InputError(`Input "${path}" is being loaded: wait until that has ended`);
  }
}
