/**
 * The matmul template: blocked products of packed panels, and an epilogue on each finished block.
 *
 * A work unit is one block of rows and columns of one batch entry. For each block of k it packs the
 * right operand's columns (and the left operand's rows, where k is not contiguous), adds their
 * product to the unit's sums in scratch, and runs the epilogue on them after the last.
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
import { callEpilogue, emitEpilogue } from "./epilogue.ts";
import { callGemmBlock, emitGemmBlock } from "./gemm_block.ts";
import { MICROKERNELS } from "./microkernel.ts";
import { AxisList } from "./offset_table.ts";
import { LeftOperand, type Range, RightOperand } from "./operands.ts";
import { chooseRowPacking } from "./pack_rows.ts";
import {
  chosenMicrokernel,
  type EmittedKernel,
  type KernelFunction,
  kernelFunction,
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
    const sumsOffset = this.#layout.reserve(this.#blocking.rows * this.#sumsRowBytes);
    const epilogue = emitEpilogue(
      this.#module,
      this.#kernel,
      this.#roles,
      this.#blocking,
      this.#relaxedSimd,
    );
    const fn = kernelFunction(this.#module, this.#kernel.name, this.#kernel.buffers);
    const { f } = fn;
    this.#left.begin(f, fn.privateScratch);
    this.#right.begin(f, fn.privateScratch);
    const sums = localPlus(f, fn.privateScratch, sumsOffset);
    const columnsAtHand = f.local("i32");
    whileBelow(f, fn.lo, fn.hi, () => {
      const unit = this.#decodeUnit(f, fn.lo);
      this.#left.setRows(f, this.#operandBase(fn, "A", unit.batch), unit.rows);
      if (this.#kBlocks === 1) {
        this.#packColumnsOnce(fn, unit, columnsAtHand);
      } else {
        this.#right.setColumns(f, this.#operandBase(fn, "B", unit.batch), unit.columns);
      }
      this.#sumBlocks(f, unit, sums);
      callEpilogue(epilogue, fn, unit, sums, this.#kernel);
      increment(f, fn.lo, 1);
    });
    const units = this.#extents.batch * this.#rowBlocks * this.#columnBlocks;
    return {
      phases: [{ functionIndex: f.index, units }],
      privateScratchBytes: this.#layout.bytes,
      sharedScratchBytes: 0,
    };
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

  get #sumsRowBytes(): number {
    return 4 * this.#blocking.columns;
  }

  /**
   * Units that share the packed columns follow each other where those are packed once; else units that
   * share the rows do, which then come from the second cache.
   */
  #decodeUnit(f: FunctionBuilder, unit: Local): MatmulUnit {
    const [rowBlock, columnBlock, batch] = [f.local("i32"), f.local("i32"), f.local("i32")];
    if (this.#kBlocks === 1) {
      divideWithRest(f, unit, this.#rowBlocks, batch, rowBlock);
      divideWithRest(f, batch, this.#columnBlocks, batch, columnBlock);
    } else {
      divideWithRest(f, unit, this.#columnBlocks, batch, columnBlock);
      divideWithRest(f, batch, this.#rowBlocks, batch, rowBlock);
    }
    return {
      batch,
      rows: blockRange(f, rowBlock, this.#blocking.rows, this.#extents.m),
      columns: blockRange(f, columnBlock, this.#blocking.columns, this.#extents.n),
    };
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
    if (this.#kBlocks === 1) return this.#sumBlock(f, unit, this.#wholeK(f), sums);
    const block = f.local("i32");
    countedLoop(f, block, constant(f, this.#kBlocks), 1, () => {
      const k = blockRange(f, block, this.#blocking.k, this.#extents.k);
      this.#right.pack(f, unit.columns.count, k);
      this.#sumBlock(f, unit, k, sums);
    });
  }

  #sumBlock(f: FunctionBuilder, unit: MatmulUnit, k: Range, sums: Local): void {
    const { rowTable, offset } = this.#left.block(f, unit.rows.count, k);
    callGemmBlock(f, emitGemmBlock(this.#module, this.#blocking.tileRows, this.#relaxedSimd), {
      rowTable,
      aOffset: offset,
      rows: unit.rows.count,
      packed: this.#right.packed,
      k: k.count,
      columns: unit.columns.count,
      c: sums,
      cRowBytes: this.#sumsRowBytes,
      accumulate: k.start,
    });
  }

  #clearSums(f: FunctionBuilder, unit: MatmulUnit, sums: Local): void {
    f.get(sums);
    f.i32.const(0);
    f.get(unit.rows.count);
    timesConstant(f, this.#sumsRowBytes);
    f.memoryFill();
  }
}

function axisList(axes: readonly MatmulAxis[], stride: "strideA" | "strideB"): AxisList {
  return new AxisList(axes.map((axis) => ({ extent: axis.extent, stride: axis[stride] })));
}
