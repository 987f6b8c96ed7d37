/** ONNX Runtime, native or in WebAssembly, in a process of the benchmark. */
import { readFile } from "node:fs/promises";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { imagesOf, matmulOperands } from "../data.ts";
import { permuted } from "../layout.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { StartMessage } from "../messages.ts";
import type { ForwardWork, MatmulWork } from "../works.ts";
import { modelPath } from "./model_file.ts";

/** What the benchmark takes of both packages. */
interface Runtime {
  readonly Tensor: typeof Tensor;
  /** From the model's file, or where the package reads no files from its bytes, to a session. */
  readonly open: () => Promise<InferenceSession>;
  readonly setting: string;
}

/** A session with all graph optimisations on. */
export async function startOnnxRuntime(
  work: MatmulWork | ForwardWork,
  { system, threads, folder }: StartMessage,
): Promise<MeasuredRun> {
  const path = modelPath(folder, work.name);
  const runtime = system === "onnxruntime-node"
    ? await native(path, threads)
    : work.backend === "webgpu"
    ? await inWebGpu(path)
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

async function inWebGpu(path: string): Promise<Runtime> {
  const ort = await import("onnxruntime-web/webgpu");
  ort.env.wasm.numThreads = 1;
  const bytes = new Uint8Array(await readFile(path));
  return {
    Tensor: ort.Tensor,
    open: () =>
      ort.InferenceSession.create(bytes, {
        executionProviders: ["webgpu"],
        graphOptimizationLevel: "all",
      }),
    setting: "webgpu, all graph optimisations",
  };
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

interface Input {
  readonly name: string;
  readonly data: Float32Array<ArrayBuffer>;
  readonly dims: readonly number[];
}

/** The model's input; images are NCHW, as PyTorch has them. */
function inputOf(work: MatmulWork | ForwardWork): Input {
  if (work.suite === "matmul") {
    return { name: "a", data: matmulOperands(work).a, dims: [work.m, work.k] };
  }
  const { config: { imageSize, channels }, batch } = work;
  const shape = [batch, imageSize, imageSize, channels];
  return {
    name: "images",
    data: permuted(imagesOf(work), shape, [0, 3, 1, 2]),
    dims: [batch, channels, imageSize, imageSize],
  };
}
