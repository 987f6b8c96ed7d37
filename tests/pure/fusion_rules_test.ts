/** Switching fusion rules off: unknown ones are refused, and results stay right without any. */
import { compile, reference, wasm } from "../../backends/mod.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { FUSION_RULES, type FusionRule } from "../../compiler/fusion_rules.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { vit } from "../../models/mod.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";
import { kernelsRun, lowered } from "../support/lowered.ts";

const RULES = Object.keys(FUSION_RULES) as FusionRule[];

/** Loss and gradients of a ViT that every rule has something to do in. */
function trained(): Record<string, Node> {
  const model = vit({
    imageSize: 8,
    patchSize: 4,
    channels: 3,
    width: 8,
    depth: 2,
    mlpWidth: 12,
    heads: 2,
    classes: 3,
    block: "parallel",
    pool: "gap",
  });
  const specs = { parameters: model.parameterSpecs, images: g.spec("f32", [2, 8, 8, 3]) };
  const graph = g.trace(specs, ({ parameters, images }) => {
    const { logits } = model.apply(parameters, images);
    const loss = g.mean(g.softmaxCrossEntropy(logits, g.full(1 / 3, [2, 3])));
    return { loss, slopes: gradients(loss, parameters) };
  });
  return Object.fromEntries(graph.outputs);
}

Deno.test("without any one rule, and without all, results are right", () => {
  const outputs = trained();
  const all = kernelsRun(lowered(outputs)).length;
  for (const rule of RULES) {
    const program = assertLowersRight(outputs, {}, { fusion: { off: [rule] } });
    assert(kernelsRun(program).length >= all, `without ${rule} there are fewer kernels`);
  }
  const none = assertLowersRight(outputs, {}, { fusion: { off: RULES } });
  const without = kernelsRun(none).length;
  assert(without > 2 * all, `${without} kernels without fusion, ${all} with`);
});

Deno.test("a rule that does not exist cannot be off: the error has them all", async () => {
  const graph = g.trace({ x: g.spec("f32", [2]) }, ({ x }) => ({ y: g.exp(x) }));
  const off = ["epilog"] as unknown as FusionRule[];
  for (const backend of [wasm({ threads: 1 }), reference()]) {
    const { message } = await assertRejects(
      () => compile(graph, { backend, fusion: { off } }),
      RangeError,
    );
    assertEquals(
      message,
      `There is no fusion rule "epilog" to switch off: wanted one of ${RULES.join(", ")}`,
    );
  }
});
