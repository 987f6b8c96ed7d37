/** ONNX Runtime, native or in WebAssembly, in a process of the benchmark. */
import { readFile } from "node:fs/promises";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { MeasuredRun } from "../measured_run.ts";
import type { StartMessage } from "../messages.ts";
import type { ForwardWork, MatmulWork } from "../works.ts";
import { inputOf, outputDimsOf } from "./input.ts";
import { modelPath } from "./model_file.ts";
import { startOnnxWebGpu } from "./web_gpu.ts";
import { type WebGpuSetting, webGpuSetting } from "./web_gpu_setting.ts";

/** What the benchmark takes of both packages. */
interface Runtime {
  readonly Tensor: typeof Tensor;
  /** From the model's file, or where the package reads no files from its bytes, to a session. */
  readonly open: () => Promise<InferenceSession>;
  readonly setting: string;
}

/** A session with all graph optimisations on; on WebGPU it is Deno's. */
export async function startOnnxRuntime(
  work: MatmulWork | ForwardWork,
  { system, threads, setting, folder }: StartMessage,
): Promise<MeasuredRun> {
  const path = modelPath(folder, work.name);
  if (work.backend === "webgpu") return await onWebGpu(work, path, webGpuSetting(setting));
  const runtime = system === "onnxruntime-node"
    ? await native(path, threads)
    : await inWasm(path, threads);
  const start = performance.now();
  const session = await runtime.open();
  const compileMs = performance.now() - start;
  const { name, data, dims } = inputOf(work);
  const [output = ""] = session.outputNames;
  return {
    setting: runtime.setting,
    startUp: { compileMs, parametersMs: 0 },
    async step() {
      const results = await session.run({ [name]: new runtime.Tensor("float32", data, dims) });
      const found = results[output]?.data;
      if (found instanceof Float32Array) return found;
      throw new TypeError(`${system} gave no f32 output for "${work.name}"`);
    },
  };
}

async function inWasm(path: string, threads: number): Promise<Runtime> {
  const ort = await import("onnxruntime-web");
  ort.env.wasm.numThreads = threads;
  const bytes = new Uint8Array(await readFile(path));
  return {
    Tensor: ort.Tensor,
    open: () =>
      ort.InferenceSession.create(bytes, {
        executionProviders: ["wasm"],
        graphOptimizationLevel: "all",
      }),
    setting: `wasm, threads ${threads}, all graph optimisations`,
  };
}

async function onWebGpu(
  work: MatmulWork | ForwardWork,
  path: string,
  setting: WebGpuSetting,
): Promise<MeasuredRun> {
  const ort = setting.waits === "jspi"
    ? await import("onnxruntime-web/jspi")
    : await import("onnxruntime-web/webgpu");
  const model = new Uint8Array(await readFile(path));
  const onnx = { model, input: inputOf(work), outputDims: outputDimsOf(work) };
  return await startOnnxWebGpu(ort, onnx, setting);
}

async function native(path: string, threads: number): Promise<Runtime> {
  const { InferenceSession, Tensor } = await import("onnxruntime-node");
  return {
    Tensor,
    open: () =>
      InferenceSession.create(path, {
        executionProviders: ["cpu"],
        graphOptimizationLevel: "all",
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
      }),
    setting: `native, threads ${threads}, all graph optimisations`,
  };
}
