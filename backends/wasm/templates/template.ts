/** What the three templates share: their calling convention, scratch layout and options. */
import type { LoopBuffer, Size } from "../../../compiler/loop_ir.ts";
import { roundUp } from "../../../compiler/multiples.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { addresses, i32s } from "./control_flow.ts";
import {
  type Microkernel,
  type MicrokernelName,
  MICROKERNELS,
  requireMicrokernel,
} from "./microkernel.ts";

/** How a template is emitted. */
export interface TemplateOptions {
  /** Use the fused multiply-add of relaxed SIMD; else a multiplication and an addition. */
  readonly relaxedSimd: boolean;
  /** Which register tile the products are computed in; default {@linkcode defaultMicrokernel}. */
  readonly microkernel?: MicrokernelName | undefined;
  /** Which of a matmul's right operands lie in panels already; default none. */
  readonly stored?: StoredBuffers | undefined;
}

/** The kernel's buffers that hold a right operand in panels of the register tile, not as it says. */
export type StoredBuffers = ReadonlySet<number>;

/** One part of an emitted kernel. */
export interface KernelPhase<Units extends Size = number> {
  /**
   * `(lo, hi, p0..pn, s0..sm, privateScratch, sharedScratch)`: runs the work units from `lo` up to
   * `hi`. The `p`s are the byte addresses of the kernel's non-scratch buffers, in order, the `s`s the
   * values of its sizes. `lo`, `hi` and the sizes are i32.
   */
  readonly functionIndex: number;
  /** How many work units there are. They may run in any order and on any thread. */
  readonly units: Units;
  /**
   * So many neighbouring units share work, such as packing, when one thread does them in one go. Where it
   * is given, units are large enough for threads to take them as they come; else each gets its share.
   */
  readonly grain?: number;
}

/**
 * An emitted kernel: its phases run one after the other, with a barrier between. What a unit computes
 * does not depend on how the units are divided.
 */
export interface EmittedKernel<Units extends Size = number> {
  readonly phases: readonly KernelPhase<Units>[];
  /** Scratch that each thread has for itself. */
  readonly privateScratchBytes: number;
  /** Scratch that all threads see, kept between the phases of one kernel. */
  readonly sharedScratchBytes: number;
}

/** Lays out named parts of a scratch memory, each at a multiple of 64 bytes. */
export class ScratchLayout {
  #bytes = 0;

  /** Total size so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Offset in bytes of a new part. */
  reserve(bytes: number): number {
    const offset = this.#bytes;
    this.#bytes += roundUp(bytes, 64);
    return offset;
  }
}

/** A kernel's function and its parameters by meaning. */
export interface KernelFunction {
  readonly f: FunctionBuilder;
  readonly lo: Local;
  readonly hi: Local;
  readonly privateScratch: Local;
  readonly sharedScratch: Local;
  /** The addresses of all bound buffers, in order. */
  readonly bufferAddresses: readonly Local[];
  /** The values of the kernel's sizes, in order. */
  readonly sizes: readonly Local[];
  /** The parameter with the byte address of a buffer, by its index in the kernel's buffers. */
  buffer(index: number): Local;
}

/** Starts the function of one phase of a kernel. */
export function kernelFunction(
  module: ModuleBuilder,
  name: string,
  buffers: readonly LoopBuffer[],
  sizes: readonly string[] = [],
): KernelFunction {
  const bound = boundBuffers(buffers);
  const scratch = 2 + bound.length + sizes.length;
  const params = [...i32s(2), ...addresses(bound.length), ...i32s(sizes.length), ...addresses(2)];
  const f = module.function(name, { params, results: [] });
  return {
    f,
    lo: f.param(0),
    hi: f.param(1),
    privateScratch: f.param(scratch),
    sharedScratch: f.param(scratch + 1),
    bufferAddresses: bound.map((_, position) => f.param(position + 2)),
    sizes: sizes.map((_, position) => f.param(2 + bound.length + position)),
    buffer(index) {
      const position = bound.indexOf(index);
      if (position < 0) {
        throw new RangeError(`Kernel ${name} has no bound buffer ${index}`);
      }
      return f.param(position + 2);
    },
  };
}

/** Indices of the buffers that a program binds. */
export function boundBuffers(buffers: readonly LoopBuffer[]): number[] {
  return [...buffers.keys()].filter((index) => buffers[index]?.access !== "scratch");
}

/** The fastest register tile with sixteen 128-bit registers. */
export function defaultMicrokernel(relaxedSimd: boolean): MicrokernelName {
  // A product that is not fused needs a register of its own: the larger tile would spill to memory.
  return relaxedSimd ? "6x8" : "5x8";
}

/** The chosen register tile. */
export function chosenMicrokernel(options: TemplateOptions): Microkernel {
  const name = options.microkernel ?? defaultMicrokernel(options.relaxedSimd);
  requireMicrokernel(name);
  return MICROKERNELS[name];
}
