/** What the page runs, bundled: ONNX Runtime on WebGPU, which answers requests from drive.ts. */
import { adapterName } from "../adapter.ts";
import { answer } from "../answer.ts";
import type { MeasuredRun, StartUp } from "../measured_run.ts";
import type { Reply, Request } from "../messages.ts";
import { type Ort, startOnnxWebGpu } from "../onnx/web_gpu.ts";
import { webGpuSetting } from "../onnx/web_gpu_setting.ts";

/** What the page is to do; the model and its input's numbers are files beside it. */
export interface PageTask {
  /** A setting's name. */
  readonly setting: string;
  readonly input: { readonly name: string; readonly dims: readonly number[] };
  readonly outputDims: readonly number[];
}

/** The page is ready. */
export interface PageReady {
  readonly setting: string;
  readonly startUp: StartUp;
  /** What the adapter says of itself. */
  readonly adapter: string;
}

let run: MeasuredRun | undefined;

/** Makes a session of the model. */
export async function start(task: PageTask): Promise<PageReady> {
  const setting = webGpuSetting(task.setting);
  const build = setting.waits === "jspi" ? "jspi" : "webgpu";
  // The package's own file, beside its WebAssembly.
  const ort: Ort = await import(at(`ort/ort.${build}.bundle.min.mjs`));
  const [model, data] = await Promise.all([bytesAt("model.onnx"), bytesAt("input.f32")]);
  const input = { ...task.input, data: new Float32Array(data) };
  const work = { model: new Uint8Array(model), input, outputDims: task.outputDims };
  run = await startOnnxWebGpu(ort, work, setting);
  const { startUp } = run;
  if (startUp === undefined) throw new TypeError("ONNX Runtime does not say how it started");
  const device = await ort.env.webgpu.device as GPUDevice;
  return { setting: run.setting, startUp, adapter: adapterName(device.adapterInfo) };
}

/** Does what the benchmark asks for. What memory the page takes, it cannot know. */
export async function ask(request: Request): Promise<Reply> {
  if (run === undefined) throw new TypeError("The page was asked before it was started");
  return await answer(run, request, () => 0);
}

function at(name: string): string {
  return new URL(name, location.href).href;
}

async function bytesAt(name: string): Promise<ArrayBuffer> {
  const response = await fetch(at(name));
  if (response.ok) return await response.arrayBuffer();
  throw new Error(`"${name}" was not sent: ${response.status}`);
}
