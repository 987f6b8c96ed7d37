/** How jax-js is set up. */
import type { numpy as np } from "@jax-js/jax";

/** How jax-js is set up. */
export interface JaxSetting {
  /** What is compiled together: all of it, or each of the model's parts alone. */
  readonly jit: "whole" | "parts";
  /** Whether kernels run on worker threads, or on the caller's thread without messages. */
  readonly workers: boolean;
}

/** The setting of that name, as systems.ts has them. */
export function readSetting(name: string): JaxSetting {
  return {
    jit: name.startsWith("whole") ? "whole" : "parts",
    workers: !name.endsWith("no workers"),
  };
}

/** The setting in words; `parts` is what is compiled alone. */
export function describe(setting: JaxSetting, whole: string, parts: readonly string[]): string {
  const jit = setting.jit === "whole"
    ? `the whole ${whole} in one jit`
    : `${parts.join(", ")} each in a jit of its own`;
  return `${jit}, ${setting.workers ? "on worker threads" : "on the calling thread"}`;
}

/** The array's numbers, on the way that starts the kernels where the setting says. It is used up. */
export async function readOut(array: np.Array, { workers }: JaxSetting) {
  return workers ? await array.data() : array.dataSync();
}
