/**
 * The matmul template: blocked products of packed panels, and an epilogue on each finished block.
 *
 * A work unit is one block of rows and columns of one batch entry. For each block of k it packs the
 * right operand's columns (and the left operand's rows, where k is not contiguous), adds their
 * product to the unit's sums in scratch, and runs the epilogue on them after the last. Where k is long
 * and the result small, units are parts of k as well, and a second phase adds up their sums.
 */
import type { MatmulAxis, MatmulKernel } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { type Blocking, chooseBlocking, type MatmulExtents } from "./blocking.ts";
import {
  blockRange,
  constant,
  countedLoop,
  divideWithRest,
  increment,
  localPlus,
  timesConstant,
  whileBelow,
} from "./control_flow.ts";
import { emitAddParts, partsBytes } from "./add_parts.ts";
import { callEpilogue, emitEpilogue, type SumsShape } from "./epilogue.ts";
import { callGemmBlock, emitGemmBlock } from "./gemm_block.ts";
import { MICROKERNELS, PANEL_COLUMNS } from "./microkernel.ts";
import { AxisList } from "./offset_table.ts";
import { LeftOperand, type Range, RightOperand } from "./operands.ts";
import { chooseRowPacking } from "./pack_rows.ts";
import {
  chosenMicrokernel,
  type EmittedKernel,
  type KernelFunction,
  kernelFunction,
  roundUp,
  ScratchLayout,
  type TemplateOptions,
} from "./template.ts";

/** A matmul's axes by role. Batch axes that one operand lacks belong to the other's rows or columns. */
export interface MatmulRoles {
  readonly batch: readonly MatmulAxis[];
  readonly m: readonly MatmulAxis[];
  readonly n: readonly MatmulAxis[];
  readonly k: readonly MatmulAxis[];
}

/** Moves batch axes along which an operand stays put to the other operand's rows or columns. */
export function assignRoles(kernel: MatmulKernel): MatmulRoles {
  const batch = kernel.batch.filter((axis) => axis.strideA !== 0 && axis.strideB !== 0);
  const rows = kernel.batch.filter((axis) => axis.strideB === 0);
  const columns = kernel.batch.filter((axis) => axis.strideB !== 0 && axis.strideA === 0);
  return { batch, m: [...rows, ...kernel.m], n: [...columns, ...kernel.n], k: kernel.k };
}

/**
 * Emits a matmul kernel. Sums over k are made in one fixed order: in registers within a block of k,
 * then block by block.
 */
export function emitMatmul(
  module: ModuleBuilder,
  kernel: MatmulKernel,
  options: TemplateOptions,
): EmittedKernel {
  return new MatmulEmitter(module, kernel, options).emit();
}

/** Locals that describe the unit at hand. */
export interface MatmulUnit {
  readonly batch: Local;
  /** Which part of k. */
  readonly part: Local;
  readonly rows: Range;
  readonly columns: Range;
}

class MatmulEmitter {
  readonly #module: ModuleBuilder;
  readonly #kernel: MatmulKernel;
  readonly #roles: MatmulRoles;
  readonly #extents: MatmulExtents;
  readonly #blocking: Blocking;
  readonly #layout = new ScratchLayout();
  readonly #left: LeftOperand;
  readonly #right: RightOperand;
  readonly #relaxedSimd: boolean;

  constructor(module: ModuleBuilder, kernel: MatmulKernel, options: TemplateOptions) {
    this.#module = module;
    this.#kernel = kernel;
    this.#relaxedSimd = options.relaxedSimd;
    this.#roles = assignRoles(kernel);
    const { batch, m, n, k } = this.#roles;
    const [rowsA, kA] = [axisList(m, "strideA"), axisList(k, "strideA")];
    const [columnsB, kB] = [axisList(n, "strideB"), axisList(k, "strideB")];
    this.#extents = {
      batch: axisList(batch, "strideA").extent,
      m: rowsA.extent,
      n: columnsB.extent,
      k: kA.extent,
    };
    const { rows: tileRows } = MICROKERNELS[chosenMicrokernel(options)];
    const packsRows = chooseRowPacking(rowsA, kA) !== "none";
    this.#blocking = chooseBlocking(this.#extents, tileRows, packsRows);
    this.#left = new LeftOperand(module, rowsA, kA, this.#blocking, this.#layout);
    this.#right = new RightOperand(module, columnsB, kB, this.#blocking, this.#layout);
  }

  emit(): EmittedKernel {
    const { kParts } = this.#blocking;
    const shape = this.#sumsShape;
    const epilogue = emitEpilogue(
      this.#module,
      this.#kernel,
      this.#roles,
      shape,
      this.#relaxedSimd,
    );
    const products = this.#emitProducts(epilogue);
    const units = this.#extents.batch * this.#rowBlocks * this.#columnBlocks;
    if (kParts === 1) {
      return {
        phases: [{ functionIndex: products, units }],
        privateScratchBytes: this.#layout.bytes,
        sharedScratchBytes: 0,
      };
    }
    const { batch, m, n } = this.#extents;
    const parts = { parts: kParts, batch, rows: m, columns: n, rowBytes: 4 * shape.columns };
    return {
      phases: [
        { functionIndex: products, units: units * kParts },
        emitAddParts(this.#module, this.#kernel, parts, epilogue),
      ],
      privateScratchBytes: this.#layout.bytes,
      sharedScratchBytes: partsBytes(parts),
    };
  }

  /** Emits the phase that makes the products, and runs the epilogue unless k is in parts. */
  #emitProducts(epilogue: number): number {
    const { rows, columns } = this.#sumsShape;
    const isWhole = this.#blocking.kParts === 1;
    const sumsOffset = isWhole ? this.#layout.reserve(4 * rows * columns) : 0;
    const fn = kernelFunction(this.#module, this.#kernel.name, this.#kernel.buffers);
    const { f } = fn;
    this.#left.begin(f, fn.privateScratch);
    this.#right.begin(f, fn.privateScratch);
    const sums = localPlus(f, isWhole ? fn.privateScratch : fn.sharedScratch, sumsOffset);
    const columnsAtHand = f.local("i32");
    whileBelow(f, fn.lo, fn.hi, () => {
      const unit = this.#decodeUnit(f, fn.lo);
      this.#left.setRows(f, this.#operandBase(fn, "A", unit.batch), unit.rows);
      if (this.#kBlocks === 1) {
        this.#packColumnsOnce(fn, unit, columnsAtHand);
      } else {
        this.#right.setColumns(f, this.#operandBase(fn, "B", unit.batch), unit.columns);
      }
      if (!isWhole) this.#findPartSums(fn, unit, sums);
      this.#sumBlocks(f, unit, sums);
      if (isWhole) callEpilogue(epilogue, fn, unit, sums);
      increment(f, fn.lo, 1);
    });
    return f.index;
  }

  get #rowBlocks(): number {
    return Math.ceil(this.#extents.m / this.#blocking.rows);
  }

  get #columnBlocks(): number {
    return Math.ceil(this.#extents.n / this.#blocking.columns);
  }

  get #kBlocks(): number {
    return Math.ceil(this.#extents.k / this.#blocking.k);
  }

  get #blocksOfPart(): number {
    return Math.ceil(this.#kBlocks / this.#blocking.kParts);
  }

  /** Rows, and elements between rows, of the array that sums are made in. */
  get #sumsShape(): SumsShape {
    if (this.#blocking.kParts === 1) return this.#blocking;
    return { rows: this.#extents.m, columns: roundUp(this.#extents.n, PANEL_COLUMNS) };
  }

  /**
   * Units that share the packed columns follow each other where those are packed once; else units that
   * share the rows do, which then come from the second cache.
   */
  #decodeUnit(f: FunctionBuilder, unit: Local): MatmulUnit {
    const [rowBlock, columnBlock, batch] = [f.local("i32"), f.local("i32"), f.local("i32")];
    const part = f.local("i32");
    if (this.#kBlocks === 1) {
      divideWithRest(f, unit, this.#rowBlocks, batch, rowBlock);
      divideWithRest(f, batch, this.#columnBlocks, batch, columnBlock);
    } else {
      divideWithRest(f, unit, this.#columnBlocks, batch, columnBlock);
      divideWithRest(f, batch, this.#rowBlocks, batch, rowBlock);
      divideWithRest(f, batch, this.#blocking.kParts, batch, part);
    }
    return {
      batch,
      part,
      rows: blockRange(f, rowBlock, this.#blocking.rows, this.#extents.m),
      columns: blockRange(f, columnBlock, this.#blocking.columns, this.#extents.n),
    };
  }

  /** Sets `sums` to where the unit's sums lie among those of all parts. */
  #findPartSums(fn: KernelFunction, unit: MatmulUnit, sums: Local): void {
    const { f } = fn;
    const { rows, columns } = this.#sumsShape;
    f.get(unit.part);
    timesConstant(f, this.#extents.batch);
    f.get(unit.batch);
    f.i32.add();
    timesConstant(f, rows);
    f.get(unit.rows.start);
    f.i32.add();
    timesConstant(f, columns);
    f.get(unit.columns.start);
    f.i32.add();
    timesConstant(f, 4);
    f.get(fn.sharedScratch);
    f.i32.add();
    f.set(sums);
  }

  #operandBase(fn: KernelFunction, which: "A" | "B", batch: Local): Local {
    const { f } = fn;
    const operand = which === "A" ? this.#kernel.a : this.#kernel.b;
    const base = localPlus(f, fn.buffer(operand.buffer), 4 * operand.offset);
    f.get(base);
    axisList(this.#roles.batch, `stride${which}`).getByteOffset(f, batch);
    f.i32.add();
    f.set(base);
    return base;
  }

  /** Packs the unit's columns, of all k, unless the unit before left the same ones. */
  #packColumnsOnce(fn: KernelFunction, unit: MatmulUnit, columnsAtHand: Local): void {
    const { f } = fn;
    const wanted = f.local("i32");
    f.get(fn.lo);
    f.i32.const(this.#rowBlocks);
    f.i32.div_u();
    f.i32.const(1);
    f.i32.add();
    f.tee(wanted);
    f.get(columnsAtHand);
    f.i32.ne();
    f.if(() => {
      this.#right.setColumns(f, this.#operandBase(fn, "B", unit.batch), unit.columns);
      this.#right.pack(f, unit.columns.count, this.#wholeK(f));
      f.get(wanted);
      f.set(columnsAtHand);
    });
  }

  #wholeK(f: FunctionBuilder): Range {
    return { start: constant(f, 0), count: constant(f, this.#extents.k) };
  }

  #sumBlocks(f: FunctionBuilder, unit: MatmulUnit, sums: Local): void {
    if (this.#kBlocks === 0) return this.#clearSums(f, unit, sums);
    if (this.#kBlocks === 1) return this.#sumBlock(f, unit, this.#wholeK(f), constant(f, 0), sums);
    const done = f.local("i32");
    const block = f.local("i32");
    const { count } = blockRange(f, unit.part, this.#blocksOfPart, this.#kBlocks);
    countedLoop(f, done, count, 1, () => {
      f.get(unit.part);
      timesConstant(f, this.#blocksOfPart);
      f.get(done);
      f.i32.add();
      f.set(block);
      const k = blockRange(f, block, this.#blocking.k, this.#extents.k);
      this.#right.pack(f, unit.columns.count, k);
      this.#sumBlock(f, unit, k, done, sums);
    });
  }

  /** Adds the products of a block of k, or sets the sums to them where `accumulate` is zero. */
  #sumBlock(
    f: FunctionBuilder,
    unit: MatmulUnit,
    k: Range,
    accumulate: Local,
    sums: Local,
  ): void {
    const { rowTable, offset } = this.#left.block(f, unit.rows.count, k);
    callGemmBlock(f, emitGemmBlock(this.#module, this.#blocking.tileRows, this.#relaxedSimd), {
      rowTable,
      aOffset: offset,
      rows: unit.rows.count,
      packed: this.#right.packed,
      k: k.count,
      columns: unit.columns.count,
      c: sums,
      cRowBytes: 4 * this.#sumsShape.columns,
      accumulate,
    });
  }

  #clearSums(f: FunctionBuilder, unit: MatmulUnit, sums: Local): void {
    f.get(sums);
    f.i32.const(0);
    f.get(unit.rows.count);
    timesConstant(f, 4 * this.#sumsShape.columns);
    f.memoryFill();
  }
}

function axisList(axes: readonly MatmulAxis[], stride: "strideA" | "strideB"): AxisList {
  return new AxisList(axes.map((axis) => ({ extent: axis.extent, stride: axis[stride] })));
}
