/** Names of buffers in a shader that is to be read: what is in them, where it first runs. */
import { Names } from "./names.ts";

/** A buffer's name in its kernel, and the value that it holds: `parameters/patch/kernel`, or its op. */
export interface HeldValue {
  readonly buffer: string;
  readonly value: string;
}

/** Parts of a path that tell an input from its neighbours: `patch/kernel`. */
const PATH_PARTS = 2;

/**
 * WGSL in which buffers are called what they hold, also where their names are part of others: `in1` and
 * `in1_four` become `in_patch_kernel` and `in_patch_kernel_four`. What a name begins with keeps it apart
 * from all that WGSL reserves. Names stay as many as they were.
 */
export function nameBuffers(wgsl: string, held: readonly HeldValue[]): string {
  const before = identifiersOf(wgsl);
  const names = new Names();
  for (const identifier of before) names.unique(identifier);
  const renamed = new Map(
    held.map(({ buffer, value }) => {
      const role = buffer.replace(/\d+$/, "");
      const what = value.split("/").slice(-PATH_PARTS).join("_");
      return [buffer, /[A-Za-z0-9]/.test(what) ? names.unique(`${role}_${what}`) : buffer] as const;
    }),
  );
  const text = wgsl.replaceAll(
    /(?<![A-Za-z0-9])[a-z]+\d+(?![A-Za-z0-9])/g,
    (name) => renamed.get(name) ?? name,
  );
  // A name with an ending may be another one: `a` with `_four`, and `a_four`.
  return identifiersOf(text).size === before.size ? text : wgsl;
}

/** Without members, such as the x of `group.x`: they stand in the way of no name. */
function identifiersOf(wgsl: string): Set<string> {
  return new Set(wgsl.match(/(?<![\w.])[A-Za-z_]\w*/g));
}
