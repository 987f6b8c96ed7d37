/** Merged contractions: counted, explained, and compared with the reference, forward and gradient. */
import { gradients } from "../../compiler/autodiff.ts";
import type { FusionRule } from "../../compiler/fusion_rules.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { vit } from "../../models/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";

/** Lowers, checks the values against the f64 reference, and gives the program. */
function checked(outputs: Record<string, Node>): Program {
  return assertLowersRight(outputs, {}, {}, 2e-6);
}

/** Parts and terms of every matmul, such as `3x1` for three parts of one term each. */
function matmuls(program: Program): string[] {
  return program.steps.flatMap(({ kernel }) => {
    const found = program.kernels[kernel];
    if (found?.kind !== "matmul") return [];
    return [`${found.parts.length}x${Math.max(...found.parts.map((part) => part.terms.length))}`];
  });
}

function count(program: Program, rule: FusionRule): number {
  return program.explanation?.count(rule) ?? NaN;
}

const x = g.input("x", "f32", [2, 5, 8]);
const weight = (name: string, ...shape: number[]) => g.input(name, "f32", shape);

Deno.test("projections of one input are parts of one kernel, each with its epilogue", () => {
  const h = g.layerNorm(x);
  const q = g.contract("b n d, d e -> b n e", h, weight("q", 8, 6));
  const k = g.contract("b n d, d e -> b n e", h, weight("k", 8, 6));
  const u = g.contract("b n d, d m -> b n m", h, weight("u", 8, 12));
  const program = checked({ q, k, u: g.gelu(g.add(u, weight("bias", 12))) });
  assertEquals(matmuls(program), ["3x1"]);
  assertEquals(count(program, "merge_contractions_of_shared_operand"), 2);
});

Deno.test("projections of different inputs stay apart", () => {
  const q = g.matmul(x, weight("q", 8, 6));
  const k = g.matmul(g.tanh(x), weight("k", 8, 6));
  assertEquals(matmuls(checked({ q, k })), ["1x1", "1x1"]);
});

Deno.test("a projection of a projection is no part of the same kernel", () => {
  const w = weight("w", 8, 8);
  const q = g.matmul(x, w);
  const k = g.matmul(x, g.add(w, g.mean(q)));
  const program = checked({ q, k });
  assertEquals(matmuls(program), ["1x1", "1x1"]);
  assertEquals(count(program, "merge_contractions_of_shared_operand"), 0);
  assert(program.explanation?.rules.some(({ outcome }) => outcome === "refused"));
});

Deno.test("a sum of products is one product over the joined axes, whatever lies between", () => {
  const heads = g.input("heads", "f32", [2, 3, 5, 4]);
  const active = g.input("active", "f32", [2, 5, 12]);
  const out = g.contract("b h n e, h e d -> b n d", heads, weight("out", 3, 4, 8));
  const down = g.contract("b n m, m d -> b n d", active, weight("down", 12, 8));
  const y = g.add(x, g.add(g.add(out, weight("b1", 8)), g.add(down, weight("b2", 8))));
  const program = checked({ y });
  assertEquals(matmuls(program), ["1x2"]);
  assertEquals(program.steps.length, 1);
  assertEquals(count(program, "merge_sum_of_contractions"), 1);
});

Deno.test("products with a use of their own stay apart, and the reason is given", () => {
  const a = g.matmul(x, weight("w1", 8, 8));
  const b = g.matmul(g.tanh(x), weight("w2", 8, 8));
  const program = checked({ y: g.add(a, b), a });
  assertEquals(count(program, "merge_sum_of_contractions"), 0);
  assertStringIncludes(String(program.explanation), "its value is used elsewhere as well");
});

Deno.test("gradients of queries, keys and values flow back in one product", () => {
  const weights = [0, 1, 2].map((at) => weight(`w${at}`, 8, 6));
  const [q, k, v] = weights.map((w) => g.contract("b n d, d e -> b n e", x, w));
  assert(q !== undefined && k !== undefined && v !== undefined);
  const found = gradients(g.sum(g.sin(g.attention(q, k, v))), { x, w: weights });
  const program = checked({
    x: found.x,
    ...Object.fromEntries(found.w.map((node, at) => [`w${at}`, node])),
  });
  // Forward; the weights' gradients side by side; the input's as one sum.
  assertEquals(matmuls(program).sort(), ["1x3", "3x1", "3x1"]);
});

Deno.test("a parallel block needs four matmul and attention kernels", () => {
  const model = vit({
    imageSize: 8,
    patchSize: 4,
    channels: 3,
    width: 16,
    depth: 1,
    mlpWidth: 24,
    heads: 4,
    classes: 3,
    block: "parallel",
    qkNorm: "rms",
    norm: "rms",
    qkvBias: false,
    pool: "gap",
  });
  const graph = g.trace(
    { parameters: model.parameterSpecs, images: g.spec("f32", [2, 8, 8, 3]) },
    ({ parameters, images }) => ({ logits: model.apply(parameters, images).logits }),
  );
  const logits = graph.outputs.get("logits");
  assert(logits !== undefined);
  const program = checked({ logits });
  // Patches; QKV and MLP-in; attention-out and MLP-out; head.
  assertEquals(matmuls(program), ["1x1", "4x1", "1x2", "1x1"]);
  const text = String(program.explanation);
  assertStringIncludes(text, "merge_sum_of_contractions");
  assertStringIncludes(text, "encoder/0");
});
