/** Graphs that would grow without bound if everything were computed where it is read. */
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { partsOf } from "../../compiler/lower/expressions.ts";
import type { Expr, Statement } from "../../compiler/loop_ir.ts";
import type { Program } from "../../compiler/program.ts";
import { assert } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import { lowered } from "../support/lowered.ts";

/** Distinct expressions that a kernel may have. */
const MOST_EXPRESSIONS = 800;

const ROWS = 12;
const COLUMNS = 8;
const picks = g.constant(Int32Array.of(3, 1, 2, 0, 5, 4, 7, 8, 9, 11, 10, 6));
const others = g.constant(Int32Array.of(5, 1, 6, 0, 3, 4, 7, 8, 9, 10, 11, 2));

const weights = g.input("w", "f32", [COLUMNS, COLUMNS]);

function start(): Node {
  return g.input("x", "f32", [ROWS, COLUMNS]);
}

function chain(length: number, step: (y: Node) => Node): Node {
  let y = start();
  for (let at = 0; at < length; at++) y = step(y);
  return y;
}

function shuffled(y: Node): Node {
  return g.reshape(g.transpose(y), [ROWS, COLUMNS]);
}

function average(a: Node, b: Node): Node {
  return g.mul(g.add(a, b), 0.5);
}

const shifted = (y: Node) =>
  g.pad(g.slice(y, [0, 0], [ROWS - 1, COLUMNS]), { low: [1, 0], high: [0, 0] });

const STEPS: Readonly<Record<string, (y: Node) => Node>> = {
  "x + 1": (y) => g.add(y, 1),
  tanh: (y) => g.tanh(y),
  gelu: (y) => g.gelu(y),
  "x + reverse(x)": (y) => average(y, g.reverse(y, 0)),
  "x + shuffle(x)": (y) => average(y, shuffled(y)),
  "x + shift(x)": (y) => average(y, shifted(y)),
  "shuffle(x) + 1": (y) => g.add(shuffled(y), 1),
  "x[p] + x[q]": (y) => average(g.gather(y, picks), g.gather(y, others)),
  "x + scatter(x)": (y) => average(y, g.scatterAdd(y, picks, 0, ROWS)),
  rotation: (y) =>
    g.concat([g.slice(y, [5, 0], [ROWS, COLUMNS]), g.slice(y, [0, 0], [5, COLUMNS])], 0),
  "x - mean(x)": (y) => g.sub(y, g.mean(y, 1, { keepDims: true })),
  "layer norm": (y) => g.layerNorm(y),
  softmax: (y) => g.softmax(y),
  "both norms": (y) => g.softmax(g.softmax(y, 0), 1),
  "where(x > reverse(x))": (y) => g.where(g.greater(y, g.reverse(y, 0)), g.sin(y), shuffled(y)),
  "matmul and norm": (y) => g.layerNorm(g.add(y, g.gelu(g.matmul(y, weights)))),
};

/** Distinct expressions in the program's largest kernel of loops. */
function largestKernel(program: Program): number {
  return Math.max(
    0,
    ...program.kernels.map((kernel) => kernel.kind === "loops" ? expressionsIn(kernel.body) : 0),
  );
}

function expressionsIn(body: readonly Statement[]): number {
  const seen = new Set<Expr>();
  const visit = (expr: Expr): void => {
    if (seen.has(expr)) return;
    seen.add(expr);
    partsOf(expr).forEach(visit);
  };
  const walk = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      if ("value" in statement) visit(statement.value);
      if ("index" in statement) visit(statement.index);
      if ("accumulators" in statement) statement.accumulators.forEach(({ value }) => visit(value));
      if ("body" in statement) walk(statement.body);
    }
  };
  walk(body);
  return seen.size;
}

Deno.test("chains of 100 steps: right, and no kernel is large", async (test) => {
  for (const [name, step] of Object.entries(STEPS)) {
    await test.step(name, () => {
      const program = assertLowersRight({ y: chain(100, step) });
      const size = largestKernel(program);
      assert(size <= MOST_EXPRESSIONS, `${size} expressions`);
    });
  }
});

Deno.test("many values of one input, added up, are not one kernel", () => {
  const x = start();
  const scaled = Array.from({ length: 600 }, (_, at) => g.mul(x, 1 / (at + 2)));
  const program = assertLowersRight({ y: scaled.reduce((a, b) => g.add(a, b)) });
  assert(largestKernel(program) <= MOST_EXPRESSIONS);
  assert(program.steps.length >= 4, `${program.steps.length} steps`);
});

Deno.test("a tree of sums of many inputs is several kernels", () => {
  let parts: Node[] = Array.from({ length: 512 }, (_, at) => g.input(`x${at}`, "f32", [3]));
  while (parts.length > 1) {
    parts = parts.flatMap((part, at) => at % 2 === 0 ? [g.add(part, parts[at + 1] ?? 0)] : []);
  }
  const program = assertLowersRight({ y: parts[0] ?? start() });
  const bindings = Math.max(
    ...program.steps.flatMap(({ members }) => members.map(({ buffers }) => buffers.length)),
  );
  assert(bindings <= 300, `${bindings} buffers bound`);
});

Deno.test("a concat of many is a tree of choices, not a ladder", () => {
  const x = start();
  const rows = Array.from(
    { length: 600 },
    (_, at) => g.slice(x, [at % ROWS, 0], [at % ROWS + 1, COLUMNS]),
  );
  assertLowersRight({ y: g.concat(rows, 0) });
});

Deno.test("a heavy value is not computed anew for each row that picks it", () => {
  const table = g.input("table", "f32", [10, COLUMNS]);
  const rows = g.input("rows", "i32", [200]);
  const picked = assertLowersRight({ y: g.gather(g.tanh(table), rows) });
  assert(picked.steps.length === 2, `${picked.steps.length} steps`);
  const noise = g.cast(g.floor(g.mul(g.sigmoid(g.input("n", "f32", [200])), 10)), "i32");
  const computed = assertLowersRight({ y: g.gather(table, noise) });
  assert(computed.steps.length === 2, `${computed.steps.length} steps`);
});

Deno.test("chains of 5,000 nodes compile", async (test) => {
  const chains: readonly (readonly [string, number, (y: Node) => Node])[] = [
    ["x + 1", 5000, (y) => g.add(y, 1)],
    ["views alone", 2500, shuffled],
    ["shuffle(x) + 1", 1700, (y) => g.add(shuffled(y), 1)],
  ];
  for (const [name, length, step] of chains) {
    await test.step(name, () => {
      assert(largestKernel(lowered({ y: chain(length, step) })) <= MOST_EXPRESSIONS);
    });
  }
});
