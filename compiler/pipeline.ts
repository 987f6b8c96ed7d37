/** The compiler, as the list of its passes. */
import type { Node } from "../graph/node.ts";
import { printGraph } from "../graph/print.ts";
import type { DimBindings } from "../graph/shape.ts";
import { assembleProgram } from "./assemble.ts";
import type { AttentionCosts, AttentionForm, AttentionSizes } from "./attention_costs.ts";
import { explain } from "./explain.ts";
import { type FusionOptions, rulesOff } from "./fusion_rules.ts";
import { groupKernels } from "./grouping/group_kernels.ts";
import type { GraphModule } from "./module.ts";
import { outputsBehindReshapes, type OwnedOutputs, ownOutputs, withShapes } from "./outputs.ts";
import { type AttentionChoice, chooseAttention } from "./passes/choose_attention.ts";
import { bindDims } from "./passes/bind.ts";
import { breakViews } from "./passes/break_views.ts";
import { decomposeComposites } from "./passes/decompose.ts";
import { foldQkNorm } from "./passes/fold_qk_norm.ts";
import { gatherSums } from "./passes/gather_sums.ts";
import { mergeSums } from "./passes/merge_sums.ts";
import { simplify } from "./passes/simplify.ts";
import { splitContractedAxes } from "./passes/split_contracted_axes.ts";
import { splitReductions } from "./passes/split_reductions.ts";
import { printKernel } from "./print_loop_ir.ts";
import type { Program } from "./program.ts";
import { fitInMemory, type Scheduled } from "./remat/fit.ts";
import { RuleReport } from "./report.ts";
import { scheduleModule } from "./schedule/schedule.ts";
import { verifyBound, verifyGraph, verifyPrimitive } from "./verify.ts";
import { verifyProgram } from "./verify_program.ts";

/** A step from graph to graph. */
export interface Pass {
  readonly name: string;
  readonly run: (module: GraphModule) => GraphModule;
  /** What must hold afterwards. */
  readonly verify: (module: GraphModule) => void;
}

/** What the compiler needs to know of the device. */
export interface Target {
  /** Bytes that every buffer's place is a multiple of. */
  readonly alignment: number;
  /** Whether templates load half floats; otherwise they get copies in f32. */
  readonly readsHalves?: boolean | undefined;
  /** What the forms of attention cost; one kernel is the form of all where that is not known. */
  readonly attentionCosts?: AttentionCosts | undefined;
  /** The form of attention that was measured to be the faster one, where that was done. */
  readonly attentionForm?: ((sizes: AttentionSizes) => AttentionForm | undefined) | undefined;
  /** Bytes that the device takes to run a program, if that may be more than its arena. */
  readonly bytesOf?: ((program: Program) => number) | undefined;
}

/** How to compile. */
export interface LowerOptions {
  /** Sizes of the symbolic dims. */
  readonly bind?: DimBindings | undefined;
  /**
   * Inputs whose memory an output takes over: paths, or prefixes of paths, of inputs, and the
   * outputs' paths or prefixes they become. `{ state: "state" }` donates all of `state/...`.
   */
  readonly donate?: Readonly<Record<string, string>> | undefined;
  readonly target: Target;
  /**
   * The most bytes that the device may take. Where it would take more, values are recomputed rather
   * than kept: see {@linkcode Program.recomputed}. No limit when left out.
   */
  readonly memoryLimit?: number | undefined;
  /**
   * The form of attention: one kernel, the plain form, or for each the one that costs less (`"auto"`,
   * the default), and one kernel where there is a memory limit.
   */
  readonly attention?: AttentionForm | "auto" | undefined;
  /** Which fusion rules may fire; all of them when left out. */
  readonly fusion?: FusionOptions | undefined;
  /** Gets the graph as text before the first pass and after each, and the kernels at the end. */
  readonly dump?: ((stage: string, text: string) => void) | undefined;
}

/** The passes from the traced graph to primitive ops, in order. */
export function graphPasses(
  bindings: DimBindings,
  report: RuleReport = new RuleReport(),
  attention: AttentionChoice = { form: "auto", memoryLimited: false },
): readonly Pass[] {
  return [
    { name: "bind_dims", run: (module) => bindDims(module, bindings), verify: verifyBound },
    {
      name: "choose_attention",
      run: (module) => chooseAttention(module, report, attention),
      verify: verifyBound,
    },
    { name: "fold_qk_norm", run: (module) => foldQkNorm(module, report), verify: verifyBound },
    {
      name: "decompose",
      run: (module) => decomposeComposites(module, report),
      verify: verifyPrimitive,
    },
    { name: "simplify", run: simplify, verify: verifyPrimitive },
    {
      name: "split_contracted_axes",
      run: (module) => simplify(splitContractedAxes(module, report)),
      verify: verifyPrimitive,
    },
    { name: "merge_sums", run: (module) => mergeSums(module, report), verify: verifyPrimitive },
    { name: "gather_sums", run: (module) => gatherSums(module, report), verify: verifyPrimitive },
    { name: "split_reductions", run: splitReductions, verify: verifyPrimitive },
    { name: "break_views", run: breakViews, verify: verifyPrimitive },
  ];
}

/**
 * The whole way from a traced graph to a program.
 *
 * @throws {RangeError} When a dim is unbound, a donated path does not exist, or nothing fits in the
 *   memory limit, or there is no rule of a name that is to be off.
 */
export function lowerGraph(traced: GraphModule, options: LowerOptions): Program {
  const { dump, memoryLimit = Infinity } = options;
  const report = new RuleReport(rulesOff(options.fusion));
  let module: GraphModule = { inputs: traced.inputs, outputs: traced.outputs };
  verifyGraph(module);
  dump?.("traced", printGraph(module));
  const attention: AttentionChoice = {
    form: options.attention ?? "auto",
    costs: options.target.attentionCosts,
    measured: options.target.attentionForm,
    memoryLimited: options.memoryLimit !== undefined,
  };
  for (const pass of graphPasses(options.bind ?? {}, report, attention)) {
    module = pass.run(module);
    pass.verify(module);
    dump?.(pass.name, printGraph(module));
  }
  const pairs = donatedPaths(module, options.donate ?? {});
  const written = ownOutputs(outputsBehindReshapes(module), pairs);
  const { alignment, bytesOf, readsHalves = false } = options.target;
  const schedule = (graph: OwnedOutputs, arenaLimit = memoryLimit): Scheduled => {
    const rules = report.copy();
    const { kernels } = scheduleModule(graph.module, graph.overwrites, rules, readsHalves);
    const memory = { alignment, rules, memoryLimit: arenaLimit };
    const steps = groupKernels(kernels, graph, memory);
    const assembled = assembleProgram(graph.module, steps, graph.overwrites, memory);
    const program = {
      ...withShapes(assembled, module.outputs),
      explanation: explain(steps, rules),
    };
    const bytes = bytesOf?.(program) ?? program.arenaBytes;
    // Grouping has the arena alone in view: what it has added may be what is too much.
    if (program.arenaBytes <= arenaLimit && bytes > memoryLimit) return schedule(graph, 0);
    return { kernels, program, bytes };
  };
  const program = fitInMemory(written, memoryLimit, schedule);
  verifyProgram(program, alignment);
  dump?.("kernels", program.kernels.map(printKernel).join("\n\n"));
  return program;
}

/**
 * Pairs of donated paths, input to output.
 *
 * @throws {RangeError} When a path is not there, the two differ in type, or two inputs are to become
 *   one output.
 */
export function donatedPaths(
  module: GraphModule,
  donate: Readonly<Record<string, string>>,
): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const [from, to] of Object.entries(donate)) {
    const before = pairs.size;
    for (const path of module.inputs.keys()) {
      if (path === from || path.startsWith(`${from}/`)) {
        pairs.set(path, to + path.slice(from.length));
      }
    }
    if (pairs.size === before) {
      throw new RangeError(`Cannot donate "${from}": the graph has no such input`);
    }
  }
  const taken = new Map<string, string>();
  for (const [from, to] of pairs) {
    checkDonation(module, from, to);
    const other = taken.get(to);
    if (other !== undefined) {
      throw new RangeError(`Cannot donate both "${other}" and "${from}" to output "${to}"`);
    }
    taken.set(to, from);
  }
  return pairs;
}

function checkDonation(module: GraphModule, from: string, to: string): void {
  const input = module.inputs.get(from);
  const output = module.outputs.get(to);
  if (input === undefined || output === undefined) {
    throw new RangeError(`Cannot donate input "${from}": the graph has no output "${to}"`);
  }
  const typeOf = (node: Node) => `${node.dtype}[${node.shape.join(", ")}]`;
  if (typeOf(input) !== typeOf(output)) {
    throw new RangeError(
      `Cannot donate input "${from}" to output "${to}": ${typeOf(input)} is not ${typeOf(output)}`,
    );
  }
}
