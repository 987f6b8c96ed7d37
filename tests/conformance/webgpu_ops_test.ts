/** The table of ops on WebGPU. */
import { gpuTest } from "../support/gpu.ts";
import { checkEveryOp } from "../support/ops_suite.ts";

gpuTest(
  "every op on WebGPU, forward and gradient",
  (backend, test) => checkEveryOp(test, backend),
);
