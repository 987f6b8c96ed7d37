/** A matrix product in Fovea: a program of one contraction. */
import { compile } from "../../backends/mod.ts";
import { contract, spec, trace } from "../../graph/mod.ts";
import { matmulOperands } from "../data.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { MatmulWork } from "../works.ts";
import { backendOf } from "./backend.ts";

/** Compiles the product and sets the weight, which stays. */
export async function startMatmul(work: MatmulWork, threads: number): Promise<MeasuredRun> {
  const { m, k, n } = work;
  const specs = { a: spec("f32", [m, k]), b: spec("f32", [k, n]) };
  const graph = trace(specs, ({ a, b }) => contract("m k, k n -> m n", a, b));
  const program = await compile(graph, { backend: await backendOf(work, threads) });
  const { a, b } = matmulOperands(work);
  program.set({ b });
  return {
    setting: program.describe(),
    step: async () => (await program.run({ a })).data,
  };
}
