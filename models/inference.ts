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
export { compile, type CompileOptions, type ProgramOf } from "../backends/compile.ts";
export {
  InputError,
  KernelError,
  OutOfMemoryError,
  UnusableProgramError,
  WorkerError,
} from "../backends/errors.ts";
export type { CompiledProgram } from "../backends/program.ts";
export { wasm, wasmCapabilities, type WasmOptions } from "../backends/wasm/backend.ts";
export { ConfigError, type VitConfig, vitConfig, type VitOptions } from "./config.ts";
export type { HostTensor } from "./host_tensor.ts";
export { decodeSafetensors, SafetensorsError, type SafetensorsFile } from "./safetensors.ts";
export { inferenceGraph, type InferenceInput, type InferenceOutput } from "./training_step.ts";
export { vitVariant, type VitVariantName } from "./variants.ts";
export { type Vit, vit, type VitParameters } from "./vit.ts";
export { valuesFrom, WeightsError } from "./weights.ts";
export { type LoadableProgram, type StreamOptions, streamParameters } from "./weights_stream.ts";
