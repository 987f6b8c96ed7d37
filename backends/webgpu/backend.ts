/** WebGPU as a backend. */
import type { GraphModule } from "../../compiler/module.ts";
import { lowerGraph, type LowerOptions } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import type { Backend } from "../backend.ts";
import { OutOfMemoryError } from "../errors.ts";
import { assembleGpu } from "./assemble.ts";
import type { Audit, RoundingNote } from "./audit.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import { type DeviceOptions, type GpuDevice, sharedDevice } from "./device.ts";
import { DeviceProgram, type GpuPlan } from "./device_program.ts";
import { type DeviceLossNote, GpuExecutable } from "./runtime.ts";
import { gpuTarget, withMemory } from "./target.ts";
import { timerOn } from "./time_dispatches.ts";
import { type FoundForms, type ProgramTimer, tuneAttention } from "./tune_attention.ts";
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
   * Where to look for the tiles that matmuls and attention are fastest in, and for the faster form of
   * attention; what is not there is measured when a program is compiled, on devices that tell the time. By
   * default sizes decide: then all compilations give the same kernels, and none takes longer.
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
      let device = gpu;
      while (device.lost !== undefined) device = await device.replacement();
      const isAudited = onAudit !== undefined;
      const target = gpuTarget(capabilities, options, isAudited);
      const attentionForm = tuning &&
        await formsOn(device, graph, { ...options, target }, capabilities, tuning);
      const lowered = lowerGraph(graph, { ...options, target: { ...target, attentionForm } });
      const { program, audit } = withMemory(lowered, capabilities, isAudited);
      const plan = await planOn(device, program, capabilities, tuning, audit);
      return await GpuExecutable.load(device, plan, { onDeviceLost, onAudit });
    },
  };
}

/** The program's kernels as shaders, in the tiles that tuning finds, if it is to look. */
async function planOn(
  device: GpuDevice,
  program: Program,
  capabilities: GpuCapabilities,
  tuning?: TuningStore,
  audit?: Audit,
): Promise<GpuPlan> {
  const time = timerOn(device, capabilities);
  const tiles = tuning && await tuneTiles(time, program, capabilities, tuning);
  return {
    program,
    capabilities,
    assembled: assembleGpu(program, capabilities, { tiles, audit }),
    audit,
  };
}

/** Runs that a program is timed by; the first counts as warming up. */
const TIMED_RUNS = 5;

/** The faster forms of a graph's attention on a device. */
async function formsOn(
  device: GpuDevice,
  graph: GraphModule,
  options: LowerOptions,
  capabilities: GpuCapabilities,
  tuning: TuningStore,
): Promise<FoundForms> {
  const time: ProgramTimer = async (program) => {
    if (!capabilities.timestamps) return undefined;
    try {
      using loaded = await DeviceProgram.load(
        device,
        await planOn(device, program, capabilities, tuning),
      );
      return Math.min(...(await loaded.timeRuns(TIMED_RUNS)).slice(1)) / 1000;
    } catch (error) {
      // What has room for one form alone has not been measured.
      if (error instanceof OutOfMemoryError) return undefined;
      throw error;
    }
  };
  return await tuneAttention(time, graph, options, capabilities, tuning);
}

function warn({ message }: DeviceLossNote): void {
  console.warn(message);
}
