/** Every fusion: its kernels counted, and fused and unfused against the reference, on all devices. */
import type { Backend } from "../../backends/backend.ts";
import { wasm } from "../../backends/wasm/backend.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { FUSION_RULES, type FusionOptions, type FusionRule } from "../../compiler/fusion_rules.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Tensor } from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { assert, assertEquals, assertStringIncludes } from "../support/assert.ts";
import { inputValues } from "../support/compare_lowered.ts";
import { errorAgainst } from "../support/conformance.ts";
import {
  type FusedCount,
  FUSION_CASES,
  type FusionCase,
  REFUSED_CASES,
} from "../support/fusion_cases.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";
import { kernelsRun, lowered, moduleOf } from "../support/lowered.ts";
import { gpuTest } from "../support/gpu.ts";
import { type RunnableGraph, runOn } from "../support/run_graph.ts";

/**
 * Error allowed of f32 arithmetic, relative to an output's largest magnitude (at least 0.1): some tens
 * of roundings, of up to three products in a row and the functions between them.
 */
const TOLERANCE = 5e-6;
/** The same on WebGPU, where a shader's compiler may fuse products with sums, or not: 5.2e-6 was seen. */
const GPU_TOLERANCE = 8e-6;
const LEAST = 0.1;

/** The interpreter's templates read whatever lies in a buffer. */
const TARGET = { alignment: 64, readsHalves: true } as const;

type Outputs = Readonly<Record<string, Tensor>>;
type Results = ReadonlyMap<string, ArrayLike<number>>;

/** The gradients, given a cotangent for each result. */
function backward({ results, wrt }: FusionCase): Outputs {
  const terms = Object.entries(results).map(([path, y]) => {
    const cotangent = g.input(`cotangent/${path}`, "f32", y.shape);
    return g.sum(g.mul(g.cast(y, "f32"), cotangent));
  });
  const loss = terms.reduce((total, term) => g.add(total, term));
  const slopes = Object.entries(gradients(loss, wrt));
  return Object.fromEntries(slopes.map(([path, slope]) => [`slope/${path}`, slope]));
}

/** The kinds of the kernels that run, in alphabetical order. */
function kindsOf(program: Program): string {
  return kernelsRun(program).map(({ name }) => name.split("_")[0]).sort().join(" ");
}

function interpret(program: Program, values: ReadonlyMap<string, ReferenceTensor>): Results {
  const interpreted = new InterpretedProgram(program);
  for (const [path, value] of values) interpreted.write(path, value.data);
  interpreted.run();
  return new Map(program.outputs.map(({ path }) => [path, interpreted.read(path)]));
}

/** Results with all fusions, and without some. */
interface BothWays {
  readonly fused: Results;
  readonly unfused: Results;
}

/** Runs a graph both ways on some devices, by what those are. */
type RunBothWays = (
  graph: RunnableGraph,
  fusion: FusionOptions,
) => Promise<ReadonlyMap<string, BothWays>>;

async function bothWays(backend: Backend, graph: RunnableGraph, fusion: FusionOptions) {
  const fused = await runOn(backend, graph);
  return { fused, unfused: await runOn(backend, { ...graph, fusion }) };
}

/** In the interpreter and on WASM. */
const onProcessors: RunBothWays = async (graph, fusion) => {
  const found = new Map<string, BothWays>();
  const outputs = Object.fromEntries(graph.outputs);
  const { attention } = graph;
  found.set("interpreted", {
    fused: interpret(lowered(outputs, { attention, target: TARGET }), graph.values),
    unfused: interpret(lowered(outputs, { attention, fusion, target: TARGET }), graph.values),
  });
  for (const threads of [1, 2]) {
    const name = `on WASM with ${threads} threads`;
    found.set(name, await bothWays(wasm({ threads }), graph, fusion));
  }
  return found;
};

function onGpu(backend: Backend): RunBothWays {
  return async (graph, fusion) => new Map([["on WebGPU", await bothWays(backend, graph, fusion)]]);
}

/** Counts the kernels, and gives the program. */
function count(
  outputs: Outputs,
  [kernels, unfusedCount]: FusedCount,
  { rules, attention = "fused" }: FusionCase,
): Program {
  const program = lowered(outputs, { attention, target: TARGET });
  assertEquals(kindsOf(program), kernels);
  const unfused = lowered(outputs, { attention, fusion: { off: rules }, target: TARGET });
  assertEquals(kernelsRun(unfused).length, unfusedCount);
  return program;
}

/**
 * Compares results with and without some rules with each other and with the reference. Attention is one
 * kernel, whatever it costs, where nothing else is asked for.
 */
async function compare(
  run: RunBothWays,
  outputs: Outputs,
  { rules, attention = "fused" }: Pick<FusionCase, "rules" | "attention">,
  tolerance: number,
): Promise<void> {
  const { inputs } = moduleOf(outputs);
  const values = inputValues(inputs);
  const graph = { inputs, outputs: new Map(Object.entries(outputs)), values, attention };
  const found = await run(graph, { off: rules });
  const expected = evaluateGraph(Object.values(outputs), values);
  for (const [device, { fused, unfused }] of found) {
    for (const [path, node] of Object.entries(outputs)) {
      const one = fused.get(path) ?? [];
      const other = unfused.get(path) ?? [];
      const wanted = expected.get(node)?.data ?? [];
      const errors = {
        "fused against the reference": errorAgainst(one, wanted, LEAST),
        "unfused against the reference": errorAgainst(other, wanted, LEAST),
        "fused against unfused": errorAgainst(one, other, LEAST),
      };
      for (const [what, error] of Object.entries(errors)) {
        assert(error <= tolerance, `"${path}", ${what}, ${device}: off by ${error}`);
      }
    }
  }
}

/** What is computed of a case, and the kernels that come of it. */
function partsOf(one: FusionCase): [part: string, outputs: Outputs, count: FusedCount][] {
  const slopes = backward(one);
  const parts = [
    ["forward", one.results, one.forward],
    ["gradient", slopes, one.gradient],
    ["forward and gradient", { ...one.results, ...slopes }, one.both],
  ] as const;
  return parts.flatMap(([part, outputs, count]) =>
    count === undefined ? [] : [[part, outputs, count]]
  );
}

/** The rules of which a case shows that they fire. */
function toldOf({ rules, told = rules.slice(0, 1) }: FusionCase): readonly FusionRule[] {
  return told;
}

for (const one of FUSION_CASES) {
  Deno.test(`fusion: ${one.name}`, async (test) => {
    const told = new Set<FusionRule>();
    for (const [part, outputs, counts] of partsOf(one)) {
      await test.step(part, async () => {
        const { explanation } = count(outputs, counts, one);
        for (const rule of toldOf(one)) if (explanation?.count(rule)) told.add(rule);
        await compare(onProcessors, outputs, one, one.tolerance ?? TOLERANCE);
      });
    }
    assertEquals([...told].sort(), [...toldOf(one)].sort());
  });
  gpuTest(`fusion on WebGPU: ${one.name}`, async (backend, test) => {
    for (const [part, outputs] of partsOf(one)) {
      await test.step(
        part,
        () => compare(onGpu(backend), outputs, one, one.tolerance ?? GPU_TOLERANCE),
      );
    }
  });
}

/** Rules that leave as many kernels as there are: their steps, code and memory are counted elsewhere. */
const OTHER_RULES: readonly FusionRule[] = [
  "gather_added_sums",
  "group_independent_kernels",
  "share_kernels",
  "write_in_place",
];

Deno.test("fusion: every rule is shown by a case", () => {
  const shown = new Set([...FUSION_CASES.flatMap(toldOf), ...OTHER_RULES]);
  assertEquals([...shown].sort(), Object.keys(FUSION_RULES).sort());
});

for (const { name, results, rule, kernels, because } of REFUSED_CASES) {
  Deno.test(`no fusion: ${name}`, async () => {
    const program = lowered(results);
    assertEquals(kindsOf(program), kernels);
    const refusals = program.explanation?.rules.filter((note) =>
      note.rule === rule && note.outcome === "refused"
    ) ?? [];
    assertStringIncludes(
      refusals.map(({ detail }) =>
        detail
      ).join("; "),
      because,
    );
    await compare(onProcessors, results, { rules: [rule] }, TOLERANCE);
  });
}
