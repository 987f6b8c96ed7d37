/** What becomes one kernel: counted, named, and each against the reference. */
import { gradients } from "../../compiler/autodiff.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { assertEquals } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";

const x = g.input("x", "f32", [4, 6, 8]);
const cotangent = g.input("cotangent", "f32", [4, 6, 8]);
const scale = g.input("scale", "f32", [8]);
const bias = g.input("bias", "f32", [8]);

function names(program: Program): string[] {
  return program.steps.map((step) => program.kernels[step.kernel]?.name ?? "?");
}

/** Names without the ops: `rows 24x8`, `matmul 1x24x8x8 and 2 more`. */
function kinds(program: Program): string[] {
  return names(program).map((name) => name.replace(/_.*?_(?=[^_]*\dx)/, " ").replaceAll("_", " "));
}

function backward(y: Node, wrt: Record<string, Node>): Record<string, Node> {
  return gradients(g.sum(g.mul(y, cotangent)), wrt);
}

const ONE_KERNEL: Readonly<Record<string, Record<string, Node>>> = {
  softmax: { y: g.softmax(x) },
  "softmax of scaled and shifted": { y: g.softmax(g.add(g.mul(x, 0.5), bias)) },
  logSoftmax: { y: g.logSoftmax(x) },
  "layer norm": { y: g.layerNorm(x) },
  "layer norm with scale": { y: g.layerNorm(x, { scale }) },
  "layer norm with bias": { y: g.layerNorm(x, { bias }) },
  "layer norm with both": { y: g.layerNorm(x, { scale, bias }) },
  "layer norm without centring": { y: g.layerNorm(x, { scale, center: false }) },
  "residual, then layer norm, both kept": (() => {
    const sum = g.add(x, cotangent);
    return { sum, y: g.layerNorm(sum, { scale, bias }) };
  })(),
  "row statistics": { mean: g.mean(x, 2), largest: g.max(x, 2), place: g.argmax(x, 2) },
  "column statistics": { mean: g.mean(x, [0, 1]), largest: g.max(x, [0, 1]) },
  "the cotangent of softmax": backward(g.softmax(x), { x }),
  "losses of rows": { losses: g.softmaxCrossEntropy(x, cotangent) },
  "elementwise chain": { y: g.gelu(g.mul(g.tanh(g.add(x, bias)), g.sigmoid(cotangent))) },
  "two results of one read": { a: g.exp(x), b: g.tanh(g.exp(x)) },
};

for (const [name, outputs] of Object.entries(ONE_KERNEL)) {
  Deno.test(`one kernel: ${name}`, () => {
    assertEquals(names(assertLowersRight(outputs)).length, 1);
  });
}

Deno.test("a mean loss is the kernel of its rows and a sum", () => {
  const logits = g.input("logits", "f32", [16, 10]);
  const labels = g.input("labels", "f32", [16, 10]);
  const loss = g.mean(g.softmaxCrossEntropy(logits, labels));
  assertEquals(kinds(assertLowersRight({ loss })), ["rows 16x10", "rows 1x16"]);
  const both = assertLowersRight({ loss, ...gradients(loss, { logits }) });
  assertEquals(kinds(both), ["rows 16x10", "rows 1x16"]);
});

Deno.test("a layer norm's backward: one kernel for x, one for scale and bias", () => {
  const y = g.layerNorm(x, { scale, bias });
  const slopes = backward(y, { x, scale, bias });
  assertEquals(kinds(assertLowersRight(slopes)).sort(), ["columns sum24x8", "rows 24x8"]);
  // Where the backward pass needs the forward one, it reads the statistics that that has stored.
  const loss = g.sum(g.square(g.matmul(y, g.input("weight", "f32", [8, 8]))));
  assertEquals(
    kinds(assertLowersRight({ loss, ...gradients(loss, { x, scale, bias }) })).sort(),
    [
      "columns sum24x8",
      "matmul 1x24x8x8",
      "matmul 1x24x8x8",
      "rows 1x192",
      "rows 24x8",
      "rows 24x8",
    ],
  );
});

/** A linear layer's parameters. */
function linear(name: string, inputs: number, outputs: number) {
  return {
    kernel: g.input(`${name}/kernel`, "f32", [inputs, outputs]),
    bias: g.input(`${name}/bias`, "f32", [outputs]),
  };
}

type Linear = ReturnType<typeof linear>;

function dense(y: Node, { kernel, bias }: { kernel: Node; bias: Node }): Node {
  return g.add(g.contract("b n d, d e -> b n e", y, kernel), bias);
}

const mlpIn = linear("in", 8, 16);
const mlpOut = linear("out", 16, 8);

function mlp(y: Node): Node {
  return dense(g.gelu(dense(y, mlpIn)), mlpOut);
}

Deno.test("an MLP with its residual is two matmuls", () => {
  const program = assertLowersRight({ y: g.add(x, mlp(x)) });
  assertEquals(names(program), [
    "matmul_contract_add_mul_sigmoid_1x24x16x8",
    "matmul_contract_add_1x24x8x16",
  ]);
});

Deno.test("matmuls take bias, activation and residual as epilogues, not a norm", () => {
  const program = assertLowersRight({ y: g.layerNorm(g.add(x, mlp(x)), { scale, bias }) });
  assertEquals(kinds(program), ["matmul 1x24x16x8", "matmul 1x24x8x16", "rows 24x8"]);
});

const attentionParts: Readonly<Record<"query" | "key" | "value" | "mix", Linear>> = {
  query: linear("query", 8, 8),
  key: linear("key", 8, 8),
  value: linear("value", 8, 8),
  mix: linear("mix", 8, 8),
};

/** Self-attention with two heads. */
function attended(y: Node): Node {
  const heads = (part: Linear) =>
    g.transpose(g.reshape(dense(y, part), [4, 6, 2, 4]), [0, 2, 1, 3]);
  const { query, key, value, mix } = attentionParts;
  const mixed = g.attention(heads(query), heads(key), heads(value));
  return dense(g.reshape(g.transpose(mixed, [0, 2, 1, 3]), [4, 6, 8]), mix);
}

/** A pre-norm block (Dosovitskiy et al. 2021, equations 2 and 3). */
function block(y: Node): Node {
  const middle = g.add(y, attended(g.layerNorm(y, { scale, bias })));
  return g.add(middle, mlp(g.layerNorm(middle, { scale, bias })));
}

Deno.test("a ViT block forward: norms, attention, and matmuls with all the rest", () => {
  assertEquals(names(assertLowersRight({ y: block(x) })), [
    "rows_sum_mul_sub_add_1more_24x8",
    "matmul_contract_add_1x24x8x8_and_2_more",
    "attention_attention_8x6x6x4",
    "matmul_contract_add_1x24x8x8",
    "rows_sum_mul_sub_add_1more_24x8",
    "matmul_contract_add_mul_sigmoid_1x24x16x8",
    "matmul_contract_add_1x24x8x16",
  ]);
});

Deno.test("a ViT block's gradient: nothing beside norms, attention, matmuls and bias sums", () => {
  const parts = { mlpIn, mlpOut, ...attentionParts, norm: { scale, bias }, x };
  const slopes = g.flattenTree(gradients(g.sum(g.mul(block(x), cotangent)), parts), g.isTensor);
  const fusion = { off: ["group_independent_kernels"] } as const;
  const program = assertLowersRight(Object.fromEntries(slopes), {}, { fusion });
  assertEquals(kinds(program).sort(), [
    "attention 8x6x6x4",
    "attentionGrad 8x6x6x4",
    "columns sum24x16",
    "columns sum24x8",
    "columns sum24x8",
    "columns sum24x8",
    "columns sum24x8",
    "columns sum4xsum6x8",
    "matmul 1x16x8x24",
    "matmul 1x24x16x8",
    "matmul 1x24x16x8",
    "matmul 1x24x8x16",
    "matmul 1x24x8x8",
    "matmul 1x24x8x8",
    "matmul 1x24x8x8 and 2 more",
    "matmul 1x24x8x8+8+8",
    "matmul 1x8x16x24",
    "matmul 1x8x8x24",
    "matmul 1x8x8x24 and 2 more",
    "rows 24x8",
    "rows 24x8",
    "rows 24x8",
    "rows 24x8",
  ]);
});
