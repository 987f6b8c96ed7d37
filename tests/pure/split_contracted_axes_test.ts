import { gradients } from "../../compiler/autodiff.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { assertEquals } from "../support/assert.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";

/** Lowers, checks the values against the f64 reference, and gives the program. */
function checked(outputs: Record<string, Node>): Program {
  return assertLowersRight(outputs, {}, {}, 1e-6);
}

Deno.test("a patch embedding is one matmul, without a tensor of patches", () => {
  for (const channels of [1, 3]) {
    const images = g.input("images", "f32", [2, 8, 12, channels]);
    const kernel = g.input("kernel", "f32", [4 * 4 * channels, 5]);
    const y = g.contract("b n p, p d -> b n d", g.patchify(images, 4), kernel);
    assertEquals(checked({ y }).steps.length, 1);
  }
});

Deno.test("its kernel's gradient reads the images where they stand", () => {
  const images = g.input("images", "f32", [2, 8, 8, 3]);
  const kernel = g.input("kernel", "f32", [48, 5]);
  const y = g.contract("b n p, p d -> b n d", g.patchify(images, 4), kernel);
  const loss = g.sum(g.square(y));
  const outputs = { kernelGradient: gradients(loss, kernel) };
  assertEquals(checked(outputs).kernels.map((one) => one.kind), ["matmul", "matmul"]);
});

Deno.test("a right operand that is cut up is read in place as well", () => {
  const x = g.input("x", "f32", [3, 24]);
  const w = g.input("w", "f32", [6, 4, 5]);
  const y = g.contract("a k, k d -> a d", x, g.reshape(g.transpose(w, [1, 0, 2]), [24, 5]));
  assertEquals(checked({ y }).steps.length, 1);
});

Deno.test("axes that do not come apart are copied first", () => {
  const x = g.input("x", "f32", [6, 4]);
  const w = g.input("w", "f32", [8, 2]);
  const y = g.contract("a k, k d -> a d", g.reshape(g.transpose(x), [3, 8]), w);
  assertEquals(checked({ y }).steps.length, 2);
});
