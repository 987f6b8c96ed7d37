/**
 * What it takes to run a trained model, and nothing else: no optimizer, no files, no reference
 * backend. For pages and services, which fetch the weights themselves:
 *
 * ```ts ignore
 * import { compile, inferenceGraph, streamParameters, vit } from "./inference.js";
 *
 * const program = await compile(inferenceGraph(vit(config)), { bind: { batch: 1 } });
 * const { body } = await fetch("vit.safetensors");
 * await streamParameters(program, body);
 * const { probabilities } = await program.run({ images });
 * ```
 *
 * `deno task bundle` makes one file of it, for Deno, Node.js and browsers.
 *
 * @module
 */
export type { Backend, Capabilities, Dump, MemoryReport, StepNote } from "../backends/backend.ts";
export {
  compile,
  type CompileOptions,
  type Donations,
  type ProgramOf,
} from "../backends/compile.ts";
export {
  InputError,
  KernelError,
  type KernelFailure,
  type NodeNote,
  OutOfMemoryError,
  UnusableProgramError,
  WorkerError,
} from "../backends/errors.ts";
export type { HostPort, HostValue } from "../backends/host_array.ts";
export type { HostInputs, HostOutputs } from "../backends/host_tree.ts";
export type { InputPiece, InputSource } from "../backends/input_source.ts";
export type { CompiledProgram, RunOptions } from "../backends/program.ts";
export { wasm, wasmCapabilities, type WasmOptions } from "../backends/wasm/backend.ts";
export type { MicrokernelName } from "../backends/wasm/templates/microkernel.ts";
export type { AttentionCosts, AttentionForm } from "../compiler/attention_costs.ts";
export type { ExplainedKernel, ExplainedRule, Explanation } from "../compiler/explain.ts";
export type { FusionOptions, FusionRule } from "../compiler/fusion_rules.ts";
export type { DimBindings, Tensor, TensorSpec, TracedGraph } from "../graph/mod.ts";
export type { ByteChunks } from "./byte_reader.ts";
export { ConfigError, type VitConfig, vitConfig, type VitOptions } from "./config.ts";
export type { HostTensor } from "./host_tensor.ts";
export type { ImageModel } from "./image_model.ts";
export type { LossName } from "./losses.ts";
export type { ParameterDeclaration, ParameterValues } from "./parameters.ts";
export { decodeSafetensors, SafetensorsError, type SafetensorsFile } from "./safetensors.ts";
export { inferenceGraph, type InferenceInput, type InferenceOutput } from "./training_step.ts";
export { type VitSizeName, vitVariant, type VitVariantName } from "./variants.ts";
export { type Vit, vit, type VitParameters } from "./vit.ts";
export { valuesFrom, WeightsError } from "./weights.ts";
export { type LoadableProgram, type StreamOptions, streamParameters } from "./weights_stream.ts";
