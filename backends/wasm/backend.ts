/** WebAssembly with SIMD and threads as a backend. */
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Backend, Capabilities } from "../backend.ts";
import { MAX_MEMORY_BYTES } from "./commands.ts";
import { emitKernel } from "./emit_kernel.ts";
import { wasmFeatures } from "./features.ts";
import { processors } from "./host.ts";
import { WasmExecutable } from "./runtime.ts";

/** How the WASM backend runs. */
export interface WasmOptions {
  /**
   * Threads, the caller's included; at most {@linkcode MAX_THREADS}. Default: the machine's, at most
   * 8, and one where memory cannot be shared. Results do not depend on it.
   */
  readonly threads?: number;
  /**
   * Whether to use relaxed SIMD's fused multiply-add. It is faster, and may round differently on
   * different processors. Default: where the engine has it.
   */
  readonly relaxedSimd?: boolean;
}

/** The most threads that a program may run on. */
export const MAX_THREADS = 64;

const DEFAULT_MOST_THREADS = 8;
const ALIGNMENT = 64;
const SIMD_WIDTH = 4;

/**
 * Backend that compiles programs to WebAssembly with 128-bit SIMD.
 *
 * The first program on more than one thread starts workers, which later ones share. In a browser,
 * shared memory wants a cross-origin isolated page, and a run keeps the calling thread busy: call
 * from a worker.
 *
 * @throws {RangeError} When `threads` is not a whole number from 1 to 64.
 * @throws {TypeError} When the engine lacks SIMD, or what the options ask for.
 */
export function wasm(options: WasmOptions = {}): Backend {
  const capabilities = wasmCapabilities(options);
  const { threads, relaxedSimd, alignment } = capabilities;
  const description = describe(capabilities);
  return {
    capabilities,
    prepare: async (graph, options) => {
      const program = lowerGraph(graph, { ...options, target: { alignment } });
      return await WasmExecutable.load(program, {
        threads,
        description,
        emit: (module, kernel) => emitKernel(module, kernel, { relaxedSimd }),
      });
    },
  };
}

/** What {@linkcode wasm} with these options can do here. Throws like it. */
export function wasmCapabilities({ threads, relaxedSimd }: WasmOptions = {}): Capabilities {
  const features = wasmFeatures();
  const sharedMemory = features.threads && typeof SharedArrayBuffer !== "undefined";
  if (!features.simd) throw new TypeError("This engine's WebAssembly has no SIMD");
  if (relaxedSimd === true && !features.relaxedSimd) {
    throw new TypeError("Relaxed SIMD was asked for, but this engine's WebAssembly has none");
  }
  if (
    threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)
  ) {
    throw new RangeError(`Cannot run on ${threads} threads: wanted 1 to ${MAX_THREADS}`);
  }
  if (threads !== undefined && threads > 1 && !sharedMemory) {
    throw new TypeError(
      `Cannot run on ${threads} threads: memory cannot be shared here (a browser's page must be ` +
        "cross-origin isolated)",
    );
  }
  const available = Math.min(processors(), DEFAULT_MOST_THREADS);
  return {
    name: "wasm",
    simdWidth: SIMD_WIDTH,
    relaxedSimd: relaxedSimd ?? features.relaxedSimd,
    threads: threads ?? (sharedMemory ? available : 1),
    sharedMemory,
    maxMemoryBytes: MAX_MEMORY_BYTES,
    alignment: ALIGNMENT,
  };
}

function describe({ threads, sharedMemory, relaxedSimd }: Capabilities): string {
  const count = threads === 1 ? "one thread" : `${threads} threads`;
  const why = sharedMemory ? "" : " (memory cannot be shared here)";
  return `wasm: ${count}${why}, ${relaxedSimd ? "relaxed SIMD" : "SIMD without relaxed FMA"}`;
}
