/** Random graphs on WebGPU against the f64 reference. */
import { gpuTest, gpuWithoutCosts } from "../support/gpu.ts";
import { randomGraphTests } from "../support/random_suite.ts";
import { runOn } from "../support/run_graph.ts";

randomGraphTests(
  "WebGPU",
  async (graph) => await runOn(await gpuWithoutCosts(), graph),
  { f32: 150, mixed: 100, gradients: 100 },
  (name, test) => gpuTest(name, test),
);
