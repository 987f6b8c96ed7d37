/** What one thread can move: copies that fit in a processor's shared cache and in no core's own. */
import type { MeasuredRun } from "../measured_run.ts";

const ELEMENTS = 1 << 20;
const COPIES = 4;

/** Bytes that a run reads, and writes again. */
export const COPY_BYTES = Float32Array.BYTES_PER_ELEMENT * ELEMENTS * COPIES;

/** Two arrays, of which a run copies one to the other. */
export function startCopy(): MeasuredRun {
  const from = Float32Array.from({ length: ELEMENTS }, (_, index) => index);
  const to = new Float32Array(ELEMENTS);
  return {
    setting: "copies between arrays of 4 MiB",
    step() {
      for (let copy = 0; copy < COPIES; copy++) to.set(from);
      return Promise.resolve(to.subarray(-1));
    },
  };
}
