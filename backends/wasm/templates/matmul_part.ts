/**
 * One part of a matmul: blocked products of packed panels, and an epilogue on each finished block.
 *
 * A work unit is one block of rows and columns of one batch entry. For each block of k of each term it
 * packs the right operand's columns (and the left operand's rows, where k is not contiguous), adds
 * their product to the unit's sums in scratch, and runs the epilogue on them after the last. Where k
 * is long and the result small, units are slices of k as well, and a second phase adds up their sums.
 */
import type { KernelBuffer, MatmulPart, MatmulTerm } from "../../../compiler/loop_ir.ts";
import { roundUp } from "../../../compiler/multiples.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { emitAddSlices, slicesBytes } from "./add_slices.ts";
import {
  type Blocking,
  chooseBlocking,
  chooseThinBlocking,
  type MatmulExtents,
} from "./blocking.ts";
import {
  blockRange,
  clamp,
  constant,
  countedLoop,
  increment,
  localPlus,
  timesConstant,
  whileBelow,
} from "./control_flow.ts";
import { callEpilogue, emitEpilogue, type SumsShape } from "./epilogue.ts";
import { assignRoles, type MatmulRoles } from "../../matmul_roles.ts";
import { packsRows, type TermAxes, termAxes, type TermEmitter } from "./matmul_term.ts";
import type { Microkernel } from "./microkernel.ts";
import { packedRowsBytes, type Range } from "./operands.ts";
import { chooseRowPacking } from "./pack_rows.ts";
import { PackedTerm } from "./packed_term.ts";
import { COLUMN_GROUP, packedColumnsBytes } from "./panels.ts";
import {
  chosenMicrokernel,
  type EmittedKernel,
  type KernelFunction,
  kernelFunction,
  ScratchLayout,
  type TemplateOptions,
} from "./template.ts";
import { canBeThin, MAX_THIN_ROWS, ThinTerm } from "./thin_term.ts";
import { UnitGrid, type UnitRun } from "./unit_grid.ts";

/** The kernel around a part, and how it is emitted. */
export interface PartOptions extends TemplateOptions {
  /** For the part's functions. */
  readonly name: string;
  /** The kernel's. */
  readonly buffers: readonly KernelBuffer[];
  /** How much of the kernel's work this part is, from 0 to 1. */
  readonly share: number;
}

/** Emits a part as a kernel of its own. */
export function emitMatmulPart(
  module: ModuleBuilder,
  part: MatmulPart,
  options: PartOptions,
): EmittedKernel {
  return new PartEmitter(module, part, options).emit();
}

/** Where a unit's sums are made, and whether there are any yet: not zero once there are. */
interface SumsTarget {
  readonly sums: Local;
  readonly accumulate: Local;
}

class PartEmitter {
  readonly #module: ModuleBuilder;
  readonly #part: MatmulPart;
  readonly #options: PartOptions;
  readonly #roles: MatmulRoles;
  readonly #extents: MatmulExtents;
  readonly #tile: Microkernel;
  readonly #blocking: Blocking;
  readonly #grid: UnitGrid;
  readonly #packsRows: boolean;
  readonly #layout = new ScratchLayout();
  readonly #terms: readonly TermEmitter[];

  constructor(module: ModuleBuilder, part: MatmulPart, options: PartOptions) {
    this.#module = module;
    this.#part = part;
    this.#options = options;
    this.#roles = assignRoles(part);
    const axes = part.terms.map((term, index) => termAxes(term, index, this.#roles));
    const [first] = axes;
    if (first === undefined) throw new RangeError(`Matmul kernel ${options.name} has no terms`);
    this.#extents = {
      batch: first.batchA.extent,
      m: first.rows.extent,
      n: first.columns.extent,
      k: axes.map(({ kA }) => kA.extent),
    };
    const stored = part.terms.filter((term) => this.#isStored(term)).length;
    const isThin = stored === 0 && axes.every(canBeThin);
    const isThinStored = stored === part.terms.length && this.#extents.m <= MAX_THIN_ROWS;
    const { share } = options;
    this.#tile = chosenMicrokernel(options);
    this.#blocking = isThin || isThinStored
      ? chooseThinBlocking(this.#extents, share)
      : chooseBlocking(this.#extents, this.#tile, {
        rowPackings: axes.map(({ rows, kA }) => chooseRowPacking(rows, kA)),
        packsColumns: stored < part.terms.length,
        share,
      });
    this.#grid = new UnitGrid(this.#extents, this.#blocking);
    this.#packsRows = !isThin && axes.some(packsRows);
    this.#terms = isThin ? this.#thinTerms(axes) : this.#packedTerms(axes);
  }

  /** Whether the term's right operand lies in panels. */
  #isStored({ b }: MatmulTerm): boolean {
    return this.#options.stored?.has(b.buffer) ?? false;
  }

  #thinTerms(axes: readonly TermAxes[]): TermEmitter[] {
    const { relaxedSimd } = this.#options;
    return this.#eachTerm(
      axes,
      (term, axesOfTerm) => new ThinTerm(this.#module, term, axesOfTerm, relaxedSimd, this.#layout),
    );
  }

  /** Terms, one after the other, pack to the same place, unless their packed columns stay. */
  #packedTerms(axes: readonly TermAxes[]): TermEmitter[] {
    const { rows, rowGroup, tileRows, k, columnsStay } = this.#blocking;
    const columns = this.#runColumns;
    const longest = Math.max(...k);
    const packsColumns = !this.#part.terms.every((term) => this.#isStored(term));
    const packedAt = {
      left: this.#layout.reserve(
        this.#packsRows ? packedRowsBytes({ rows, rowGroup, k: longest }) : 0,
      ),
      right: columnsStay
        ? undefined
        : this.#layout.reserve(packsColumns ? packedColumnsBytes(columns, longest) : 0),
    };
    const panel = this.#tile.columns;
    const tile = { rows: tileRows, columns: panel };
    const { relaxedSimd } = this.#options;
    return this.#eachTerm(axes, (term, axesOfTerm, index) => {
      const options = { tile, relaxedSimd, isStored: this.#isStored(term) };
      const limits = { rows, rowGroup, columns, panel, k: k[index] ?? 1 };
      return new PackedTerm(
        this.#module,
        term,
        axesOfTerm,
        limits,
        options,
        this.#layout,
        packedAt,
      );
    });
  }

  #eachTerm(
    axes: readonly TermAxes[],
    make: (term: MatmulTerm, axes: TermAxes, index: number) => TermEmitter,
  ): TermEmitter[] {
    return axes.flatMap((axesOfTerm, index) => {
      const term = this.#part.terms[index];
      return term === undefined ? [] : [make(term, axesOfTerm, index)];
    });
  }

  emit(): EmittedKernel {
    const { kSlices } = this.#blocking;
    const shape = this.#sumsShape;
    const epilogue = emitEpilogue(this.#module, this.#part, this.#roles, shape, this.#options);
    const products = this.#emitProducts(epilogue);
    const { units } = this.#grid;
    const grain = this.#grain;
    if (kSlices === 1) {
      return {
        phases: [{ functionIndex: products, units, grain }],
        privateScratchBytes: this.#layout.bytes,
        sharedScratchBytes: 0,
      };
    }
    const { batch, m, n } = this.#extents;
    const sums = { slices: kSlices, batch, rows: m, columns: n, rowBytes: 4 * shape.columns };
    return {
      phases: [
        { functionIndex: products, units, grain },
        emitAddSlices(this.#module, this.#options, sums, epilogue),
      ],
      privateScratchBytes: this.#layout.bytes,
      sharedScratchBytes: slicesBytes(sums),
    };
  }

  /** Units that share packed columns or, in a run, packed rows. */
  get #grain(): number {
    const { columnsStay, run } = this.#blocking;
    if (columnsStay) return this.#grid.rowBlocks;
    return this.#packsRows ? run : 1;
  }

  /** Emits the phase that makes the products, and runs the epilogue unless k is in slices. */
  #emitProducts(epilogue: number): number {
    const { rows, columns } = this.#sumsShape;
    const isWhole = this.#blocking.kSlices === 1;
    const sumsOffset = isWhole ? this.#layout.reserve(4 * rows * columns) : 0;
    const fn = kernelFunction(this.#module, this.#options.name, this.#options.buffers);
    const { f } = fn;
    for (const term of this.#terms) term.begin(f, fn.privateScratch);
    const sums = localPlus(f, isWhole ? fn.privateScratch : fn.sharedScratch, sumsOffset);
    const columnsAtHand = f.local("i32");
    whileBelow(f, fn.lo, fn.hi, () => {
      const unit = this.#grid.decode(fn);
      if (this.#blocking.columnsStay) this.#packColumnsOnce(fn, unit, columnsAtHand);
      if (!isWhole) this.#findSliceSums(fn, unit, sums);
      this.#sumTerms(fn, unit, sums);
      if (isWhole) this.#finishUnits(fn, unit, sums, epilogue);
      f.get(fn.lo);
      f.get(unit.count);
      f.i32.add();
      f.set(fn.lo);
    });
    return f.index;
  }

  /** Blocks of k of all terms, which follow each other. */
  get #kBlocks(): number {
    return this.#terms.reduce((sum, term) => sum + term.blocks, 0);
  }

  get #blocksOfSlice(): number {
    return Math.ceil(this.#kBlocks / this.#blocking.kSlices);
  }

  /** Rows, and elements between rows, of the array that sums are made in. */
  get #sumsShape(): SumsShape {
    const { rows, kSlices } = this.#blocking;
    if (kSlices === 1) return { rows, columns: this.#runColumns };
    return { rows: this.#extents.m, columns: roundUp(this.#extents.n, COLUMN_GROUP) };
  }

  /** Columns of as many units as are computed together. */
  get #runColumns(): number {
    return this.#blocking.columns * this.#blocking.run;
  }

  /** Runs the epilogue on each unit by itself: so what it computes at once is always the same. */
  #finishUnits(fn: KernelFunction, run: UnitRun, sums: Local, epilogue: number): void {
    const { f } = fn;
    const { columns } = this.#blocking;
    const done = f.local("i32");
    const start = f.local("i32");
    const count = f.local("i32");
    const address = localPlus(f, sums, 0);
    countedLoop(f, done, run.columns.count, columns, () => {
      f.get(run.columns.start);
      f.get(done);
      f.i32.add();
      f.set(start);
      f.get(run.columns.count);
      f.get(done);
      f.i32.sub();
      f.set(count);
      clamp(f, count, 0, columns);
      callEpilogue(epilogue, fn, { ...run, columns: { start, count } }, address);
      increment(f, address, 4 * columns);
    });
  }

  /** Sets `sums` to where the unit's sums lie among those of all slices. */
  #findSliceSums(fn: KernelFunction, unit: UnitRun, sums: Local): void {
    const { f } = fn;
    const { rows, columns } = this.#sumsShape;
    f.get(unit.slice);
    timesConstant(f, this.#extents.batch);
    f.get(unit.batch);
    f.i32.add();
    timesConstant(f, rows);
    f.get(unit.rows.start);
    f.i32.add();
    timesConstant(f, columns);
    f.get(unit.columns.start);
    f.i32.add();
    f.address.times(4);
    f.get(fn.sharedScratch);
    f.address.add();
    f.set(sums);
  }

  /** Packs the unit's columns, of all k, unless the unit before left the same ones. */
  #packColumnsOnce(fn: KernelFunction, unit: UnitRun, columnsAtHand: Local): void {
    const { f } = fn;
    const wanted = f.local("i32");
    f.get(fn.lo);
    f.i32.const(this.#grid.rowBlocks);
    f.i32.div_u();
    f.i32.const(1);
    f.i32.add();
    f.tee(wanted);
    f.get(columnsAtHand);
    f.i32.ne();
    f.if(() => {
      for (const term of this.#terms) {
        if (term.blocks > 0) this.#packColumns(fn, unit, term, wholeK(f, term));
      }
      f.get(wanted);
      f.set(columnsAtHand);
    });
  }

  /** Sums the unit's blocks of k: all, or those of its slice. */
  #sumTerms(fn: KernelFunction, unit: UnitRun, sums: Local): void {
    const { f } = fn;
    if (this.#kBlocks === 0) return this.#clearSums(f, unit, sums);
    const target = { sums, accumulate: constant(f, 0) };
    let firstBlock = 0;
    for (const term of this.#terms) {
      if (term.blocks === 0) continue;
      if (this.#blocking.kSlices > 1) {
        const [block, end] = this.#blocksInSlice(f, unit.slice, firstBlock, term.blocks);
        f.get(block);
        f.get(end);
        f.i32.lt_u();
        f.if(() => this.#sumBlocks(fn, unit, term, block, end, target));
      } else if (term.blocks > 1) {
        this.#sumBlocks(fn, unit, term, constant(f, 0), constant(f, term.blocks), target);
      } else {
        term.setRows(fn, unit.batch, unit.rows);
        if (!this.#blocking.columnsStay) this.#packColumns(fn, unit, term, wholeK(f, term));
        this.#sumBlock(f, unit, term, wholeK(f, term), target);
      }
      firstBlock += term.blocks;
    }
  }

  /** New locals with the first and the end of those of a term's blocks that belong to a slice of k. */
  #blocksInSlice(f: FunctionBuilder, slice: Local, firstBlock: number, blocks: number) {
    const [start, end] = [f.local("i32"), f.local("i32")] as const;
    f.get(slice);
    timesConstant(f, this.#blocksOfSlice);
    f.i32.const(firstBlock);
    f.i32.sub();
    f.tee(start);
    f.i32.const(this.#blocksOfSlice);
    f.i32.add();
    f.set(end);
    clamp(f, start, 0, blocks);
    clamp(f, end, 0, blocks);
    return [start, end] as const;
  }

  /** Sums a term's blocks from `block`, which moves, up to `end`. */
  #sumBlocks(
    fn: KernelFunction,
    unit: UnitRun,
    term: TermEmitter,
    block: Local,
    end: Local,
    target: SumsTarget,
  ): void {
    const { f } = fn;
    term.setRows(fn, unit.batch, unit.rows);
    term.setColumns(fn, unit.batch, unit.columns);
    whileBelow(f, block, end, () => {
      const k = blockRange(f, block, term.blockLength, term.k);
      term.prepareColumns(f, unit.columns.count, k);
      this.#sumBlock(f, unit, term, k, target);
      increment(f, block, 1);
    });
  }

  #packColumns(fn: KernelFunction, unit: UnitRun, term: TermEmitter, k: Range): void {
    term.setColumns(fn, unit.batch, unit.columns);
    term.prepareColumns(fn.f, unit.columns.count, k);
  }

  /** Adds the products of a block of k, or sets the sums to them if they are the unit's first. */
  #sumBlock(
    f: FunctionBuilder,
    unit: UnitRun,
    term: TermEmitter,
    k: Range,
    { sums, accumulate }: SumsTarget,
  ): void {
    term.addBlock(f, {
      rows: unit.rows.count,
      columns: unit.columns.count,
      k,
      c: sums,
      cRowBytes: 4 * this.#sumsShape.columns,
      accumulate,
    });
    f.i32.const(1);
    f.set(accumulate);
  }

  #clearSums(f: FunctionBuilder, unit: UnitRun, sums: Local): void {
    f.get(sums);
    f.i32.const(0);
    f.get(unit.rows.count);
    f.address.times(4 * this.#sumsShape.columns);
    f.memoryFill();
  }
}

function wholeK(f: FunctionBuilder, term: TermEmitter): Range {
  return { start: constant(f, 0), count: constant(f, term.k) };
}
