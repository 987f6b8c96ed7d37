/** What explanations say: of a small graph word for word, and of large models that it stays readable. */
import { type FusionRule, gradients, lowerGraph } from "../../compiler/mod.ts";
import * as g from "../../graph/mod.ts";
import type { Tensor } from "../../graph/mod.ts";
import { vit, vitVariant } from "../../models/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { lowered } from "../support/lowered.ts";

/** A block of two branches that read one norm and are added up, as in ViT-22B, without attention. */
function block(x: Tensor, place: number): Tensor {
  return g.withScope("encoder", () =>
    g.withScope(place, () => {
      const weight = (name: string, rows: number, columns: number) =>
        g.input(`${place}/${name}`, "f32", [rows, columns]);
      const y = g.withScope("norm", () => g.layerNorm(x));
      const one = g.matmul(g.matmul(y, weight("value", 16, 16)), weight("mix", 16, 16));
      const hidden = g.add(g.matmul(y, weight("in", 16, 32)), g.input(`${place}/b`, "f32", [32]));
      const other = g.matmul(g.gelu(hidden), weight("out", 32, 16));
      return g.add(x, g.add(one, other));
    }));
}

/** The user's two lines: everything else is in functions that it calls. */
function twoBlocks(): Record<string, Tensor> {
  const tokens = block(block(g.input("x", "f32", [4, 16]), 0), 1);
  return { tokens, mean: g.mean(tokens, -1) };
}

/** Lines of this file, whatever is written above them, as `L`. */
function withoutLines(text: string): string {
  return text.replaceAll(/(?<=explain_test\.ts:)[\d,]+/g, "L");
}

Deno.test("the whole text of a small graph", () => {
  const lines = withoutLines(String(lowered(twoBlocks()).explanation)).split("\n");
  assert(/^found nothing to do: .*split_contracted_axes, .*fuse_columns/.test(lines.pop() ?? ""));
  assertEquals(lines, [
    "7 kernels; fusion saves 21 kB of memory traffic a run",
    "    x2 rows_sum_mul_sub_add_1more_4x16  <- encoder/*/norm: sum mul sub add rsqrt " +
    "(explain_test.ts:L); 8 values never stored, 2432 B saved",
    "    x2 matmul_contract_1x4x16x16_and_1_more  <- encoder/*: contract add mul sigmoid " +
    "(explain_test.ts:L); 8 values never stored, 16 kB saved",
    "    x2 matmul_contractSum_add_1x4x16x16+32  <- encoder/*: contractSum add " +
    "(explain_test.ts:L); 1 values never stored, 1024 B saved",
    "       rows_sum_mul_4x16  <- /: sum mul (explain_test.ts:L); 1 values never stored, 32 B saved",
    "",
    "merge_sum_of_contractions: products that are added up become the terms of one",
    "  applied 2 times, 1024 B saved",
    "    x2 + add in encoder/* (explain_test.ts:L): 2 products, 1024 B saved",
    "",
    "merge_contractions_of_shared_operand: products of one left operand become parts of one kernel",
    "  applied 2 times, 512 B saved",
    "    x2 + contract in encoder/* (explain_test.ts:L): runs beside matmul_contract_1x4x16x16, " +
    "512 B saved",
    "",
    "fuse_epilogue: elementwise ops after a matrix product are computed as its results are written",
    "  applied 4 times, 17 kB saved",
    "    x2 + contract in encoder/* (explain_test.ts:L): add, mul, sigmoid, 16 kB saved",
    "    x2 + contractSum in encoder/* (explain_test.ts:L): add, 1024 B saved",
    "",
    "fuse_rows: reductions over rows, and what they need and lead to, are one kernel",
    "  applied 3 times, 2464 B saved, refused 2 times",
    "    x2 + sum in encoder/*/norm (explain_test.ts:L): sum, mul, sub, add, rsqrt, 2432 B saved",
    "       + sum (explain_test.ts:L): sum, mul, 32 B saved",
    "       - sum in encoder/1/norm (explain_test.ts:L): it needs whole rows, and a matrix product " +
    "has a tile of them",
    "       - sum (explain_test.ts:L): it needs whole rows, and a matrix product has a tile of them",
    "",
    "group_independent_kernels: kernels that differ in sizes and memory alone run as one step",
    "  applied 0 times, refused 1 times",
    "       - sum in encoder/0/norm (explain_test.ts:L): 2 kernels of its form are not all one " +
    "step: 2 times, such as because matmul_contract_1x4x16x16_and_1_more has to run after them",
    "",
    "share_kernels: kernels that do the same to other buffers are compiled once",
    "  applied 3 times",
    "       + sum in encoder/0/norm (explain_test.ts:L): 2 steps run rows_sum_mul_sub_add_1more_4x16",
    "       + contract in encoder/0 (explain_test.ts:L): 2 steps run " +
    "matmul_contract_1x4x16x16_and_1_more",
    "       + contractSum in encoder/0 (explain_test.ts:L): 2 steps run " +
    "matmul_contractSum_add_1x4x16x16+32",
    "",
    "write_in_place: a result takes the memory of what it replaces",
    "  applied 1 times",
    "       + add in encoder/1 (explain_test.ts:L): takes over the memory of add",
    "",
  ]);
});

Deno.test("every node has the line that asked for it, and so has its gradient", async () => {
  const { tokens } = twoBlocks();
  assert(tokens !== undefined);
  const slope = gradients(g.sum(g.square(tokens)), g.input("0/in", "f32", [16, 32]));
  const source = (await Deno.readTextFile(new URL(import.meta.url))).split("\n");
  const { explanation } = lowered({ tokens, slope });
  assert(explanation !== undefined);
  const notes = [
    ...explanation.kernels.flatMap(({ nodes }) => nodes),
    ...explanation.rules.map(({ node }) => node),
  ];
  for (const { op, scope, site } of notes) {
    assertEquals(site?.file, import.meta.url, op);
    const wanted = scope.endsWith("norm") ? "g.layerNorm(x)" : "g.";
    assert(source[(site?.line ?? 0) - 1]?.includes(wanted), `${op} in ${scope}: ${site?.line}`);
  }
});

Deno.test("a kernel lists what it computes: what another computes in its stead is listed there", () => {
  const x = g.input("x", "f32", [4, 8]);
  const product = g.matmul(x, g.input("w", "f32", [8, 8]));
  const { explanation } = lowered({ product, y: g.layerNorm(product, { center: false }) });
  assertEquals(
    explanation?.kernels.map(({ nodes }) => nodes.map(({ op }) => op)),
    [["contract"], ["sum", "mul", "add", "rsqrt", "mul", "mul"]],
  );
});

/** The text for a model of the library, in which the user has two lines. */
function explained(model: ReturnType<typeof vit>, off: readonly FusionRule[] = []): string {
  const { imageSize, channels } = model.config;
  const images = g.spec("f32", [1, imageSize, imageSize, channels]);
  const graph = g.trace({ parameters: model.parameterSpecs, images }, (given) => {
    const { logits } = model.apply(given.parameters, given.images);
    return { probabilities: g.softmax(logits) };
  });
  const program = lowerGraph(graph, { target: { alignment: 64 }, fusion: { off } });
  return String(program.explanation);
}

Deno.test("large models: one line for all blocks, the user's own lines, the same text each time", () => {
  const parallel = {
    block: "parallel",
    qkNorm: "rms",
    norm: "rms",
    qkvBias: false,
    depth: 12,
  } as const;
  for (const model of [vit(vitVariant("B/16")), vit(vitVariant("S/16", parallel))]) {
    const text = explained(model);
    assertEquals(explained(model), text);
    const lines = text.split("\n");
    assert(lines.length < 80, `${lines.length} lines`);
    assert(lines.some((line) => /^ +x12 matmul\S* +<- encoder\/\*\/attention: /.test(line)));
    const sites = text.match(/\w+\.ts:[\d,]+/g) ?? [];
    assertEquals(
      new Set(sites.map((site) => site.replace(/:.*/, ""))),
      new Set(["explain_test.ts"]),
    );
    assertEquals(new Set(sites).size, 2);
  }
});

Deno.test("rules that are off are named", () => {
  const text = explained(vit(vitVariant("Ti/16", { depth: 1 })), ["fuse_epilogue", "fuse_rows"]);
  assertEquals(text.split("\n").at(-1), "switched off: fuse_epilogue, fuse_rows");
  assert(!/found nothing to do:.*fuse_epilogue/.test(text));
});
