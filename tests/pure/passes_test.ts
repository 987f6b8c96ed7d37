/** The passes from graph to graph other than simplify, which has a file of its own. */
import { bindDims } from "../../compiler/passes/bind.ts";
import { breakViews } from "../../compiler/passes/break_views.ts";
import { decomposeComposites } from "../../compiler/passes/decompose.ts";
import { splitReductions } from "../../compiler/passes/split_reductions.ts";
import { type GraphModule, moduleNodes } from "../../compiler/module.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { RuleReport } from "../../compiler/report.ts";
import { moduleOf } from "../support/lowered.ts";

const x = g.input("x", "f32", [2, 3]);
const y = g.input("y", "f32", [2, 3]);
const empty = g.input("empty", "f32", [0, 3]);

function text(node: Node): string {
  return g.printGraph([node], { scopes: false });
}

function outputOf(module: GraphModule): Node {
  const [node] = module.outputs.values();
  assert(node !== undefined);
  return node;
}

Deno.test("bind_dims: shapes, sizes and attributes become numbers", () => {
  const batch = g.dim("batch");
  const z = g.input("z", "f32", [batch, 4]);
  const module = bindDims(moduleOf({ mean: g.mean(z), flat: g.reshape(z, [-1]) }), { batch: 3 });
  assertEquals(
    g.printGraph(module, { scopes: false }),
    `%0 = input "z" : f32[3, 4]
%1 = sum %0 {axes=[0, 1]} : f32[]
%2 = constant {data=[12]} : f32[]
%3 = div %1 %2 : f32[]
%4 = reshape %0 : f32[12]
mean = %3
flat = %4`,
  );
});

Deno.test("bind_dims: a size of 0 is a size", () => {
  const z = g.input("z", "f32", [g.dim("batch"), 4]);
  assertEquals(outputOf(bindDims(moduleOf({ y: g.tanh(z) }), { batch: 0 })).shape, [0, 4]);
});

Deno.test("bind_dims: errors name the dim, the value and what was wanted", () => {
  const module = moduleOf({ y: g.tanh(g.input("z", "f32", [g.dim("batch"), g.dim("tokens")])) });
  assertThrows(() => bindDims(module, { batch: 2 }), RangeError, 'Dim "tokens" has no binding');
  assertThrows(
    () => bindDims(module, { batch: 2, tokens: 3, heads: 4 }),
    RangeError,
    'Cannot bind "heads": the graph has no such dim (it has batch, tokens)',
  );
  for (const size of [-1, 1.5, NaN, Infinity]) {
    assertThrows(
      () => bindDims(module, { batch: size, tokens: 1 }),
      RangeError,
      `Dim "batch" is bound to ${size}: wanted a whole number >= 0`,
    );
  }
  assertThrows(
    () => bindDims(moduleOf({ y: g.tanh(x) }), { batch: 1 }),
    RangeError,
    'Cannot bind "batch": the graph has no such dim (it has none)',
  );
});

Deno.test("decompose: no composite op is left, whatever they are made of", () => {
  const scale = g.input("scale", "f32", [3]);
  const node = g.softmaxCrossEntropy(
    g.gelu(g.layerNorm(g.softmax(x), { scale })),
    g.logSoftmax(y),
  );
  assert(moduleNodes(moduleOf({ node })).some(({ op }) => op.kind === "composite"));
  const module = decomposeComposites(moduleOf({ node }), new RuleReport());
  assertEquals(moduleNodes(module).filter(({ op }) => op.kind === "composite"), []);
});

Deno.test("decompose: graphs without composites stay as they are", () => {
  const module = moduleOf({ node: g.attention(x, x, y) });
  assertEquals(outputOf(decomposeComposites(module, new RuleReport())), outputOf(module));
});

Deno.test("decompose: attention with nothing to attend to comes apart", () => {
  const module = decomposeComposites(
    moduleOf({ node: g.attention(x, empty, empty) }),
    new RuleReport(),
  );
  assertEquals(moduleNodes(module).filter(({ op }) => op.kind === "attention"), []);
});

Deno.test("split_reductions: a long reduction to few results becomes two", () => {
  const long = g.input("long", "f32", [2, 128, 256]);
  assertEquals(
    text(outputOf(splitReductions(moduleOf({ y: g.sum(long, [1, 2]) })))),
    `%0 = input "long" : f32[2, 128, 256]
%1 = reshape %0 : f32[2, 64, 512]
%2 = sum %1 {axes=[2]} : f32[2, 64]
%3 = sum %2 {axes=[1]} : f32[2]`,
  );
});

Deno.test("split_reductions: short ones, many results, inner axes and primes stay", () => {
  const long = g.input("long", "f32", [2, 128, 256]);
  const prime = g.input("prime", "f32", [104729]);
  const stay = [
    g.sum(x),
    g.sum(g.input("many", "f32", [16, 65536]), 1),
    g.sum(long, [0, 1]),
    g.argmax(g.input("row", "f32", [65536])),
    g.max(prime),
  ];
  for (const node of stay) {
    assertEquals(outputOf(splitReductions(moduleOf({ node }))), node);
  }
});

Deno.test("split_reductions: max and min of whole numbers too", () => {
  for (const [name, fold] of [["max", g.max], ["min", g.min]] as const) {
    const module = splitReductions(moduleOf({ y: fold(g.input("long", "i32", [65536])) }));
    assertEquals(moduleNodes(module).map(({ op }) => op.name), ["input", "reshape", name, name]);
  }
});

Deno.test("break_views: the seventeenth view of a chain is a copy", () => {
  let node: Node = x;
  for (let at = 0; at < 9; at++) node = g.reshape(g.transpose(node), [2, 3]);
  const names = moduleNodes(breakViews(moduleOf({ node }))).map(({ op }) => op.name);
  assertEquals(names.filter((name) => name === "concat").length, 1);
  assertEquals(names.indexOf("concat"), 18);
  const short = moduleOf({ node: g.reshape(g.transpose(x), [2, 3]) });
  assertEquals(outputOf(breakViews(short)), outputOf(short));
});
