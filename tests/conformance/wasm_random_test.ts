/** Random graphs on WASM: against the f64 reference, and the same bits with any thread count and width of addresses. */
import { wasm } from "../../backends/wasm/backend.ts";
import { assertEquals } from "../support/assert.ts";
import { randomGraphTests } from "../support/random_suite.ts";
import { runOn } from "../support/run_graph.ts";

randomGraphTests("WASM", async (graph) => {
  const one = await runOn(wasm({ threads: 1 }), graph);
  const two = await runOn(wasm({ threads: 2 }), graph);
  assertEquals(two, one);
  const wide = await runOn(wasm({ threads: 2, memory64: true }), graph);
  assertEquals(wide, one);
  return one;
}, { f32: 150, mixed: 100, gradients: 100 });
