/** What a backend is: how a graph becomes something that runs. */
import type { Explanation } from "../compiler/explain.ts";
import type { AttentionCosts, AttentionForm } from "../compiler/attention_costs.ts";
import type { FusionOptions } from "../compiler/fusion_rules.ts";
import type { GraphModule } from "../compiler/module.ts";
import type { LiveValue, RecomputedReport } from "../compiler/program.ts";
import type { DimBindings } from "../graph/shape.ts";
import type { HostData, HostPort, HostTensor } from "./host_array.ts";
import type { NodeNote } from "./errors.ts";

/** What a device can do, as data: a compile for another device needs only its record. */
export interface Capabilities {
  /** The backend's name. */
  readonly name: string;
  /** f32 lanes of a vector register. */
  readonly simdWidth: number;
  /** Fused multiply-add of relaxed SIMD. */
  readonly relaxedSimd: boolean;
  /** Threads that a program runs on, the caller's included. */
  readonly threads: number;
  /** Whether threads can share memory here. */
  readonly sharedMemory: boolean;
  /** Whether a program may have 64-bit addresses, and so more than 4 GiB of memory. */
  readonly memory64: boolean;
  /** The most that one program's memory may take. */
  readonly maxMemoryBytes: number;
  /** Bytes that every buffer's offset is a multiple of. */
  readonly alignment: number;
  /** What attention costs in its forms, measured; left out where it was not. */
  readonly attentionCosts?: AttentionCosts;
}

/** What a pass left behind, for reading. */
export type Dump = (stage: string, text: string) => void;

/** How a graph is prepared. */
export interface PrepareOptions {
  /** Sizes of the symbolic dims. */
  readonly bind: DimBindings;
  /** Inputs (paths or their beginnings) whose memory outputs take over. */
  readonly donate: Readonly<Record<string, string>>;
  /** The most bytes that the arena may take. */
  readonly memoryLimit?: number | undefined;
  /** The form of attention, where the backend has kernels of it. */
  readonly attention?: AttentionForm | "auto" | undefined;
  /** Which fusion rules may fire, where the backend has kernels to fuse. */
  readonly fusion?: FusionOptions | undefined;
  readonly dump?: Dump | undefined;
}

/** Bytes that a program holds. */
export interface MemoryReport {
  /** All memory, scratch and control words included. */
  readonly totalBytes: number;
  /** The arena: inputs, outputs, constants and intermediates, and what else kernels share with each other. */
  readonly arenaBytes: number;
  /** The largest sum of live bytes at any step: no plan can do with less. */
  readonly lowerBoundBytes: number;
  /** What is alive at the step with the most live bytes, the largest first. */
  readonly peak: readonly LiveValue[];
  /** What is computed a second time, by a checkpoint or to stay within the memory limit. */
  readonly recomputed: RecomputedReport;
}

/** A step of a program. */
export interface StepNote {
  /** Name of the kernel. */
  readonly kernel: string;
  /** What the kernel is made of: `loops`, `matmul`, … */
  readonly kind: string;
  /** The graph nodes computed in it. */
  readonly nodes: readonly NodeNote[];
}

/** A prepared program on a device. */
export interface Executable extends Disposable {
  readonly inputs: readonly HostPort[];
  readonly outputs: readonly HostPort[];
  /**
   * Copies elements in, the first of them to the place `start` of the flattened input (default 0).
   * They must be of the input's element type, and end where it ends or before.
   */
  write(path: string, elements: { readonly data: HostData }, start?: number): void;
  /** Copies inputs out, as they are at the call: donated ones as the last run left them. */
  readInputs(paths: readonly string[]): Promise<ReadonlyMap<string, HostTensor>>;
  /**
   * Runs everything once and copies these outputs out. A device may still be at it when the call
   * returns: what is written or run next waits for it, and does not change what this run gives.
   *
   * @param views Outputs may be the program's own memory instead, which the next write or run changes.
   * @throws {KernelError} When a kernel fails.
   * @throws {WorkerError} When a worker fails.
   * @throws {UnusableProgramError} When it is disposed, or has failed before.
   */
  run(outputs: readonly string[], views?: boolean): Promise<ReadonlyMap<string, HostTensor>>;
  memory(): MemoryReport;
  steps(): readonly StepNote[];
  /** How the graph became kernels; undefined where there are none. */
  explain(): Explanation | undefined;
  /** One line: the backend, its threads, and whatever it had to do without. */
  describe(): string;
}

/** A way to run graphs. */
export interface Backend {
  readonly capabilities: Capabilities;
  /**
   * Compiles a graph and takes the memory that it needs.
   *
   * @throws {RangeError} When it does not fit in the memory limit.
   * @throws {OutOfMemoryError} When there is not enough.
   */
  prepare(graph: GraphModule, options: PrepareOptions): Promise<Executable>;
}
