/** The table of ops on WebGPU. */
import { gpuTest } from "../support/gpu.ts";
import { checkEveryOp, checkSecondOrder } from "../support/ops_suite.ts";

gpuTest(
  "every op on WebGPU, forward and gradient",
  (backend, test) => checkEveryOp(test, backend),
);

/** Each takes shaders of its own, which a driver in software compiles slowly: of what is simple, some. */
const SOME =
  /attention|norm|softmax|entropy|gelu|gather|scatter|concat|pow|^matmul|mean of two axes/i;

gpuTest(
  "gradients of ops' gradients on WebGPU",
  (backend, test) => checkSecondOrder(test, backend, SOME),
);
