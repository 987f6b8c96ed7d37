/** Every fusion: its kernels counted, and fused and unfused against the reference, on all devices. */
import { wasm } from "../../backends/wasm/backend.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import type { FusionOptions } from "../../compiler/fusion_rules.ts";
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
import { runOn } from "../support/run_graph.ts";

/**
 * Error allowed of f32 arithmetic, relative to an output's largest magnitude (at least 0.1): some tens
 * of roundings, of up to three products in a row and the functions between them.
 */
const TOLERANCE = 5e-6;
const LEAST = 0.1;

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

/** Fused and unfused results on every device, by what they are of. */
async function runEverywhere(outputs: Outputs, fusion: FusionOptions) {
  const { inputs } = moduleOf(outputs);
  const values = inputValues(inputs);
  const graph = { inputs, outputs: new Map(Object.entries(outputs)), values };
  const found = new Map<string, { fused: Results; unfused: Results }>();
  found.set("interpreted", {
    fused: interpret(lowered(outputs), values),
    unfused: interpret(lowered(outputs, { fusion }), values),
  });
  for (const threads of [1, 2]) {
    const backend = wasm({ threads });
    found.set(`on WASM with ${threads} threads`, {
      fused: await runOn(backend, graph),
      unfused: await runOn(backend, { ...graph, fusion }),
    });
  }
  return { found, expected: evaluateGraph(Object.values(outputs), values) };
}

async function check(
  outputs: Outputs,
  [kernels, unfusedCount]: FusedCount,
  { rules, tolerance = TOLERANCE }: FusionCase,
): Promise<void> {
  const fusion = { off: rules };
  assertEquals(kindsOf(lowered(outputs)), kernels);
  assertEquals(kernelsRun(lowered(outputs, { fusion })).length, unfusedCount);
  await compare(outputs, fusion, tolerance);
}

/** Compares fused and unfused results with each other and with the reference. */
async function compare(outputs: Outputs, fusion: FusionOptions, tolerance: number): Promise<void> {
  const { found, expected } = await runEverywhere(outputs, fusion);
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

for (const one of FUSION_CASES) {
  Deno.test(`fusion: ${one.name}`, async (test) => {
    const slopes = backward(one);
    const parts = {
      forward: [one.results, one.forward],
      gradient: [slopes, one.gradient],
      "forward and gradient": [{ ...one.results, ...slopes }, one.both],
    } as const;
    for (const [part, [outputs, count]] of Object.entries(parts)) {
      if (count === undefined) continue;
      await test.step(part, () => check(outputs, count, one));
    }
    const { explanation } = lowered(one.results);
    for (const rule of one.rules.slice(0, 1)) {
      assert(explanation !== undefined && explanation.count(rule) > 0, `${rule} says nothing`);
    }
  });
}

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
    await compare(results, { off: [rule] }, TOLERANCE);
  });
}
