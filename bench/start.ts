/** Starts a system in the process that calls: each brings in only what it takes itself. */
import type { MeasuredRun } from "./measured_run.ts";
import type { StartMessage } from "./messages.ts";

/**
 * The system, ready to do the work.
 *
 * @throws {RangeError} When the system does not know the work.
 */
export async function startSystem(start: StartMessage): Promise<MeasuredRun> {
  const { work } = start;
  if (start.system === "fovea") {
    const { startFovea } = await import("./fovea/start.ts");
    return await startFovea(start);
  }
  if (work.suite === "machine") throw refusal(start);
  switch (start.system) {
    case "onnxruntime-web":
    case "onnxruntime-node": {
      if (work.suite === "train") throw refusal(start);
      const { startOnnxRuntime } = await import("./onnx/runtime.ts");
      return await startOnnxRuntime(work, start);
    }
    case "@tensorflow/tfjs-backend-wasm": {
      if (work.suite === "train") throw refusal(start);
      const { startTfjs } = await import("./tfjs/start.ts");
      return await startTfjs(work, start);
    }
    case "@jax-js/jax": {
      // The backend starts as many workers as the machine has threads, which it reads as it is loaded.
      Object.defineProperty(navigator, "hardwareConcurrency", { value: start.threads });
      const { startJax } = await import("./jax/start.ts");
      return await startJax(work, start.setting);
    }
  }
  throw refusal(start);
}

function refusal({ system, work }: StartMessage): RangeError {
  return new RangeError(`There is no "${system}" that does "${work.name}"`);
}
