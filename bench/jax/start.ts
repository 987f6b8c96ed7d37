/** jax-js on its WASM or WebGPU backend, in a process of the benchmark. */
import { defaultDevice, init } from "@jax-js/jax";
import type { MeasuredRun } from "../measured_run.ts";
import type { TimedWork } from "../works.ts";
import { startForward, startMatmul } from "./forward.ts";
import { readSetting } from "./setting.ts";
import { startTraining } from "./training.ts";

/** The work, ready to run. */
export async function startJax(work: TimedWork, settingName: string): Promise<MeasuredRun> {
  const { backend } = work;
  if (backend !== "wasm" && !(await init(backend)).includes(backend)) {
    throw new RangeError(`jax-js has no ${backend} here`);
  }
  defaultDevice(backend);
  const setting = readSetting(settingName, backend);
  switch (work.suite) {
    case "matmul":
      return startMatmul(work, setting);
    case "forward":
      return startForward(work, setting);
    case "train":
      return startTraining(work, setting);
  }
}
