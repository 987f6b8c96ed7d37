/** ONNX Runtime on WebGPU, in a page. */
import type { InferenceSession, Tensor } from "onnxruntime-web";
import type { MeasuredRun } from "../measured_run.ts";
import { describeWebGpu, type WebGpuSetting } from "./web_gpu_setting.ts";

/** The package, as a page imports it. */
export type Ort = typeof import("onnxruntime-web");

/** A model with its input. */
export interface OnnxWork {
  readonly model: Uint8Array<ArrayBuffer>;
  readonly input: {
    readonly name: string;
    readonly data: Float32Array<ArrayBuffer>;
    readonly dims: readonly number[];
  };
  /** Of its only output. */
  readonly outputDims: readonly number[];
}

/** A session with all graph optimisations on, on the adapter that the page has. */
export async function startOnnxWebGpu(
  ort: Ort,
  { model, input, outputDims }: OnnxWork,
  setting: WebGpuSetting,
): Promise<MeasuredRun> {
  ort.env.wasm.numThreads = 1;
  const onDevice = setting.buffers !== "tensors";
  const start = performance.now();
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [{ name: "webgpu", validationMode: "disabled" }],
    graphOptimizationLevel: "all",
    ...(onDevice ? { preferredOutputLocation: "gpu-buffer" } : {}),
    ...(setting.buffers === "captured" ? { enableGraphCapture: true } : {}),
  });
  const compileMs = performance.now() - start;
  const [output = ""] = session.outputNames;
  // Its type depends on which of the DOM's types the program that is checked has.
  const device = await ort.env.webgpu.device as GPUDevice;
  const step = onDevice
    ? bound(ort, session, input, { name: output, dims: outputDims }, device)
    : async () => {
      const results = await session.run({
        [input.name]: new ort.Tensor("float32", input.data, input.dims),
      });
      return numbersOf(results[output]?.data);
    };
  return {
    setting: describeWebGpu(setting),
    startUp: { compileMs, parametersMs: 0 },
    step,
  };
}

function numbersOf(data: Tensor["data"] | undefined): Float32Array {
  if (data instanceof Float32Array) return data;
  throw new TypeError("onnxruntime-web gave no f32 output");
}

interface Named {
  readonly name: string;
  readonly dims: readonly number[];
}

const F32_BYTES = 4;

/** A run whose input and output stay in the same buffers of the device. */
function bound(
  ort: Ort,
  session: InferenceSession,
  input: OnnxWork["input"],
  output: Named,
  device: GPUDevice,
): () => Promise<Float32Array> {
  const bytes = F32_BYTES * output.dims.reduce((product, length) => product * length, 1);
  const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
  const usage = STORAGE | COPY_DST | COPY_SRC;
  const from = device.createBuffer({ size: input.data.byteLength, usage });
  const to = device.createBuffer({ size: bytes, usage });
  const staging = device.createBuffer({ size: bytes, usage: COPY_DST | MAP_READ });
  const onDevice = (buffer: GPUBuffer, dims: readonly number[]) =>
    ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [...dims] });
  const feeds = { [input.name]: onDevice(from, input.dims) };
  const fetches = { [output.name]: onDevice(to, output.dims) };
  return async () => {
    device.queue.writeBuffer(from, 0, input.data);
    await session.run(feeds, fetches);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(to, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const result = new Float32Array(staging.getMappedRange().slice(0));
    staging.unmap();
    return result;
  };
}
