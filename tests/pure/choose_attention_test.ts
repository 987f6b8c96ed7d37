/** Attention in one kernel or in the plain form: chosen by cost, explained, and right either way. */
import { WASM_ATTENTION_COSTS } from "../../backends/wasm/attention_costs.ts";
import { SOFTWARE_ATTENTION_COSTS } from "../../backends/webgpu/attention_costs.ts";
import { gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { gpuTarget } from "../../backends/webgpu/target.ts";
import type { AttentionCosts } from "../../compiler/attention_costs.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { checkpoint } from "../../compiler/checkpoint.ts";
import type { LowerOptions } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { assert, assertEquals, assertMatch } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import fc from "../support/fast_check.ts";
import { lowered } from "../support/lowered.ts";
import {
  qkNormForms,
  qkNormGraph,
  trainedBlocks,
  withGradients,
} from "../support/qk_norm_graphs.ts";

const RULE = "plain_attention";

function kinds(program: Program): string[] {
  return program.steps.map(({ kernel }) => program.kernels[kernel]?.kind ?? "?").sort();
}

/** What the rule says, once for each thing that it says. */
function notes(program: Program): string[] {
  const own = program.explanation?.rules.filter(({ rule }) => rule === RULE) ?? [];
  return [...new Set(own.map(({ outcome, detail }) => `${outcome}: ${detail}`))];
}

function operandsOf(queries: number, keys: number, depth: number) {
  const input = (name: string, rows: number) =>
    g.input(`${name}${rows}`, "f32", [2, 2, rows, depth]);
  return { q: input("q", queries), k: input("k", keys), v: input("v", keys) };
}

function attentionOf(queries: number, keys: number, depth = 8) {
  const { q, k, v } = operandsOf(queries, keys, depth);
  return { y: g.attention(q, k, v) };
}

function trainedAttention(queries: number, keys: number, depth = 8): Record<string, Node> {
  const operands = operandsOf(queries, keys, depth);
  const y = g.attention(operands.q, operands.k, operands.v);
  return { y, ...gradients(g.sum(g.sin(y)), operands) };
}

const FREE = { call: 0, product: 0, score: 0 };

/** Costs by which the plain form takes this share of the other's time. */
function costs(share: number): AttentionCosts {
  const forms = { fused: { ...FREE, call: 1e-3 }, plain: { ...FREE, call: share * 1e-3 } };
  return [{ isTrained: false, ...forms }, { isTrained: true, ...forms }];
}

function withCosts(attentionCosts: AttentionCosts): Partial<LowerOptions> {
  return { target: { alignment: 64, attentionCosts } };
}

Deno.test("attention asked for in either form has its kernels, and is right", () => {
  const outputs = attentionOf(5, 7);
  const fused = assertLowersRight(outputs, {}, { attention: "fused" });
  const plain = assertLowersRight(outputs, {}, { attention: "plain" });
  assertEquals(kinds(fused), ["attention"]);
  assertEquals(kinds(plain), ["loops", "matmul", "matmul"]);
  assertEquals(notes(fused), ["refused: the fused form was asked for"]);
  assertEquals(notes(plain), ["applied: the plain form was asked for"]);
});

Deno.test("the gradient of plain attention is its own: the softmax is computed once", () => {
  const outputs = trainedAttention(5, 7);
  const plain = assertLowersRight(outputs, {}, { attention: "plain" });
  // Scores, values; back: values, softmax, queries, keys.
  assertEquals(kinds(plain).filter((kind) => kind === "matmul").length, 6);
  const softmaxes = plain.explanation?.kernels
    .filter(({ nodes }) => nodes.some(({ op }) => op === "exp"));
  assertEquals(softmaxes?.length, 1);
  assertEquals(
    kinds(assertLowersRight(outputs, {}, { attention: "fused" })).filter((kind) =>
      kind.startsWith("attention")
    ),
    ["attention", "attentionGrad"],
  );
});

Deno.test("whatever attention it is, with norms too, both forms are right, forward and back", () => {
  fc.assert(
    fc.property(qkNormForms, fc.boolean(), (form, fold) => {
      const graph = qkNormGraph(form);
      const off = fold ? [] : ["fold_qk_norm" as const];
      for (const outputs of [{ y: graph.y }, withGradients(graph)]) {
        const options = { attention: "plain", fusion: { off } } as const;
        const program = assertLowersRight(outputs, {}, options);
        assert(kinds(program).every((kind) => !kind.startsWith("attention")));
        assertLowersRight(outputs, {}, { attention: "fused" });
      }
    }),
    { numRuns: 40 },
  );
});

Deno.test("the cheaper form is chosen, and both costs are told", () => {
  const outputs = attentionOf(5, 7);
  const cheap = assertLowersRight(outputs, {}, withCosts(costs(0.9)));
  const dear = assertLowersRight(outputs, {}, withCosts(costs(1.1)));
  assertEquals(kinds(cheap), ["loops", "matmul", "matmul"]);
  assertEquals(kinds(dear), ["attention"]);
  assertEquals(notes(cheap), ["applied: plain 900 us, one kernel 1000 us"]);
  assertEquals(notes(dear), ["refused: plain 1100 us, one kernel 1000 us"]);
});

Deno.test("where gradients keep the scores, the plain form has to be cheaper by a fifth", () => {
  const outputs = trainedAttention(5, 7);
  const little = assertLowersRight(outputs, {}, withCosts(costs(0.9)));
  const much = assertLowersRight(outputs, {}, withCosts(costs(0.7)));
  assert(kinds(little).includes("attentionGrad"));
  assert(kinds(much).every((kind) => !kind.startsWith("attention")));
  const told = "one kernel 1000 us with gradients";
  assertEquals(notes(little), [
    `refused: plain 900 us, ${told}, too little for keeping scores until the backward pass`,
  ]);
  assertEquals(notes(much), [`applied: plain 700 us, ${told}`]);
});

Deno.test("without measured costs attention is one kernel", () => {
  const program = lowered(attentionOf(5, 7));
  assertEquals(kinds(program), ["attention"]);
  assertEquals(notes(program), ["refused: its costs here were not measured"]);
});

Deno.test("large scores are never stored, unless the plain form is asked for", () => {
  const outputs = attentionOf(40, 40, 4);
  const program = lowered(outputs, withCosts(costs(0.1)));
  assertEquals(kinds(program), ["attention"]);
  assertEquals(notes(program), [
    "refused: plain 100 us, one kernel 1000 us, but scores take more memory than all operands",
  ]);
  assertEquals(kinds(lowered(outputs, { attention: "plain" })), ["loops", "matmul", "matmul"]);
});

Deno.test("under a memory limit attention is one kernel, unless the plain form is asked for", () => {
  const outputs = attentionOf(5, 7);
  const limited = { ...withCosts(costs(0.1)), memoryLimit: 1e6 };
  const program = lowered(outputs, limited);
  assertEquals(kinds(program), ["attention"]);
  assertEquals(notes(program), [
    "refused: plain 100 us, one kernel 1000 us, but memory is limited",
  ]);
  assertEquals(
    kinds(lowered(outputs, { ...limited, attention: "plain" })),
    ["loops", "matmul", "matmul"],
  );
});

Deno.test("the rule can be off: all attention is one kernel then", () => {
  const outputs = attentionOf(5, 7);
  const program = lowered(outputs, { attention: "plain", fusion: { off: [RULE] } });
  assertEquals(kinds(program), ["attention"]);
  assertEquals(notes(program), []);
});

Deno.test("one graph may have both forms: each attention has that of its sizes", () => {
  const few = attentionOf(1, 7).y;
  const many = attentionOf(6, 7).y;
  const attentionCosts = [
    { isTrained: false, queries: 3, fused: { ...FREE, call: 1 }, plain: FREE },
    { isTrained: false, fused: FREE, plain: { ...FREE, product: 1e-9 } },
  ];
  const program = assertLowersRight({ few, many }, {}, withCosts(attentionCosts));
  assertEquals(kinds(program), ["attention", "loops", "matmul", "matmul"]);
  assertEquals(program.explanation?.count(RULE), 1);
});

Deno.test("attention of a checkpoint has one form, in both computations", () => {
  const { q, k, v } = operandsOf(5, 5, 8);
  const attend = checkpoint((queries: Node) => g.attention(g.sin(queries), k, v));
  const outputs = gradients(g.sum(g.sin(attend(g.exp(q)))), { q, k, v });
  for (const attention of ["plain", "fused"] as const) {
    const program = assertLowersRight(outputs, {}, { attention });
    const fused = kinds(program).filter((kind) => kind.startsWith("attention")).length;
    assertEquals(fused === 0, attention === "plain");
  }
});

Deno.test("ViT-22B's blocks in training are right in both forms", () => {
  const outputs = trainedBlocks(2, 8);
  for (const attention of ["plain", "fused"] as const) {
    const program = assertLowersRight(outputs, {}, { attention });
    const fused = kinds(program).filter((kind) => kind.startsWith("attention")).length;
    assert(attention === "plain" ? fused === 0 : fused > 0);
  }
});

Deno.test("WASM's costs choose the plain form for a single query, one kernel for a ViT's tokens", () => {
  const single = lowered(attentionOf(1, 197, 64), withCosts(WASM_ATTENTION_COSTS));
  assertEquals(kinds(single), ["loops", "matmul", "matmul"]);
  assertMatch(notes(single).join(), /^applied: plain [\d.]+ us, one kernel [\d.]+ us$/);
  const tokens = lowered(attentionOf(197, 197, 64), withCosts(WASM_ATTENTION_COSTS));
  assertEquals(kinds(tokens), ["attention"]);
});

Deno.test("WebGPU's costs in software choose the plain form for a ViT's tokens", () => {
  const tokens = attentionOf(197, 197, 64);
  for (const graph of [tokens, trainedAttention(197, 197, 64)]) {
    const kernels = kinds(lowered(graph, withCosts(SOFTWARE_ATTENTION_COSTS)));
    assert(!kernels.some((kind) => kind.startsWith("attention")), kernels.join());
  }
  assertEquals(kinds(lowered(attentionOf(4, 4), withCosts(SOFTWARE_ATTENTION_COSTS))), [
    "attention",
  ]);
  const { attentionCosts } = gpuTarget(gpuCapabilities({ software: true }));
  assertEquals(attentionCosts, SOFTWARE_ATTENTION_COSTS);
  assertEquals(gpuTarget(gpuCapabilities()).attentionCosts, undefined);
});
