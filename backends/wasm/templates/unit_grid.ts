/** A matmul's work units, and which of them are computed together. */
import type { Local } from "../encoder.ts";
import type { Blocking, MatmulExtents } from "./blocking.ts";
import { blockRange, constant, divideWithRest, getSmaller } from "./control_flow.ts";
import type { Range } from "./operands.ts";
import type { KernelFunction } from "./template.ts";

/** Locals that describe the units at hand: neighbours, which differ in their columns alone. */
export interface UnitRun {
  readonly count: Local;
  readonly batch: Local;
  /** Which slice of k. */
  readonly slice: Local;
  readonly rows: Range;
  /** Those of all units of the run. */
  readonly columns: Range;
}

/** The units of a part: one for each block of rows and columns of each batch entry and slice of k. */
export class UnitGrid {
  readonly #extents: MatmulExtents;
  readonly #blocking: Blocking;

  constructor(extents: MatmulExtents, blocking: Blocking) {
    this.#extents = extents;
    this.#blocking = blocking;
  }

  get units(): number {
    const { batch } = this.#extents;
    return batch * this.#blocking.kSlices * this.rowBlocks * this.#columnBlocks;
  }

  get rowBlocks(): number {
    return Math.ceil(this.#extents.m / this.#blocking.rows);
  }

  get #columnBlocks(): number {
    return Math.ceil(this.#extents.n / this.#blocking.columns);
  }

  /**
   * Emits the decoding of the unit `lo`, and of as many as there are with it before `hi` that differ in
   * columns.
   *
   * Units that share the packed columns follow each other where those stay; else units that share the
   * rows do, which then come from the second cache.
   */
  decode(fn: KernelFunction): UnitRun {
    const { f, lo: unit } = fn;
    const { rows, columns, columnsStay, kSlices } = this.#blocking;
    const [rowBlock, columnBlock, batch] = [f.local("i32"), f.local("i32"), f.local("i32")];
    const slice = f.local("i32");
    const count = constant(f, 1);
    if (columnsStay) {
      divideWithRest(f, unit, this.rowBlocks, batch, rowBlock);
      divideWithRest(f, batch, this.#columnBlocks, batch, columnBlock);
    } else {
      divideWithRest(f, unit, this.#columnBlocks, batch, columnBlock);
      divideWithRest(f, batch, this.rowBlocks, batch, rowBlock);
      divideWithRest(f, batch, kSlices, batch, slice);
      this.#countRun(fn, columnBlock, count);
    }
    return {
      count,
      batch,
      slice,
      rows: blockRange(f, rowBlock, rows, this.#extents.m),
      columns: blockRange(f, columnBlock, columns, this.#extents.n, count),
    };
  }

  /** Sets `count` to the length of a run from the unit `lo`: runs are about equally long. */
  #countRun({ f, lo, hi }: KernelFunction, columnBlock: Local, count: Local): void {
    const { run } = this.#blocking;
    if (run === 1) return;
    const runs = f.local("i32");
    f.get(hi);
    f.get(lo);
    f.i32.sub();
    f.set(count);
    f.i32.const(this.#columnBlocks);
    f.get(columnBlock);
    f.i32.sub();
    f.set(runs);
    getSmaller(f, count, runs);
    f.tee(count);
    f.i32.const(run - 1);
    f.i32.add();
    f.i32.const(run);
    f.i32.div_u();
    f.tee(runs);
    f.get(count);
    f.i32.add();
    f.i32.const(1);
    f.i32.sub();
    f.get(runs);
    f.i32.div_u();
    f.set(count);
  }
}
