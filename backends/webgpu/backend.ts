/** WebGPU as a backend. */
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Backend } from "../backend.ts";
import { assembleGpu } from "./assemble.ts";
import type { RoundingNote } from "./audit.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import { type DeviceOptions, type GpuDevice, sharedDevice } from "./device.ts";
import { type DeviceLossNote, GpuExecutable } from "./runtime.ts";
import { gpuTarget, withMemory } from "./target.ts";
import { timerOn } from "./time_dispatches.ts";
import { tuneTiles, type TuningStore } from "./tuning.ts";

/** How the WebGPU backend runs. */
export interface WebGpuOptions extends DeviceOptions {
  /**
   * Called when a program's device was lost and the program went on with another, which it does once.
   * Inputs are then as they were last set; donated ones as they were last set, or read by one `get` of
   * all of them (`get("state")`). By default the note is a warning on the console.
   */
  readonly onDeviceLost?: (note: DeviceLossNote) => void;
  /**
   * Where to look for the tiles that matmuls and attention are fastest in; those of kernels that are not there are
   * measured when a program is compiled, on devices that tell the time. By default sizes decide: then
   * all compilations give the same kernels, and none takes longer.
   */
  readonly tuning?: TuningStore;
  /**
   * Called after each run with how large numbers were before they were rounded to f16 or bf16, by step.
   * By default nothing of that is looked at.
   */
  readonly onAudit?: (notes: readonly RoundingNote[]) => void;
}

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
  const { onDeviceLost, tuning, onAudit, ...device } = options;
  return backendOn(await sharedDevice(device), { onDeviceLost, tuning, onAudit });
}

/** How a backend uses its device. */
export interface BackendOnOptions {
  /** Of which programs make use; all of the device's by default. */
  readonly capabilities?: GpuCapabilities | undefined;
  readonly onDeviceLost?: WebGpuOptions["onDeviceLost"] | undefined;
  readonly tuning?: TuningStore | undefined;
  readonly onAudit?: WebGpuOptions["onAudit"] | undefined;
}

/** The backend on a device, or on what has taken its place. */
export function backendOn(
  gpu: GpuDevice,
  { capabilities = gpu.capabilities, onDeviceLost = warn, tuning, onAudit }: BackendOnOptions = {},
): WebGpuBackend {
  return {
    capabilities,
    prepare: async (graph, options) => {
      const isAudited = onAudit !== undefined;
      const target = gpuTarget(capabilities, options, isAudited);
      const lowered = lowerGraph(graph, { ...options, target });
      const { program, audit } = withMemory(lowered, capabilities, isAudited);
      let device = gpu;
      while (device.lost !== undefined) device = await device.replacement();
      const time = timerOn(device, capabilities);
      const tiles = tuning && await tuneTiles(time, program, capabilities, tuning);
      const assembled = assembleGpu(program, capabilities, { tiles, audit });
      const plan = { program, capabilities, assembled, audit };
      return await GpuExecutable.load(device, plan, { onDeviceLost, onAudit });
    },
  };
}

function warn({ message }: DeviceLossNote): void {
  console.warn(message);
}
