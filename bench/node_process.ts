/**
 * A process of Node.js that runs a matrix product in one of two systems. Started by contender.ts from a
 * bundle, in which the packages of the systems are left out.
 */
import { startMatmul } from "./fovea/matmul.ts";
import { startOnnxRuntime } from "./onnx/runtime.ts";
import { inThisProcess, serve } from "./serve.ts";

await serve(async (start) => {
  const { work, system } = start;
  if (work.suite !== "matmul") throw new RangeError(`"${work.name}" is not measured in Node.js`);
  return inThisProcess(
    system === "fovea" ? await startMatmul(work, start) : await startOnnxRuntime(work, start),
  );
});
