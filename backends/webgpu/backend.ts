/** WebGPU as a backend. */
import type { FusionRule } from "../../compiler/fusion_rules.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Backend } from "../backend.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import { type DeviceOptions, type GpuDevice, sharedDevice } from "./device.ts";
import { GpuExecutable } from "./runtime.ts";

/** Its attention normalises no rows of queries and keys. */
const UNSUPPORTED: readonly FusionRule[] = ["fold_qk_norm"];

/** How the WebGPU backend runs. */
export type WebGpuOptions = DeviceOptions;

/** A backend whose capabilities are a GPU's. */
export interface WebGpuBackend extends Backend {
  readonly capabilities: GpuCapabilities;
}

/**
 * Backend that runs programs on a GPU through WebGPU. Programs of equal options share a device.
 *
 * @throws {GpuUnavailableError} When there is no WebGPU, adapter or device.
 */
export async function webgpu(options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  return backendOn(await sharedDevice(options));
}

/**
 * The backend on a device.
 *
 * @param capabilities Of which programs make use; all of the device's by default.
 */
export function backendOn(
  gpu: GpuDevice,
  capabilities: GpuCapabilities = gpu.capabilities,
): WebGpuBackend {
  return {
    capabilities,
    prepare: async (graph, options) => {
      const { alignment } = capabilities;
      const target = { alignment, unsupported: UNSUPPORTED };
      const program = lowerGraph(graph, { ...options, target });
      return await GpuExecutable.load(program, gpu, capabilities);
    },
  };
}
