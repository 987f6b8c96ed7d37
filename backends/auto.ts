/** A backend that runs each program where it is fastest. */
import type { GraphModule } from "../compiler/module.ts";
import { donatedPaths } from "../compiler/pipeline.ts";
import { isFloat } from "../graph/dtype.ts";
import { staticSize } from "../graph/shape.ts";
import type { Backend, Executable, PrepareOptions } from "./backend.ts";
import { type HostData, hostData, type HostPort } from "./host_array.ts";
import { wasm, type WasmOptions } from "./wasm/backend.ts";
import { webgpu, type WebGpuOptions } from "./webgpu/backend.ts";
import { GpuUnavailableError } from "./webgpu/errors.ts";

/** What {@linkcode auto} chooses from. */
export interface AutoOptions {
  readonly wasm?: WasmOptions;
  readonly webgpu?: WebGpuOptions;
}

/** One of the backends that are tried. */
export interface Candidate {
  readonly name: string;
  /** @throws {GpuUnavailableError} When this host has none. */
  readonly backend: () => Backend | Promise<Backend>;
}

/** For how long a program is run before it counts, so that engines have compiled what they run. */
const WARM_UP_MS = 300;
const MEASURED_MS = 300;
const MOST_RUNS = 20;

/**
 * Backend that prepares each program for WASM and for WebGPU, runs it a few times on both, and keeps
 * the faster: which is faster depends on the program as much as on the machine. Compiling takes a
 * second or two longer, and for that time the memory of both. `program.describe()` says which it is
 * and why. Results differ in rounding between the two, and so from machine to machine.
 *
 * ```ts ignore
 * using program = await compile(graph, { backend: auto(), bind: { batch: 64 } });
 * ```
 */
export function auto(options: AutoOptions = {}): Backend {
  return fastestOf([
    { name: "wasm", backend: () => wasm(options.wasm) },
    { name: "webgpu", backend: () => webgpu(options.webgpu) },
  ], wasm(options.wasm).capabilities);
}

/** {@linkcode auto} of these backends, of which the first must be there. */
export function fastestOf(
  candidates: readonly Candidate[],
  capabilities: Backend["capabilities"],
  now: () => number = () => performance.now(),
): Backend {
  return {
    capabilities,
    prepare: async (graph, options) => {
      let best: { readonly executable: Executable; readonly ms: number } | undefined;
      const notes: string[] = [];
      const refusals: Error[] = [];
      const donated = new Set(donatedPaths(graph, options.donate).values());
      for (const { name, backend } of candidates) {
        const executable = await prepared(backend, graph, options);
        if (executable instanceof Error) {
          notes.push(`${name} cannot: ${executable.message}`);
          refusals.push(executable);
          continue;
        }
        try {
          const ms = await millisecondsOf(executable, donated, now);
          notes.push(`${name} ${ms.toPrecision(3)} ms a run`);
          if (best !== undefined && best.ms <= ms) {
            executable[Symbol.dispose]();
          } else {
            best?.executable[Symbol.dispose]();
            best = { executable, ms };
          }
        } catch (error) {
          executable[Symbol.dispose]();
          best?.executable[Symbol.dispose]();
          throw error;
        }
      }
      if (best === undefined) throw refusals[0] ?? new TypeError("There is no backend to choose");
      return new DescribedExecutable(best.executable, `chosen by measurement: ${notes.join(", ")}`);
    },
  };
}

/** The program there; or why this device cannot have it, where another may. */
async function prepared(
  backend: Candidate["backend"],
  graph: GraphModule,
  options: PrepareOptions,
): Promise<Executable | Error> {
  try {
    return await (await backend()).prepare(graph, options);
  } catch (error) {
    // Memory that is not there is one too.
    if (error instanceof GpuUnavailableError || error instanceof RangeError) return error;
    throw error;
  }
}

/** The least time of a run. */
async function millisecondsOf(
  executable: Executable,
  donated: ReadonlySet<string>,
  now: () => number,
): Promise<number> {
  for (const port of executable.inputs) executable.write(port.path, { data: placeholder(port) });
  const returned = executable.outputs.map(({ path }) => path).filter((path) => !donated.has(path));
  const run = async () => {
    const start = now();
    await executable.run(returned);
    return now() - start;
  };
  const started = now();
  do await run(); while (now() - started < WARM_UP_MS);
  let least = Infinity;
  const measured = now();
  for (let runs = 0; runs < MOST_RUNS && (runs === 0 || now() - measured < MEASURED_MS); runs++) {
    least = Math.min(least, await run());
  }
  return least;
}

/** Numbers that are none of the special ones, and indices that are inside. */
function placeholder({ dtype, shape }: HostPort): HostData {
  const data = hostData(dtype, staticSize(shape));
  return isFloat(dtype) ? data.fill(dtype === "f32" ? 0.5 : HALF_BITS[dtype]) : data;
}

const HALF_BITS = { f16: 0x3800, bf16: 0x3f00 } as const;

/** An executable that says more about itself. */
class DescribedExecutable implements Executable {
  readonly #inner: Executable;
  readonly #note: string;

  constructor(inner: Executable, note: string) {
    this.#inner = inner;
    this.#note = note;
  }

  get inputs(): Executable["inputs"] {
    return this.#inner.inputs;
  }

  get outputs(): Executable["outputs"] {
    return this.#inner.outputs;
  }

  write(...[path, elements, start]: Parameters<Executable["write"]>): void {
    this.#inner.write(path, elements, start);
  }

  readInputs(paths: readonly string[]): ReturnType<Executable["readInputs"]> {
    return this.#inner.readInputs(paths);
  }

  run(...request: Parameters<Executable["run"]>): ReturnType<Executable["run"]> {
    return this.#inner.run(...request);
  }

  memory(): ReturnType<Executable["memory"]> {
    return this.#inner.memory();
  }

  steps(): ReturnType<Executable["steps"]> {
    return this.#inner.steps();
  }

  explain(): ReturnType<Executable["explain"]> {
    return this.#inner.explain();
  }

  describe(): string {
    return `${this.#inner.describe()}; ${this.#note}`;
  }

  [Symbol.dispose](): void {
    this.#inner[Symbol.dispose]();
  }
}
