/** Random graphs on WebGPU against the f64 reference. */
import { webgpu } from "../../backends/webgpu/backend.ts";
import { gpuTest } from "../support/gpu.ts";
import { randomGraphTests } from "../support/random_suite.ts";
import { runOn } from "../support/run_graph.ts";

randomGraphTests(
  "WebGPU",
  async (graph) => await runOn(await webgpu(), graph),
  { f32: 150, mixed: 100, gradients: 100 },
  (name, test) => gpuTest(name, test),
);
