/** QK-norm and attention on WASM in all their forms, against the reference. */
import { wasm } from "../../backends/wasm/backend.ts";
import { assertEquals } from "../support/assert.ts";
import { qkNormTests } from "../support/qk_norm_suite.ts";
import { runOn } from "../support/run_graph.ts";

for (const relaxedSimd of [true, false]) {
  qkNormTests(
    `WASM ${relaxedSimd ? "with" : "without"} fused multiply-add`,
    async (graph) => {
      const found = await runOn(wasm({ threads: 1, relaxedSimd }), graph);
      assertEquals(await runOn(wasm({ threads: 2, relaxedSimd }), graph), found);
      return found;
    },
    { ways: ["folded", "apart", "plain"], numRuns: 30, large: true },
    (name, test) => Deno.test(name, test),
  );
}
