/** What a GPU can do, as data. */
import type { Capabilities } from "../backend.ts";
import { SOFTWARE_ATTENTION_COSTS } from "./attention_costs.ts";
import type { Subgroups } from "./subgroups.ts";

/** The limits that shape programs and kernels; named as WebGPU names them. */
export interface GpuLimits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxStorageBuffersPerShaderStage: number;
  readonly minStorageBufferOffsetAlignment: number;
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupSizeX: number;
  readonly maxComputeWorkgroupSizeY: number;
  readonly maxComputeWorkgroupsPerDimension: number;
}

/** What a WebGPU device can do: kernels for one that is not here need only this. */
export interface GpuCapabilities extends Capabilities {
  readonly name: "webgpu";
  /** Vendor, architecture and device, as far as the adapter tells. */
  readonly adapter: string;
  /** Whether it is no GPU but a driver in software, for which work is divided in another way. */
  readonly software: boolean;
  /** `shader-f16`: 16-bit floats in shaders. */
  readonly f16: boolean;
  /** How shaders use subgroups, if they can: as found out by a {@linkcode probeSubgroups | probe}. */
  readonly subgroups: Subgroups | undefined;
  /** `timestamp-query`: a pass can tell when it began and ended. */
  readonly timestamps: boolean;
  readonly limits: GpuLimits;
}

/** The limits that every WebGPU device has at least. */
export const DEFAULT_LIMITS: GpuLimits = {
  maxBufferSize: 256 * 2 ** 20,
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxStorageBuffersPerShaderStage: 8,
  minStorageBufferOffsetAlignment: 256,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupsPerDimension: 65535,
};

/** Bytes of the widest element that kernels bind (`vec4f`): every buffer's place is a multiple. */
const WIDEST_ELEMENT = 16;

/** The record of a device with these features; by default one that has the least there may be. */
export function gpuCapabilities(
  known:
    & Partial<Pick<GpuCapabilities, "adapter" | "software" | "f16" | "subgroups" | "timestamps">>
    & {
      readonly limits?: Partial<GpuLimits>;
    } = {},
): GpuCapabilities {
  const limits = { ...DEFAULT_LIMITS, ...known.limits };
  return {
    name: "webgpu",
    adapter: known.adapter ?? "any",
    software: known.software ?? false,
    f16: known.f16 ?? false,
    subgroups: known.subgroups,
    timestamps: known.timestamps ?? false,
    limits,
    simdWidth: 1,
    relaxedSimd: false,
    threads: 1,
    sharedMemory: false,
    memory64: false,
    // What a device has in all, WebGPU does not tell; a program may have any number of buffers.
    maxMemoryBytes: Infinity,
    alignment: Math.max(limits.minStorageBufferOffsetAlignment, WIDEST_ELEMENT),
    ...(known.software === true ? { attentionCosts: SOFTWARE_ATTENTION_COSTS } : {}),
  };
}
