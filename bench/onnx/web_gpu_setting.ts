/** How ONNX Runtime is set up on WebGPU. */

/** How ONNX Runtime is set up on WebGPU. */
export interface WebGpuSetting {
  /**
   * Where inputs and outputs are: tensors of JavaScript, which the runtime copies; buffers of the device,
   * always the same; or these, with the commands of a run recorded by the runtime and replayed.
   */
  readonly buffers: "tensors" | "bound" | "captured";
  /** How its WebAssembly waits for the device: by the engine's suspension, or by code that unwinds. */
  readonly waits: "jspi" | "asyncify";
}

const BUFFERS = {
  captured: "input and output bound to buffers, graph capture",
  bound: "input and output bound to buffers",
  tensors: "tensors of JavaScript",
} as const satisfies Record<WebGpuSetting["buffers"], string>;

/** Every setting, by its name; that which is the fastest of large works comes first. */
const SETTINGS: Readonly<Record<string, WebGpuSetting>> = {
  "captured, jspi": { buffers: "captured", waits: "jspi" },
  "bound, jspi": { buffers: "bound", waits: "jspi" },
  "tensors, jspi": { buffers: "tensors", waits: "jspi" },
  "captured, asyncify": { buffers: "captured", waits: "asyncify" },
};

/** The settings' names. */
export const WEB_GPU_SETTINGS: readonly string[] = Object.keys(SETTINGS);

/**
 * The setting of that name.
 *
 * @throws {RangeError} When there is none.
 */
export function webGpuSetting(name: string): WebGpuSetting {
  const setting = SETTINGS[name];
  if (setting !== undefined) return setting;
  throw new RangeError(`"${name}" is no setting, wanted one of ${WEB_GPU_SETTINGS.join("; ")}`);
}

/** The setting in words. */
export function describeWebGpu({ buffers, waits }: WebGpuSetting): string {
  const build = waits === "jspi" ? "JSPI" : "Asyncify";
  return `webgpu, all graph optimisations, ${BUFFERS[buffers]}, build with ${build}`;
}
