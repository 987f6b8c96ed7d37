/** Which kernels run as one step, which do not and why, and that results are right either way. */
import fc from "../support/fast_check.ts";
import type { FusionOptions } from "../../compiler/fusion_rules.ts";
import type { LowerOptions } from "../../compiler/pipeline.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { adam, inferenceGraph, trainingStep, vit, vitVariant } from "../../models/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import { updateSteps } from "../support/optimizer_case.ts";

const RULE = "group_independent_kernels";
const OFF: FusionOptions = { off: [RULE] };

/** Members of each step. */
function members(program: Program): number[] {
  return program.steps.map((step) => step.members.length);
}

/** What the rule says of a program. */
function notes(program: Program, outcome: "applied" | "refused"): string[] {
  return (program.explanation?.rules ?? [])
    .filter((note) => note.rule === RULE && note.outcome === outcome)
    .map(({ detail }) => detail);
}

/** Two results of a parameter and its gradient, as an optimizer has them. */
function update(at: number, shape: readonly number[], rate: Node): Record<string, Node> {
  const parameter = g.input(`p${at}`, "f32", shape);
  const gradient = g.input(`g${at}`, "f32", shape);
  const moment = g.add(g.mul(parameter, 0.9), gradient);
  return { [`p${at}`]: g.sub(parameter, g.mul(g.tanh(moment), rate)), [`m${at}`]: moment };
}

function updates(shapes: readonly (readonly number[])[]): Record<string, Node> {
  const rate = g.exp(g.input("rate", "f32", []));
  return Object.assign({ rate }, ...shapes.map((shape, at) => update(at, shape, rate)));
}

Deno.test("updates of parameters of any shape are one step", () => {
  const outputs = updates([[3], [5, 7], [2, 3, 4], [4096], [4100], [100, 100], [2]]);
  const program = assertLowersRight(outputs);
  assertEquals(members(program), [1, 7]);
  assertEquals(program.kernels.length, 2);
  assertEquals(notes(program, "applied"), ["7 kernels of its form are one step"]);
  assertEquals(members(assertLowersRight(outputs, {}, { fusion: OFF })).length, 8);
});

Deno.test("kernels that do the same to buffers of one size need no sizes", () => {
  const program = assertLowersRight(updates([[40], [40], [40]]));
  assertEquals(program.steps.map((step) => step.members.map(({ sizes }) => sizes.length)), [
    [0],
    [0, 0, 0],
  ]);
});

Deno.test("a kernel that reads what another writes is no member of its step", () => {
  const x = g.input("x", "f32", [8, 8]);
  // Sums along rows and along columns in turn: none of them can be part of another's kernel.
  const next = (node: Node) => g.add(g.softmax(g.transpose(node, [1, 0])), 0.5);
  const [a, b] = [next(x), next(next(x))];
  const other = next(g.input("y", "f32", [8, 8]));
  const program = assertLowersRight({ a, b, c: next(b), other });
  assertEquals(members(program).sort(), [1, 1, 2]);
});

/** The norm of tensors, and of what is made of them. */
function normOf(shapes: readonly (readonly number[])[]): Node {
  const squares = shapes.map((shape, at) => g.sum(g.square(g.input(`x${at}`, "f32", shape))));
  return g.sqrt(squares.reduce((a, b) => g.add(a, b), g.constant(0)));
}

const GATHER = "gather_added_sums";

Deno.test("the norm of tensors of any shapes is one step of partial sums and one more kernel", () => {
  const norm = normOf([[3], [5, 40], [2, 50], [64, 65], [128, 300], [65], [64]]);
  const program = assertLowersRight({ norm });
  assertEquals(members(program), [5, 1]);
  assertEquals(program.explanation?.count(GATHER), 1);
  const without = assertLowersRight({ norm }, {}, { fusion: { off: [GATHER] } });
  assert(without.steps.length > 2);
});

Deno.test("norms of tensors of random shapes are right", () => {
  const shapes = fc.array(
    fc.array(fc.integer({ min: 0, max: 70 }), { maxLength: 2 }),
    { minLength: 1, maxLength: 9 },
  );
  fc.assert(
    fc.property(shapes, (shapes) => void assertLowersRight({ norm: normOf(shapes) })),
    { numRuns: 40 },
  );
});

Deno.test("a sum that is used elsewhere as well is not gathered", () => {
  const sums = [40, 50, 60, 70, 80].map((size, at) =>
    g.sum(g.exp(g.input(`x${at}`, "f32", [size])))
  );
  const [used] = sums;
  assert(used !== undefined);
  const program = assertLowersRight({ total: sums.reduce((a, b) => g.add(a, b)), used });
  const refused = program.explanation?.rules.filter(({ rule, outcome }) =>
    rule === GATHER && outcome === "refused"
  );
  assertEquals(refused?.map(({ detail }) => detail), ["its value is used elsewhere as well"]);
});

/** Products that are larger than all inputs together, each with a sum that is a kernel of its own. */
function sumsOfProducts(count: number): Record<string, Node> {
  return Object.fromEntries(Array.from({ length: count }, (_, at) => {
    const a = g.input(`a${at}`, "f32", [256, 2]);
    const b = g.input(`b${at}`, "f32", [2, 1024]);
    return [`y${at}`, g.sum(g.exp(g.contract("m k, k n -> m n", a, b)), 0)];
  }));
}

Deno.test("kernels do not wait for each other where too much memory would be alive", () => {
  const outputs = sumsOfProducts(5);
  const lower = (options: Partial<LowerOptions>) => assertLowersRight(outputs, {}, options);
  const single = lower({ fusion: OFF });
  const grouped = lower({});
  const slack = grouped.arenaBytes - single.arenaBytes;
  assert(slack <= 1 << 20, `${slack} bytes more`);
  assert(members(grouped).filter((count) => count > 1).length > 1);
  assertStringIncludes(notes(grouped, "refused").join(), "too much memory would be alive");
  const limited = lower({ memoryLimit: single.arenaBytes });
  assert(limited.arenaBytes <= single.arenaBytes, `${limited.arenaBytes} bytes`);
  assert(limited.steps.length > grouped.steps.length);
  assertEquals(limited.recomputed.regions, []);
});

Deno.test("grouped kernels of random sizes that depend on each other at random are right", () => {
  const links = fc.array(
    fc.record({ from: fc.nat(), rows: fc.integer({ min: 1, max: 9 }), isSum: fc.boolean() }),
    { minLength: 2, maxLength: 12 },
  );
  fc.assert(
    fc.property(links, (links) => {
      const made: Node[] = [g.input("x0", "f32", [4, 6]), g.input("x1", "f32", [3, 6])];
      const outputs: Record<string, Node> = {};
      links.forEach(({ from, rows, isSum }, at) => {
        const read = made[from % made.length] ?? g.input("x2", "f32", [6]);
        const column = g.sum(g.reshape(read, [read.shape[0] ?? 1, 6]), 0);
        const spread = g.mul(g.broadcast(column, [rows, 6]), g.input(`s${at}`, "f32", [rows, 6]));
        const node = isSum ? g.softmax(spread) : g.tanh(spread);
        made.push(node);
        outputs[`y${at}`] = node;
      });
      assertLowersRight(outputs);
    }),
    { numRuns: 40 },
  );
});

function training(depth: number, fusion: FusionOptions = {}): Program {
  const schedule = { kind: "constant", learningRate: 1e-3 } as const;
  const graph = trainingStep({
    model: vit({ ...vitVariant("Ti/16"), depth }),
    optimizer: adam({ schedule, clipNorm: 1, weightDecay: 0.1 }),
  });
  const donate = { state: "state" };
  return lowerGraph(graph, { bind: { batch: 8 }, donate, target: { alignment: 64 }, fusion });
}

Deno.test("grouping all of ViT-Ti/16's updates takes no more memory", () => {
  const [grouped, single] = [training(12), training(12, OFF)];
  assertEquals(updateSteps(grouped).map(({ members }) => members), [126, 74]);
  assert(grouped.steps.length < 0.45 * single.steps.length, `${grouped.steps.length} steps`);
  const growth = grouped.arenaBytes / single.arenaBytes;
  assert(growth < 1.01, `${growth} times the memory`);
});

Deno.test("twelve blocks have the kernels of two", () => {
  const forward = (depth: number) =>
    lowerGraph(inferenceGraph(vit({ ...vitVariant("Ti/16"), depth })), {
      bind: { batch: 1 },
      target: { alignment: 64 },
    }).kernels.length;
  assertEquals(forward(12), forward(2));
  const [few, many] = [training(2), training(12)];
  assert(
    many.kernels.length <= few.kernels.length + 4,
    `${few.kernels.length}, ${many.kernels.length}`,
  );
});
