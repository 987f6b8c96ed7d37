/** The way from a traced graph to a program, as one call. */
import { donatedPaths, graphPasses, lowerGraph } from "../../compiler/pipeline.ts";
import { printKernel } from "../../compiler/print_loop_ir.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";
import { lowered, moduleOf } from "../support/lowered.ts";

const TARGET = { alignment: 64 };

Deno.test("the passes run in this order", () => {
  assertEquals(graphPasses({}).map((pass) => pass.name), [
    "bind_dims",
    "choose_attention",
    "fold_qk_norm",
    "decompose",
    "simplify",
    "split_contracted_axes",
    "merge_sums",
    "gather_sums",
    "split_reductions",
    "break_views",
  ]);
});

Deno.test("dump gets the graph before the first pass and after each, then the kernels", () => {
  const stages: [string, string][] = [];
  const batch = g.dim("batch");
  const x = g.input("x", "f32", [batch, 4]);
  const module = moduleOf({ y: g.softmax(g.mul(x, 1)) });
  const program = lowerGraph(module, {
    target: TARGET,
    bind: { batch: 2 },
    dump: (stage, text) => stages.push([stage, text]),
  });
  const names = graphPasses({}).map((pass) => pass.name);
  assertEquals(stages.map(([stage]) => stage), ["traced", ...names, "kernels"]);
  const text = new Map(stages);
  assertEquals(text.get("traced"), g.printGraph(module));
  assertMatch(text.get("traced") ?? "", /%0 = input "x" : f32\[batch, 4\]/);
  assertMatch(text.get("bind_dims") ?? "", /%0 = input "x" : f32\[2, 4\]/);
  assertMatch(text.get("bind_dims") ?? "", / = softmax /);
  assert(!(text.get("decompose") ?? "").includes("softmax"));
  assertMatch(text.get("decompose") ?? "", / = mul %0 %\d+ : f32\[2, 4\]/);
  assert(!(text.get("simplify") ?? "").includes("mul %0"));
  assertEquals(text.get("kernels"), program.kernels.map(printKernel).join("\n\n"));
});

Deno.test("ports keep the graph's paths, types and shapes, in its order", () => {
  const inputs = { b: g.input("b", "i32", [2, 2]), a: g.input("a", "f16", [3]) };
  const program = lowered({ z: g.reshape(inputs.b, [4]), y: g.neg(inputs.a) });
  const port = (
    { path, dtype, shape }: { path: string; dtype: string; shape: readonly number[] },
  ) => `${path}: ${dtype}[${shape}]`;
  assertEquals(program.inputs.map(port).sort(), ["a: f16[3]", "b: i32[2,2]"]);
  assertEquals(program.outputs.map(port), ["z: i32[4]", "y: f16[3]"]);
});

Deno.test("an input that nothing reads is an input all the same", () => {
  const x = g.input("x", "f32", [3]);
  const unused = g.input("unused", "f32", [5]);
  const module = {
    inputs: new Map<string, Node>([["x", x], ["unused", unused]]),
    outputs: new Map([["y", g.exp(x)]]),
  };
  const program = lowerGraph(module, { target: TARGET });
  assertEquals(program.inputs.map(({ path }) => path), ["x", "unused"]);
});

Deno.test("the same graph gives the same program, text for text", () => {
  const text = () => {
    const x = g.input("x", "f32", [6, 8]);
    const loss = g.mean(g.square(g.layerNorm(g.reshape(g.transpose(g.gelu(x)), [6, 8]))));
    const program = lowered({ loss, slope: gradients(loss, x) });
    const { kernels, steps, buffers, arenaBytes } = program;
    return JSON.stringify([
      kernels.map(printKernel),
      steps.map((step) => [step.kernel, step.members]),
      buffers,
      arenaBytes,
    ]);
  };
  assertEquals(text(), text());
});

const a = g.input("state/a", "f32", [2, 3]);
const b = g.input("state/b", "f32", [3]);
const OUTPUTS: Record<string, Node> = {
  "next/a": g.add(a, b),
  "next/b": g.mul(b, 2),
  loss: g.sum(a),
  whole: g.cast(b, "i32"),
};

Deno.test("donated paths pair by path or by prefix", () => {
  const module = moduleOf(OUTPUTS);
  assertEquals([...donatedPaths(module, { state: "next" })], [
    ["state/a", "next/a"],
    ["state/b", "next/b"],
  ]);
  assertEquals([...donatedPaths(module, { "state/b": "next/b" })], [["state/b", "next/b"]]);
  assertEquals([...donatedPaths(module, {})], []);
});

Deno.test("what cannot be donated is refused with the path and the reason", () => {
  const refused: readonly (readonly [Record<string, string>, string])[] = [
    [{ stat: "next" }, 'Cannot donate "stat": the graph has no such input'],
    [{ loss: "loss" }, 'Cannot donate "loss": the graph has no such input'],
    [{ state: "nexts" }, 'Cannot donate input "state/a": the graph has no output "nexts/a"'],
    [
      { "state/a": "loss" },
      'Cannot donate input "state/a" to output "loss": f32[2, 3] is not f32[]',
    ],
    [
      { "state/b": "whole" },
      'Cannot donate input "state/b" to output "whole": f32[3] is not i32[3]',
    ],
  ];
  for (const [donate, message] of refused) {
    assertThrows(() => lowered(OUTPUTS, { donate }), RangeError, message);
  }
  const c = g.input("c", "f32", [3]);
  assertThrows(
    () => lowered({ ...OUTPUTS, y: g.add(b, c) }, { donate: { "state/b": "y", c: "y" } }),
    RangeError,
    'Cannot donate both "state/b" and "c" to output "y"',
  );
});

Deno.test("donated state goes on from run to run", () => {
  const program = lowered(OUTPUTS, { donate: { state: "next" } });
  const interpreted = new InterpretedProgram(program);
  interpreted.write("state/a", [1, 2, 3, 4, 5, 6]);
  interpreted.write("state/b", [1, 10, 100]);
  interpreted.run();
  interpreted.run();
  assertEquals(interpreted.read("loss"), [2 * 111 + 21]);
  assertEquals(interpreted.read("next/a"), [4, 32, 303, 7, 35, 306]);
  assertEquals(interpreted.read("next/b"), [4, 40, 400]);
});

Deno.test("a graph of symbolic dims is right for every size", () => {
  const [batch, tokens] = [g.dim("batch"), g.dim("tokens")];
  const x = g.input("x", "f32", [batch, tokens, 6]);
  const w = g.input("w", "f32", [6, 4]);
  const y = g.layerNorm(g.contract("b n d, d e -> b n e", x, w));
  const mixed = g.attention(y, g.tanh(y), y, { scale: 0.5 });
  const loss = g.mean(g.square(mixed));
  const outputs = { mixed, loss, ...gradients(loss, { w }) };
  for (const bind of [[1, 1], [1, 5], [3, 1], [2, 7], [4, 16]]) {
    assertLowersRight(outputs, {}, { bind: { batch: bind[0] ?? 0, tokens: bind[1] ?? 0 } });
  }
});

Deno.test("a dim may be 0: sums are 0, rows are none", () => {
  const x = g.input("x", "f32", [g.dim("batch"), 6]);
  const w = g.input("w", "f32", [6, 4]);
  const y = g.softmax(g.matmul(x, w));
  assertLowersRight({ y, sum: g.sum(y), slope: gradients(g.sum(y), w) }, {}, {
    bind: { batch: 0 },
  });
});

Deno.test("a program keeps to the memory that is alive at once", () => {
  let y: Node = g.input("x", "f32", [64, 64]);
  const w = g.input("w", "f32", [64, 64]);
  for (let layer = 0; layer < 6; layer++) y = g.matmul(g.tanh(y), w);
  const program = lowered({ y });
  assertEquals(program.arenaBytes, program.lowerBoundBytes);
  assert(program.arenaBytes <= 5 * 64 * 64 * 4, `${program.arenaBytes} bytes`);
});
