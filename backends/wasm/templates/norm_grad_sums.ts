/**
 * What flows back to a norm's vectors, from all rows of all batch entries: each work unit adds up its
 * own rows, and a last phase the units, in order. So the sums do not depend on how units are divided.
 */
import type { ColumnOperand, KernelBuffer, RowNormGrad } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { constant, countedLoop, increment, localPlus, whileBelow } from "./control_flow.ts";
import { normRowBytes } from "./norm_row_code.ts";
import type { VectorSums } from "./row_norm_grad.ts";
import { emitStoreRow } from "./store_row.ts";
import {
  type KernelFunction,
  kernelFunction,
  type KernelPhase,
  type ScratchLayout,
} from "./template.ts";

/** The sums of one norm: in shared scratch, for each unit those for the scale and for the bias. */
export class NormGradSums {
  readonly #results: readonly (ColumnOperand | undefined)[];
  readonly #columns: number;
  readonly #units: number;
  readonly #offset: number;
  #ofUnit: VectorSums | undefined;

  /** Reserves shared scratch. */
  constructor(results: RowNormGrad, columns: number, units: number, shared: ScratchLayout) {
    this.#results = [results.scale, results.bias];
    this.#columns = columns;
    this.#units = units;
    this.#offset = shared.reserve(units * this.#unitBytes);
  }

  get #rowBytes(): number {
    return normRowBytes(this.#columns);
  }

  get #unitBytes(): number {
    return this.#results.length * this.#rowBytes;
  }

  /** Where the unit at hand adds, after {@linkcode beginUnit}. */
  get ofUnit(): VectorSums {
    if (this.#ofUnit === undefined) throw new TypeError("The sums of no unit have begun");
    return this.#ofUnit;
  }

  /** Emits the beginning of the sums of the unit `lo`. */
  beginUnit(fn: KernelFunction): void {
    const { f } = fn;
    const base = localPlus(f, fn.sharedScratch, this.#offset);
    f.get(fn.lo);
    f.address.times(this.#unitBytes);
    f.get(base);
    f.address.add();
    f.set(base);
    const [scale, bias] = this.#results.map((result, at) => {
      if (result === undefined) return undefined;
      const sums = localPlus(f, base, at * this.#rowBytes);
      this.#clear(f, sums);
      return sums;
    });
    this.#ofUnit = { scale, bias };
  }

  /** Emits, after all units, the addition of their sums, and stores the results. */
  addUnits(fn: KernelFunction): void {
    const { f } = fn;
    this.#results.forEach((result, at) => {
      if (result === undefined) return;
      const total = localPlus(f, fn.privateScratch, 0);
      this.#clear(f, total);
      const part = localPlus(f, fn.sharedScratch, this.#offset + at * this.#rowBytes);
      countedLoop(f, f.local("i32"), constant(f, this.#units), 1, () => {
        this.#eachVector(f, (vector) => {
          vector(total);
          vector(total);
          f.v128.load();
          vector(part);
          f.v128.load();
          f.f32x4.add();
          f.v128.store();
        });
        increment(f, part, this.#unitBytes);
      });
      const target = localPlus(f, fn.buffer(result.buffer), 4 * result.offset);
      const { columnStride } = result;
      emitStoreRow(f, { source: total, target, columns: this.#columns, columnStride });
    });
  }

  /** Scratch that {@linkcode addUnits} takes. */
  get scratchBytes(): number {
    return this.#rowBytes;
  }

  /** Emits `body` for each vector of a row; `vector` pushes its address in a row. */
  #eachVector(f: FunctionBuilder, body: (vector: (row: Local) => void) => void): void {
    const at = f.local("i32");
    countedLoop(f, at, constant(f, this.#rowBytes), 16, () =>
      body((row) => {
        f.get(row);
        f.get(at);
        f.address.plus();
      }));
  }

  #clear(f: FunctionBuilder, row: Local): void {
    this.#eachVector(f, (vector) => {
      vector(row);
      f.f32x4.constSplat(0);
      f.v128.store();
    });
  }
}

/** Emits the phase, of one unit, that ends the sums of some norms. */
export function emitAddNormGrads(
  module: ModuleBuilder,
  kernel: { readonly name: string; readonly buffers: readonly KernelBuffer[] },
  norms: readonly NormGradSums[],
): KernelPhase {
  const fn = kernelFunction(module, `${kernel.name}_norms`, kernel.buffers);
  const { f, lo, hi } = fn;
  whileBelow(f, lo, hi, () => {
    for (const norm of norms) norm.addUnits(fn);
    increment(f, lo, 1);
  });
  return { functionIndex: f.index, units: 1 };
}
