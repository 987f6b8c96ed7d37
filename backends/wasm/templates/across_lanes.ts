/** Folding the lanes of a vector. */
import type { FunctionBuilder, Local } from "../encoder.ts";

/** Combines the four lanes of `vector` into all of them. */
export function acrossLanes(f: FunctionBuilder, vector: Local, combine: () => void): void {
  for (const lanes of [[2, 3, 0, 1], [1, 0, 3, 2]] as const) {
    f.get(vector);
    f.get(vector);
    f.get(vector);
    f.i32x4.shuffle(lanes);
    combine();
    f.set(vector);
  }
}
