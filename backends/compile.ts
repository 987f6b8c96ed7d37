/** From a traced graph to a program that runs. */
import type { AttentionForm } from "../compiler/attention_costs.ts";
import { type FusionOptions, rulesOff } from "../compiler/fusion_rules.ts";
import { donatedPaths } from "../compiler/pipeline.ts";
import { topologicalOrder } from "../graph/node.ts";
import { type DimBindings, symbolsOf } from "../graph/shape.ts";
import type { TracedGraph } from "../graph/trace.ts";
import type { Backend, Dump } from "./backend.ts";
import { UnusableProgramError } from "./errors.ts";
import { collectTree, quoted, type WithoutPaths } from "./host_tree.ts";
import { suggestion } from "./nearest_name.ts";
import { CompiledProgram } from "./program.ts";
import { wasm } from "./wasm/backend.ts";

/** Input paths (or their beginnings) and the output paths that take their memory over. */
export type Donations = Readonly<Record<string, string>>;

/** How a graph is compiled. */
export interface CompileOptions<D extends Donations = Donations> {
  /** Where it runs; default {@linkcode wasm}. */
  readonly backend?: Backend;
  /** Sizes of the symbolic dims: `{ batch: 64 }`. */
  readonly bind?: DimBindings;
  /**
   * Inputs that each run updates in place: `{ state: "state" }` makes the output `state` the next
   * run's input `state`. Donated outputs are not returned by `run`; `get` reads them.
   */
  readonly donate?: D;
  /**
   * The most bytes that the program's arena (inputs, outputs, constants and intermediates; on WebGPU also
   * what kernels need besides) may take; no limit when left out. To stay within it, intermediates are
   * recomputed rather than kept, those first that save the most bytes for their FLOPs;
   * `program.memory().recomputed` says which. Kernels
   * are cut differently then, so results may differ in their last bits.
   */
  readonly memoryLimit?: number;
  /** Whether NaN in an input is an error; default true. */
  readonly checkInputs?: boolean;
  /**
   * Attention as one kernel that never stores its scores (`"fused"`), as a matmul, a softmax and a
   * matmul (`"plain"`), or, by default, whichever costs less by the backend's measurements
   * (`"auto"`): `program.explain()` has the costs. Gradients take the form of what they are of.
   */
  readonly attention?: AttentionForm | "auto";
  /**
   * Which fusion rules may fire: `{ off: ["fuse_epilogue"] }` does without one, to find out what it
   * does. `program.explain()` names those that fired; `FUSION_RULES` has them all.
   */
  readonly fusion?: FusionOptions;
  /** Gets each stage of the compilation as text. */
  readonly dump?: Dump;
}

/** The paths that donated outputs are at. */
type DonatedOutputs<D extends Donations> = D[keyof D];

/** The program of a graph, without its donated outputs. */
export type ProgramOf<In, Out, D extends Donations> = CompiledProgram<
  In,
  WithoutPaths<Out, DonatedOutputs<D>>
>;

/**
 * Compiles a graph for a backend and takes the memory that it needs.
 *
 * ```ts ignore
 * using program = await compile(graph, { bind: { batch: 64 }, donate: { state: "state" } });
 * const { loss } = await program.run({ state, images, labels });
 * ```
 *
 * @throws {RangeError} When a dim is unbound, a bound or donated name or a rule to switch off does not
 *   exist, or nothing fits in the memory limit: the message has the smallest limit that would work.
 * @throws {OutOfMemoryError} When there is not enough memory.
 * @throws {WorkerError} When a worker thread does not start.
 */
export async function compile<In, Out, const D extends Donations = Record<never, string>>(
  graph: TracedGraph<In, Out>,
  options: CompileOptions<D> = {},
): Promise<ProgramOf<In, Out, D>> {
  const { backend = wasm(), bind = {}, donate = {}, checkInputs = true } = options;
  const { memoryLimit, attention, fusion, dump } = options;
  rulesOff(fusion);
  refuseUnknownDims(graph, bind);
  const donated = donatedPaths(graph, donate);
  const executable = await backend.prepare(graph, {
    bind,
    donate,
    memoryLimit,
    attention,
    fusion,
    dump,
  });
  // Each run walks this structure. A training step's state, which is not given back, is most of it.
  const kept = new Set(donated.values());
  const outputTree = collectTree(
    graph.outputTree,
    (path, tensor) => kept.has(path || "output") ? undefined : tensor,
  );
  return new CompiledProgram(executable, { ...graph, outputTree }, { donated, checkInputs });
}

function refuseUnknownDims(graph: TracedGraph, bind: DimBindings): void {
  const known = new Set([...graph.inputs.values()].flatMap(({ shape }) => symbolsOf(shape)));
  if (Object.keys(bind).every((name) => known.has(name))) return;
  for (const { shape, attrs } of topologicalOrder(graph.outputs.values())) {
    for (const name of symbolsOf(shape)) known.add(name);
    const { dim } = attrs;
    if (typeof dim === "object" && "factors" in dim) {
      for (const name of dim.factors) known.add(name);
    }
  }
  for (const name of Object.keys(bind)) {
    if (known.has(name)) continue;
    const near = suggestion(name, known);
    const instead = known.size === 0 ? "; it has none" : `; it has ${quoted([...known])}`;
    throw new RangeError(`Cannot bind "${name}": the graph has no such dim${near || instead}`);
  }
}

/** A program of a cache, or one on its way. */
interface CacheEntry<Compiled> {
  readonly promise: Promise<Compiled>;
  program: Compiled | undefined;
}

/** Programs of one graph, one for each binding of its dims, made when they are first asked for. */
export class ProgramCache<In, Out, D extends Donations> implements Disposable {
  readonly #graph: TracedGraph<In, Out>;
  readonly #options: Omit<CompileOptions<D>, "bind">;
  readonly #entries = new Map<string, CacheEntry<ProgramOf<In, Out, D>>>();
  #disposed = false;

  /** Use {@linkcode programCache}. */
  constructor(graph: TracedGraph<In, Out>, options: Omit<CompileOptions<D>, "bind">) {
    this.#graph = graph;
    this.#options = options;
  }

  /**
   * The program for these sizes: the same one each time, its inputs as they were left. One that was
   * disposed or whose compilation failed is made anew.
   *
   * @throws {UnusableProgramError} When the cache is disposed. See {@linkcode compile} for the rest.
   */
  async for(bind: DimBindings): Promise<ProgramOf<In, Out, D>> {
    this.#refuseDisposed();
    const key = JSON.stringify(Object.entries(bind).sort(([a], [b]) => a < b ? -1 : 1));
    const known = this.#entries.get(key);
    if (known !== undefined && known.program?.disposed !== true) return await known.promise;
    const promise = compile(this.#graph, { ...this.#options, bind });
    const entry: CacheEntry<ProgramOf<In, Out, D>> = { promise, program: undefined };
    this.#entries.set(key, entry);
    try {
      entry.program = await promise;
    } catch (error) {
      this.#entries.delete(key);
      throw error;
    }
    if (this.#disposed) entry.program[Symbol.dispose]();
    this.#refuseDisposed();
    return entry.program;
  }

  /** Disposes every program. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const { program } of this.#entries.values()) program?.[Symbol.dispose]();
    this.#entries.clear();
  }

  #refuseDisposed(): void {
    if (this.#disposed) throw new UnusableProgramError("A disposed program cache cannot be used");
  }
}

/**
 * A cache of a graph's programs by the sizes of its dims.
 *
 * ```ts ignore
 * using programs = programCache(graph, { donate: { state: "state" } });
 * const program = await programs.for({ batch: 64 });
 * ```
 */
export function programCache<In, Out, const D extends Donations = Record<never, string>>(
  graph: TracedGraph<In, Out>,
  options: Omit<CompileOptions<D>, "bind"> = {},
): ProgramCache<In, Out, D> {
  return new ProgramCache(graph, options);
}
