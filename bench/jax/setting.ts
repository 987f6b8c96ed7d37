/** How jax-js is set up. */
import type { numpy as np } from "@jax-js/jax";
import type { WorkBackend } from "../works.ts";

/** How jax-js is set up. */
export interface JaxSetting {
  /** What is compiled together: all of it, or each of the model's parts alone. */
  readonly jit: "whole" | "parts";
  /** Where kernels run: on worker threads, on the caller's thread without messages, or on the GPU. */
  readonly where: "workers" | "caller" | "gpu";
}

/** The setting of that name, as systems.ts has them. */
export function readSetting(name: string, backend: WorkBackend): JaxSetting {
  return {
    jit: name.startsWith("whole") ? "whole" : "parts",
    where: backend === "webgpu" ? "gpu" : name.endsWith("no workers") ? "caller" : "workers",
  };
}

/** The setting in words; `parts` is what is compiled alone. */
export function describe(setting: JaxSetting, whole: string, parts: readonly string[]): string {
  const jit = setting.jit === "whole"
    ? `the whole ${whole} in one jit`
    : `${parts.join(", ")} each in a jit of its own`;
  return `${jit}, ${PLACES[setting.where]}`;
}

const PLACES = {
  workers: "on worker threads",
  caller: "on the calling thread",
  gpu: "on WebGPU",
} as const;

/** The array's numbers, on the way that starts the kernels where the setting says. It is used up. */
export async function readOut(array: np.Array, { where }: JaxSetting) {
  return where === "caller" ? array.dataSync() : await array.data();
}
