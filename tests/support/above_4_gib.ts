/** Programs whose tensors lie where only 64-bit addresses reach. */
import type { Backend, Executable } from "../../backends/backend.ts";
import { input } from "../../graph/mod.ts";

/** Elements of 4 GiB: the largest tensor is placed first, and nothing touches its pages. */
const ELEMENTS = 2 ** 30;

/** A backend that puts all tensors of a program behind an input of 4 GiB, which nothing reads. */
export function above4GiB(backend: Backend): Backend {
  return {
    ...backend,
    prepare: async ({ inputs, outputs }, options) => {
      const ballast = input("ballast", "f32", [ELEMENTS]);
      const all = new Map([...inputs, ["ballast", ballast] as const]);
      const executable = await backend.prepare({ inputs: all, outputs }, options);
      const { arenaBytes } = executable.memory();
      if (arenaBytes > 4 * ELEMENTS) return hidingBallast(executable);
      throw new RangeError(`The arena has ${arenaBytes} bytes, wanted more than 4 GiB`);
    },
  };
}

/** The executable as if it had no input but those of the graph. */
function hidingBallast(executable: Executable): Executable {
  return new Proxy(executable, {
    get: (target, key) => {
      if (key === "inputs") return target.inputs.filter(({ path }) => path !== "ballast");
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
