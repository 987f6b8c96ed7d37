/** The rules that simplify a graph: where each applies, where it must not, and that it is exact. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { rewriteWith, simplify, SIMPLIFY_RULES } from "../../compiler/passes/simplify.ts";
import { type GraphModule, moduleNodes } from "../../compiler/module.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { staticShape } from "../../graph/shape.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { moduleOf } from "../support/lowered.ts";

const x = g.input("x", "f32", [2, 3]);
const y = g.input("y", "f32", [2, 3]);
const column = g.input("column", "f32", [2, 1]);
const whole = g.input("whole", "i32", [2, 3]);
const half = g.input("half", "f16", [2, 3]);
const flag = g.input("flag", "bool", [2, 3]);
const empty = g.input("empty", "f32", [0, 3]);

function text(node: Node): string {
  return g.printGraph([node], { scopes: false });
}

function outputOf(module: GraphModule): Node {
  const [node] = module.outputs.values();
  assert(node !== undefined);
  return node;
}

function simplified(node: Node): Node {
  return outputOf(simplify(moduleOf({ node })));
}

/** Rule, case, what is built, and the graph it becomes. */
const APPLIES: readonly (readonly [rule: string, name: string, node: Node, text: string])[] = [
  [
    "empty_tensor",
    "no elements",
    g.tanh(empty),
    "%0 = constant {data=[]} : f32[0, 3]",
  ],
  [
    "empty_reduction",
    "a sum over nothing is 0",
    g.sum(empty, 0),
    "%0 = constant {data=[0]} : f32[]\n%1 = broadcast %0 {axes=[]} : f32[3]",
  ],
  [
    "empty_reduction",
    "the largest of nothing",
    g.max(empty, 0),
    "%0 = constant {data=[-Infinity]} : f32[]\n%1 = broadcast %0 {axes=[]} : f32[3]",
  ],
  [
    "empty_reduction",
    "a contraction over nothing",
    g.contract("k n, k m -> n m", empty, empty),
    "%0 = constant {data=[0]} : f32[]\n%1 = broadcast %0 {axes=[]} : f32[3, 3]",
  ],
  [
    "fold_constants",
    "elementwise",
    g.mul(g.full(3, [2]), g.add(g.full(1, [2]), 1)),
    "%0 = constant {data=[6]} : f32[]\n%1 = broadcast %0 {axes=[]} : f32[2]",
  ],
  [
    "fold_constants",
    "rounds to f32",
    g.div(g.full(1, []), 3),
    "%0 = constant {data=[0.333333]} : f32[]",
  ],
  [
    "fold_constants",
    "whole numbers wrap",
    g.add(g.constant(2 ** 31 - 1, { dtype: "i32" }), 1),
    "%0 = constant {data=[-2147480000]} : i32[]",
  ],
  [
    "fold_uniform_views",
    "a view of one number",
    g.reverse(g.reshape(g.full(2, [2, 3]), [3, 2]), 0),
    "%0 = constant {data=[2]} : f32[]\n%1 = broadcast %0 {axes=[]} : f32[3, 2]",
  ],
  ["arithmetic_identities", "x + -0", g.add(x, -0), '%0 = input "x" : f32[2, 3]'],
  ["arithmetic_identities", "-0 + x", g.add(g.full(-0, [2, 3]), x), '%0 = input "x" : f32[2, 3]'],
  ["arithmetic_identities", "n + 0", g.add(whole, 0), '%0 = input "whole" : i32[2, 3]'],
  ["arithmetic_identities", "x - 0", g.sub(x, 0), '%0 = input "x" : f32[2, 3]'],
  ["arithmetic_identities", "x * 1", g.mul(x, 1), '%0 = input "x" : f32[2, 3]'],
  ["arithmetic_identities", "1 * x", g.mul(g.ones([2, 3]), x), '%0 = input "x" : f32[2, 3]'],
  [
    "arithmetic_identities",
    "x * -1",
    g.mul(x, -1),
    '%0 = input "x" : f32[2, 3]\n%1 = neg %0 : f32[2, 3]',
  ],
  ["arithmetic_identities", "x / 1", g.div(x, 1), '%0 = input "x" : f32[2, 3]'],
  [
    "arithmetic_identities",
    "x / 4",
    g.div(x, 4),
    '%0 = input "x" : f32[2, 3]\n%1 = constant {data=[0.25]} : f32[]\n' +
    "%2 = broadcast %1 {axes=[]} : f32[2, 3]\n%3 = mul %0 %2 : f32[2, 3]",
  ],
  [
    "arithmetic_identities",
    "x + -y",
    g.add(x, g.neg(y)),
    '%0 = input "x" : f32[2, 3]\n%1 = input "y" : f32[2, 3]\n%2 = sub %0 %1 : f32[2, 3]',
  ],
  ["arithmetic_identities", "x ^ 1", g.pow(x, 1), '%0 = input "x" : f32[2, 3]'],
  [
    "arithmetic_identities",
    "x ^ 2",
    g.pow(x, 2),
    '%0 = input "x" : f32[2, 3]\n%1 = mul %0 %0 : f32[2, 3]',
  ],
  ["involutions", "- -x", g.neg(g.neg(x)), '%0 = input "x" : f32[2, 3]'],
  ["involutions", "stopGradient", g.stopGradient(x), '%0 = input "x" : f32[2, 3]'],
  [
    "involutions",
    "select by one truth",
    g.select(g.full(false, [2, 3], "bool"), x, y),
    '%0 = input "y" : f32[2, 3]',
  ],
  [
    "views",
    "reshape of reshape",
    g.reshape(g.reshape(x, [6]), [3, 2]),
    '%0 = input "x" : f32[2, 3]\n%1 = reshape %0 : f32[3, 2]',
  ],
  ["views", "there and back", g.reshape(g.reshape(x, [6]), [2, 3]), '%0 = input "x" : f32[2, 3]'],
  ["views", "transpose twice", g.transpose(g.transpose(x)), '%0 = input "x" : f32[2, 3]'],
  [
    "views",
    "transpose of an axis of size 1",
    g.transpose(column),
    '%0 = input "column" : f32[2, 1]\n%1 = reshape %0 : f32[1, 2]',
  ],
  [
    "views",
    "broadcast of broadcast",
    g.broadcastTo(g.broadcastTo(column, [2, 3]), [4, 2, 3]),
    '%0 = input "column" : f32[2, 1]\n%1 = broadcast %0 {axes=[1, 2]} : f32[4, 2, 3]',
  ],
  [
    "views",
    "broadcast that only adds axes",
    g.broadcastTo(x, [1, 2, 3]),
    '%0 = input "x" : f32[2, 3]\n%1 = reshape %0 : f32[1, 2, 3]',
  ],
  ["views", "concat with nothing", g.concat([empty, x, empty], 0), '%0 = input "x" : f32[2, 3]'],
  [
    "slices_of_slices",
    "starts add up",
    g.sliceAxis(g.sliceAxis(x, 1, 1), 1, 1),
    '%0 = input "x" : f32[2, 3]\n' +
    "%1 = slice %0 {starts=[0, 2], ends=[2, 3], steps=[1, 1]} : f32[2, 1]",
  ],
  [
    "reductions",
    "over axes of size 1",
    g.max(column, 1),
    '%0 = input "column" : f32[2, 1]\n%1 = reshape %0 : f32[2]',
  ],
  [
    "reductions",
    "the place of the only one",
    g.argmax(column, 1),
    "%0 = constant {data=[0]} : i32[]\n%1 = broadcast %0 {axes=[]} : i32[2]",
  ],
  [
    "reductions",
    "sum of one number",
    g.sum(g.full(0.5, [2, 3]), 1),
    "%0 = constant {data=[1.5]} : f32[]\n%1 = broadcast %0 {axes=[]} : f32[2]",
  ],
  [
    "reductions",
    "sum of sum",
    g.sum(g.sum(x, 0), 0),
    '%0 = input "x" : f32[2, 3]\n%1 = sum %0 {axes=[0, 1]} : f32[]',
  ],
  [
    "doubling",
    "x + x",
    g.add(x, x),
    '%0 = input "x" : f32[2, 3]\n%1 = constant {data=[2]} : f32[]\n' +
    "%2 = broadcast %1 {axes=[]} : f32[2, 3]\n%3 = mul %0 %2 : f32[2, 3]",
  ],
];

/** Graphs that look like some rule's, and that no rule may touch. */
const STAYS: readonly (readonly [rule: string, name: string, node: Node])[] = [
  ["empty_tensor", "one element", g.tanh(g.input("one", "f32", [1, 1]))],
  ["empty_reduction", "over one element", g.sum(x, 0)],
  ["fold_constants", "an operand that varies", g.add(g.constant([1, 2]), 3)],
  ["fold_constants", "storage types", g.cast(g.constant(0.1), "bf16")],
  ["fold_uniform_views", "several numbers", g.reverse(g.constant([1, 2]), 0)],
  ["arithmetic_identities", "x + 0 turns -0 to 0", g.add(x, 0)],
  ["arithmetic_identities", "x - -0 turns -0 to 0", g.sub(x, -0)],
  ["arithmetic_identities", "0 - x is no negation of 0", g.sub(0, x)],
  ["arithmetic_identities", "0 * x may be NaN", g.mul(x, 0)],
  ["arithmetic_identities", "x - x may be NaN", g.sub(x, x)],
  ["arithmetic_identities", "x / x may be NaN", g.div(x, x)],
  ["arithmetic_identities", "x / 3 rounds", g.div(x, 3)],
  ["arithmetic_identities", "a reciprocal that is no number", g.div(x, 2 ** -149)],
  ["arithmetic_identities", "whole quotients truncate", g.div(whole, 4)],
  ["arithmetic_identities", "x ^ 0.5 is not its root at -infinity", g.pow(x, 0.5)],
  ["involutions", "reciprocal of reciprocal rounds", g.reciprocal(g.reciprocal(x))],
  ["involutions", "narrowing loses bits", g.cast(g.cast(x, "f16"), "f32")],
  ["involutions", "select by several truths", g.select(flag, x, y)],
  ["views", "transpose of full axes", g.transpose(x)],
  ["views", "concat of two", g.concat([x, y], 0)],
  ["views", "reverse", g.reverse(x, 0)],
  ["slices_of_slices", "the inner one has steps", g.sliceAxis(g.sliceAxis(x, 1, 0, 3, 2), 1, 1)],
  ["reductions", "sum of sums of what is computed", g.sum(g.sum(g.mul(x, y), 0), 0)],
  ["reductions", "max of sum", g.max(g.sum(x, 0), 0)],
  ["reductions", "sum of one whole number", g.sum(g.full(3, [2, 3], "i32"), 1)],
  ["reductions", "argmax of several", g.argmax(x, 1)],
  ["doubling", "whole numbers", g.add(whole, whole)],
  ["doubling", "two inputs", g.add(x, y)],
];

for (const [rule, name, node, wanted] of APPLIES) {
  Deno.test(`simplify: ${rule}: ${name}`, () => {
    assertEquals(text(simplified(node)), wanted);
  });
}

for (const [rule, name, node] of STAYS) {
  Deno.test(`simplify: ${rule} leaves: ${name}`, () => {
    assertEquals(text(simplified(node)), text(node));
  });
}

Deno.test("simplify: every rule has a case where it applies and one where it does not", () => {
  const names = SIMPLIFY_RULES.map((rule) => rule.name);
  assertEquals([...new Set(APPLIES.map(([rule]) => rule))].sort(), [...names].sort());
  assertEquals([...new Set(STAYS.map(([rule]) => rule))].sort(), [...names].sort());
});

Deno.test("simplify: each case's rule, alone, changes its graph", () => {
  for (const [name, title, node] of APPLIES) {
    const rule = SIMPLIFY_RULES.filter((candidate) => candidate.name === name);
    const before = moduleNodes(moduleOf({ node }));
    const rewrite = rewriteWith(rule);
    assert(before.some((part) => rewrite(part) !== part), `${name}: ${title}`);
  }
});

const SPECIAL = [0, -0, 1, -1, NaN, Infinity, -Infinity, 2 ** -149, -(2 ** 127), 3, 0.1, 1e38];

function specialValues(node: Node): ReferenceTensor {
  const shape = staticShape(node.shape);
  const data = Float64Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    (_, at) => Math.fround(SPECIAL[at % SPECIAL.length] ?? 0),
  );
  return { dtype: node.dtype, shape, data };
}

Deno.test("simplify: identities hold for NaN, infinities, subnormals and -0, bit for bit", () => {
  const z = g.input("z", "f32", [SPECIAL.length]);
  const identities = [
    g.add(z, -0),
    g.add(z, 0),
    g.sub(z, 0),
    g.sub(z, -0),
    g.sub(0, z),
    g.mul(z, 1),
    g.mul(z, -1),
    g.mul(z, 0),
    g.div(z, 1),
    g.div(z, 4),
    g.div(z, 2 ** 126),
    g.add(z, g.neg(z)),
    g.add(1, g.neg(z)),
    g.pow(z, 1),
    g.pow(z, 2),
    g.neg(g.neg(z)),
    g.add(z, z),
    g.sub(z, z),
    g.sum(g.full(-0, [SPECIAL.length, 3]), 1),
    g.sum(g.full(Infinity, [SPECIAL.length, 3]), 1),
    g.max(g.full(NaN, [SPECIAL.length, 1]), 1),
  ];
  const values = new Map([["z", specialValues(z)]]);
  const round = (value: number) =>
    Object.is(value, NaN) ? "NaN" : Object.is(value, -0) ? "-0" : value;
  for (const node of identities) {
    const after = simplified(node);
    const found = evaluateGraph([node, after], values);
    const [before, wanted] = [found.get(after)?.data, found.get(node)?.data];
    assertEquals(Array.from(before ?? [], round), Array.from(wanted ?? [], round), text(node));
  }
});

Deno.test("simplify: half floats and truth values keep their type", () => {
  assertEquals(simplified(g.add(half, 0)).dtype, "f16");
  assertEquals(simplified(g.select(g.full(true, [2, 3], "bool"), flag, flag)), flag);
});
