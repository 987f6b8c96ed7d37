/** The training step in Fovea: one compiled program with donated state. */
import { compile } from "../../backends/mod.ts";
import { adam, hostKey, initialize, trainingStep, vit } from "../../models/mod.ts";
import { ADAM, PARAMETER_SEED, trainingBatch } from "../data.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { TrainingWork } from "../works.ts";
import { backendOf, type FoveaSetting } from "./backend.ts";

/** Compiles the step and sets the initial parameters. */
export async function startTraining(
  work: TrainingWork,
  how: FoveaSetting,
): Promise<MeasuredRun> {
  const model = vit(work.config);
  const schedule = { kind: "constant", learningRate: work.learningRate } as const;
  const optimizer = adam({ ...ADAM, schedule });
  const program = await compile(trainingStep({ model, optimizer }), {
    backend: await backendOf(work, how),
    bind: { batch: work.batch },
    donate: { state: "state" },
  });
  program.set({
    state: {
      parameters: initialize(model.declarations, PARAMETER_SEED),
      optimizer: optimizer.initialState(model.declarations),
      step: 0,
      key: Uint32Array.from(hostKey(0)),
    },
  });
  const batch = trainingBatch(work);
  return {
    setting: `${program.describe()}; ${how.setting}`,
    async step() {
      const { loss } = await program.run(batch);
      return loss.data;
    },
  };
}
