/** Fovea in a process of the benchmark. */
import type { MeasuredRun } from "../measured_run.ts";
import type { StartMessage } from "../messages.ts";
import { COPY_WORK, FED_WORK, type MachineWork } from "../works.ts";
import { STEP_BY_STEP } from "./settings.ts";

/** Fovea, ready to do the work. */
export async function startFovea(start: StartMessage): Promise<MeasuredRun> {
  const { work, setting } = start;
  switch (work.suite) {
    case "machine":
      return await startMachineKernel(work);
    case "matmul":
      return await (await import("./matmul.ts")).startMatmul(work, start);
    case "forward":
      return setting === STEP_BY_STEP
        ? await (await import("./step_times.ts")).startSteps(work)
        : await (await import("./forward.ts")).startForward(work, start);
    case "train":
      return await (await import("./training.ts")).startTraining(work, start);
  }
}

async function startMachineKernel({ name }: MachineWork): Promise<MeasuredRun> {
  switch (name) {
    case COPY_WORK.name:
      return (await import("./cache_copy.ts")).startCopy();
    case FED_WORK.name:
      return (await import("./fed_fma.ts")).startFedMultiplyAdds();
    default:
      return (await import("./fma_peak.ts")).startPeak();
  }
}
