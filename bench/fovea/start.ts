/** Fovea in a process of the benchmark. */
import type { MeasuredRun } from "../measured_run.ts";
import type { StartMessage } from "../messages.ts";
import { COPY_WORK } from "../works.ts";
import { STEP_BY_STEP } from "./settings.ts";

/** Fovea, ready to do the work. */
export async function startFovea(start: StartMessage): Promise<MeasuredRun> {
  const { work, setting } = start;
  switch (work.suite) {
    case "machine":
      return work.name === COPY_WORK.name
        ? (await import("./cache_copy.ts")).startCopy()
        : (await import("./fma_peak.ts")).startPeak();
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
