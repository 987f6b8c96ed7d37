/** jax-js on its WASM backend, in a process of the benchmark. */
import { defaultDevice } from "@jax-js/jax";
import type { MeasuredRun } from "../measured_run.ts";
import type { TimedWork } from "../works.ts";
import { startForward, startMatmul } from "./forward.ts";
import { readSetting } from "./setting.ts";
import { startTraining } from "./training.ts";

/** The work, ready to run. */
export function startJax(work: TimedWork, settingName: string): MeasuredRun {
  defaultDevice("wasm");
  const setting = readSetting(settingName);
  switch (work.suite) {
    case "matmul":
      return startMatmul(work, setting);
    case "forward":
      return startForward(work, setting);
    case "train":
      return startTraining(work, setting);
  }
}
