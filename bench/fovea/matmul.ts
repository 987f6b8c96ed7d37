/** A matrix product in Fovea: a program of one contraction. */
import { compile } from "../../backends/mod.ts";
import { contract, spec, trace } from "../../graph/mod.ts";
import { matmulOperands } from "../data.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { MatmulWork } from "../works.ts";
import { backendOf, type FoveaSetting } from "./backend.ts";
import { isLean } from "./settings.ts";

/** Compiles the product and sets the weight, which stays. */
export async function startMatmul(
  work: MatmulWork,
  how: FoveaSetting,
): Promise<MeasuredRun> {
  const { m, k, n } = work;
  const lean = isLean(how.setting);
  const specs = { a: spec("f32", [m, k]), b: spec("f32", [k, n]) };
  const graph = trace(specs, ({ a, b }) => contract("m k, k n -> m n", a, b));
  const backend = await backendOf(work, how);
  const program = await compile(graph, { backend, checkInputs: !lean });
  const { a, b } = matmulOperands(work);
  program.set({ b });
  return {
    setting: `${program.describe()}; ${how.setting}`,
    step: async () => (await program.run({ a }, { views: lean })).data,
  };
}
