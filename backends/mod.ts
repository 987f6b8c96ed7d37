/**
 * Programs: compiling a graph for a backend, feeding it, running it.
 *
 * @module
 */
export { auto, type AutoOptions } from "./auto.ts";
export type {
  Backend,
  Capabilities,
  Dump,
  Executable,
  MemoryReport,
  PrepareOptions,
  StepNote,
} from "./backend.ts";
export type { AttentionCosts, AttentionForm } from "../compiler/attention_costs.ts";
export type { ExplainedKernel, ExplainedRule, Explanation } from "../compiler/explain.ts";
export type { FusionOptions, FusionRule } from "../compiler/fusion_rules.ts";
export type { GraphModule } from "../compiler/module.ts";
export type { LiveValue, RecomputedRegion, RecomputedReport } from "../compiler/program.ts";
export {
  compile,
  type CompileOptions,
  type Donations,
  ProgramCache,
  programCache,
  type ProgramOf,
} from "./compile.ts";
export {
  InputError,
  KernelError,
  type KernelFailure,
  type NodeNote,
  OutOfMemoryError,
  UnusableProgramError,
  WorkerError,
} from "./errors.ts";
export type { HostData, HostDataOf, HostPort, HostTensor, HostValue } from "./host_array.ts";
export type { InputPiece, InputSource } from "./input_source.ts";
export type { HostInputs, HostOutputs, HostTree } from "./host_tree.ts";
export { CompiledProgram, type RunOptions } from "./program.ts";
export { reference } from "./reference/backend.ts";
export { webgpu, type WebGpuBackend, type WebGpuOptions } from "./webgpu/backend.ts";
export { type GpuShader, type ShaderOptions, webgpuShaders } from "./webgpu/shaders.ts";
export type { RoundingNote } from "./webgpu/audit.ts";
export { isTuned, memoryTuning, type Tuned, type TuningStore } from "./webgpu/tuning.ts";
export type { DeviceLossNote } from "./webgpu/runtime.ts";
export type { DeviceOptions } from "./webgpu/device.ts";
export type { Subgroups } from "./webgpu/subgroups.ts";
export {
  DEFAULT_LIMITS,
  type GpuCapabilities,
  gpuCapabilities,
  type GpuLimits,
} from "./webgpu/capabilities.ts";
export {
  DeviceLostError,
  GpuUnavailableError,
  GpuValidationError,
  ShaderError,
  type ShaderProblem,
} from "./webgpu/errors.ts";
export { MAX_THREADS, wasm, wasmCapabilities, type WasmOptions } from "./wasm/backend.ts";
export type { MicrokernelName } from "./wasm/templates/microkernel.ts";
