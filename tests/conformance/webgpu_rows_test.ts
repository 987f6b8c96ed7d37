/** Rows that are short enough to stay in registers, and many enough to share a workgroup. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import { assert } from "../support/assert.ts";
import { inputValues } from "../support/compare_lowered.ts";
import { errorAgainst } from "../support/conformance.ts";
import fc from "../support/fast_check.ts";
import { gpuTest } from "../support/gpu.ts";
import { moduleOf } from "../support/lowered.ts";
import { runOn } from "../support/run_graph.ts";

/** Of f32 arithmetic over sums of some hundred terms. */
const TOLERANCE = 5e-6;

/** Sums and largest values of rows, in one pass and in several, and results in place of operands. */
function graphOf(rows: number, columns: number): Record<string, g.Node> {
  const x = g.input("x", "f32", [rows, columns]);
  const y = g.input("y", "f32", [rows, columns]);
  const scale = g.input("scale", "f32", [columns]);
  const bias = g.input("bias", "f32", [columns]);
  const residual = g.add(x, y);
  const normed = g.add(g.mul(g.layerNorm(residual), scale), bias);
  const weights = g.softmax(g.mul(residual, scale));
  const loss = g.sum(g.mul(g.add(normed, weights), g.sin(y)));
  return {
    normed,
    weights,
    largest: g.argmax(residual, 1),
    ...gradients(loss, { x, y, scale }),
  };
}

gpuTest("webgpu: rows of every length and number that shapes workgroups", async (backend) => {
  const rows = fc.integer({ min: 1, max: 300 });
  const columns = fc.integer({ min: 17, max: 140 });
  const examples: [number, number][] = [[1088, 64], [131, 17]];
  await fc.assert(
    fc.asyncProperty(rows, columns, async (rows, columns) => {
      const outputs = graphOf(rows, columns);
      const { inputs } = moduleOf(outputs);
      const values = inputValues(inputs);
      const paths = new Map(Object.entries(outputs));
      const expected = evaluateGraph(Object.values(outputs), values);
      const found = await runOn(backend, { inputs, outputs: paths, values });
      for (const [path, node] of paths) {
        const error = errorAgainst(found.get(path) ?? [], expected.get(node)?.data ?? []);
        assert(error <= TOLERANCE, `${path} of ${rows} x ${columns}: off by ${error}`);
      }
    }),
    { numRuns: 6, examples },
  );
});
