/** WebAssembly with SIMD and threads as a backend. */
import type { AttentionCosts } from "../../compiler/attention_costs.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Backend, Capabilities } from "../backend.ts";
import type { AddressType } from "./address_instructions.ts";
import { MAX_MEMORY_BYTES } from "./commands.ts";
import { WASM_ATTENTION_COSTS } from "./attention_costs.ts";
import { emitKernel } from "./emit_kernel.ts";
import { wasmFeatures } from "./features.ts";
import { processors } from "./host.ts";
import { measureMicrokernels, type MicrokernelChoice } from "./microkernel_choice.ts";
import { planPanelStorage } from "./panel_storage.ts";
import { WasmExecutable } from "./runtime.ts";
import { type MicrokernelName, requireMicrokernel } from "./templates/microkernel.ts";
import { chosenMicrokernel } from "./templates/template.ts";

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
  /**
   * The register tile of matrix products, rows times columns: `"4x8"`, `"5x8"`, `"6x8"`, `"4x16"`,
   * `"5x16"` or `"6x16"`. Results may depend on it by rounding. Default: the fastest in a short
   * measurement, once a process; `program.describe()` says which.
   */
  readonly microkernel?: MicrokernelName;
  /** What attention costs in its forms; default {@linkcode WASM_ATTENTION_COSTS}. */
  readonly attentionCosts?: AttentionCosts;
  /**
   * Whether programs get 64-bit addresses, which reach 16 GiB and are slower: always (true), never
   * (false), or, by default, those that take more than 4 GiB where the engine has them.
   */
  readonly memory64?: boolean;
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
 * @throws {RangeError} When `threads` is not a whole number from 1 to 64, or there is no such
 *   `microkernel`.
 * @throws {TypeError} When the engine lacks SIMD, or what the options ask for.
 */
export function wasm(options: WasmOptions = {}): Backend {
  const capabilities = wasmCapabilities(options);
  const { threads, relaxedSimd, alignment, attentionCosts } = capabilities;
  const { microkernel } = options;
  const addressTypes: AddressType[] = [];
  if (options.memory64 !== true) addressTypes.push("i32");
  if (capabilities.memory64) addressTypes.push("i64");
  if (microkernel !== undefined) requireMicrokernel(microkernel);
  return {
    capabilities,
    prepare: async (graph, options) => {
      const measurement = microkernel ?? await measureMicrokernels(relaxedSimd);
      const program = lowerGraph(graph, { ...options, target: { alignment, attentionCosts } });
      const choice = program.kernels.every(({ kind }) => kind === "loops")
        ? undefined
        : typeof measurement === "string"
        ? { name: measurement }
        : await measurement.choose();
      const tile = { relaxedSimd, microkernel: choice?.name };
      const { layouts, stored } = planPanelStorage(program, chosenMicrokernel(tile).columns);
      return await WasmExecutable.load(program, {
        threads,
        description: describe(capabilities) + describeChoice(choice),
        addressTypes,
        layouts,
        emit: (module, kernel) =>
          emitKernel(module, kernel, { ...tile, stored: stored.get(kernel) }),
      });
    },
  };
}

/** What {@linkcode wasm} with these options can do here. Throws like it. */
export function wasmCapabilities(options: WasmOptions = {}): Capabilities {
  const { threads, relaxedSimd } = options;
  const features = wasmFeatures();
  const memory64 = options.memory64 ?? features.memory64;
  const sharedMemory = features.threads && typeof SharedArrayBuffer !== "undefined";
  if (!features.simd) throw new TypeError("This engine's WebAssembly has no SIMD");
  if (relaxedSimd === true && !features.relaxedSimd) {
    throw new TypeError("Relaxed SIMD was asked for, but this engine's WebAssembly has none");
  }
  if (memory64 && !features.memory64) {
    throw new TypeError("64-bit addresses were asked for, but this engine's WebAssembly has none");
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
    memory64,
    maxMemoryBytes: MAX_MEMORY_BYTES[memory64 ? "i64" : "i32"],
    alignment: ALIGNMENT,
    attentionCosts: options.attentionCosts ?? WASM_ATTENTION_COSTS,
  };
}

function describe({ threads, sharedMemory, relaxedSimd }: Capabilities): string {
  const count = threads === 1 ? "one thread" : `${threads} threads`;
  const why = sharedMemory ? "" : " (memory cannot be shared here)";
  return `wasm: ${count}${why}, ${relaxedSimd ? "relaxed SIMD" : "SIMD without relaxed FMA"}`;
}

/** What there is to say of a program's matrix products, if it has any. */
function describeChoice(choice: MicrokernelChoice | undefined): string {
  if (choice === undefined) return "";
  const { name, rates = {} } = choice;
  const measured = Object.entries(rates).map(([tile, rate]) => `${tile} ${rate.toFixed(0)}`);
  const why = measured.length === 0 ? "" : ` (GFLOP/s measured: ${measured.join(", ")})`;
  return `, ${name} microkernel${why}`;
}
