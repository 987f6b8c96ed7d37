import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";
import { lowered, moduleOf } from "../support/lowered.ts";
import { relativeError } from "../support/random_graphs.ts";

function checkValues(outputs: Record<string, Node>): void {
  const interpreted = new InterpretedProgram(lowered(outputs));
  const values = new Map([...moduleOf(outputs).inputs].map(([path, node]) => {
    const shape = staticShape(node.shape);
    const data = Float64Array.from(
      { length: staticSize(shape) },
      (_, at) => Math.fround(Math.sin(at * 1.7 + node.id)),
    );
    interpreted.write(path, data);
    return [path, { dtype: node.dtype, shape, data }];
  }));
  interpreted.run();
  const expected = evaluateGraph(Object.values(outputs), values);
  for (const [path, node] of Object.entries(outputs)) {
    const error = relativeError(interpreted.read(path), expected.get(node)?.data ?? []);
    assert(error < 1e-6, `${path} is off by ${error}`);
  }
}

Deno.test("a patch embedding is one matmul, without a tensor of patches", () => {
  for (const channels of [1, 3]) {
    const images = g.input("images", "f32", [2, 8, 12, channels]);
    const kernel = g.input("kernel", "f32", [4 * 4 * channels, 5]);
    const y = g.contract("b n p, p d -> b n d", g.patchify(images, 4), kernel);
    assertEquals(lowered({ y }).steps.length, 1);
    checkValues({ y });
  }
});

Deno.test("its kernel's gradient reads the images where they stand", () => {
  const images = g.input("images", "f32", [2, 8, 8, 3]);
  const kernel = g.input("kernel", "f32", [48, 5]);
  const y = g.contract("b n p, p d -> b n d", g.patchify(images, 4), kernel);
  const loss = g.sum(g.square(y));
  const outputs = { kernelGradient: gradients(loss, kernel) };
  assertEquals(lowered(outputs).kernels.map((one) => one.kind), ["matmul", "matmul"]);
  checkValues(outputs);
});

Deno.test("a right operand that is cut up is read in place as well", () => {
  const x = g.input("x", "f32", [3, 24]);
  const w = g.input("w", "f32", [6, 4, 5]);
  const y = g.contract("a k, k d -> a d", x, g.reshape(g.transpose(w, [1, 0, 2]), [24, 5]));
  assertEquals(lowered({ y }).steps.length, 1);
  checkValues({ y });
});

Deno.test("axes that do not come apart are copied first", () => {
  const x = g.input("x", "f32", [6, 4]);
  const w = g.input("w", "f32", [8, 2]);
  const y = g.contract("a k, k d -> a d", g.reshape(g.transpose(x), [3, 8]), w);
  assertEquals(lowered({ y }).steps.length, 2);
  checkValues({ y });
});
