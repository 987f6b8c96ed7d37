/**
 * Saves checkpoints over one path until it is killed; run by checkpoint_test.ts as a process of its own.
 * Every element of checkpoint `n` is `n`, so that a mixture of two would be seen.
 */
import { saveCheckpoint } from "../../models/checkpoint.ts";
import { hostTensor } from "../../models/host_tensor.ts";

const [path] = Deno.args;
if (path === undefined) throw new TypeError("Expected the path to write as the only argument");
const ELEMENTS = 500_000;
for (let step = 1;; step++) {
  const values = new Float32Array(ELEMENTS).fill(step);
  await saveCheckpoint(path, {
    parameters: new Map([["weights", hostTensor("f32", [ELEMENTS], values)]]),
    optimizer: new Map([["first/weights", hostTensor("f32", [ELEMENTS], values)]]),
    step,
    seed: 7,
    position: { epoch: 0, batch: step },
    configuration: { width: 64 },
  });
}
