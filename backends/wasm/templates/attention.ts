/**
 * The attention template: a work unit is a block of queries of one batch entry. It walks over tiles of
 * keys and keeps each row's running maximum and sum, so that scratch is bounded whatever the number
 * of keys (Rabe and Staats, 2021; Dao et al., 2022).
 */
import type { AttentionKernel, MatrixOperand } from "../../../compiler/loop_ir.ts";
import { roundUp } from "../../../compiler/multiples.ts";
import { staticSize } from "../../../graph/shape.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { VectorCode } from "../vector_code.ts";
import { chooseAttentionBlocking } from "./attention_blocking.ts";
import {
  blockRange,
  constant,
  countedLoop,
  divideWithRest,
  increment,
  localPlus,
  noOffset,
  whileBelow,
} from "./control_flow.ts";
import { callGemmBlock, emitGemmBlock } from "./gemm_block.ts";
import { columnAxis, matrixBase, rowAddress, rowAxis } from "./matrix_view.ts";
import { emitStrideTable } from "./offset_table.ts";
import { emitStoreRow } from "./store_row.ts";
import { OperandRows } from "./operand_rows.ts";
import { LeftOperand, type Range, RightOperand } from "./operands.ts";
import {
  emitSoftmaxRows,
  getLogSumExp,
  getReciprocalSum,
  getRescale,
  STATE_BYTES,
  vectorLoop,
} from "./softmax_rows.ts";
import {
  chosenMicrokernel,
  type EmittedKernel,
  type KernelFunction,
  kernelFunction,
  ScratchLayout,
  type TemplateOptions,
} from "./template.ts";

/**
 * Emits an attention kernel.
 *
 * @throws {RangeError} When there are no keys: a softmax of nothing has no value.
 */
export function emitAttention(
  module: ModuleBuilder,
  kernel: AttentionKernel,
  options: TemplateOptions,
): EmittedKernel {
  if (kernel.keys === 0) throw new RangeError(`Kernel ${kernel.name} attends to no keys`);
  return new AttentionEmitter(module, kernel, options).emit();
}

/** What the values add to the kernel. */
interface Values {
  readonly v: MatrixOperand;
  readonly out: MatrixOperand;
  readonly right: RightOperand;
}

/** Locals of the function, and of the unit at hand. */
interface Unit {
  readonly batch: Local;
  readonly queries: Range;
  /** The block of scores, then of their exponentials; a table of its rows' addresses. */
  readonly scores: Local;
  readonly scoreTable: Local;
  /** Sums of values weighted by the exponentials. */
  readonly sums: Local;
  readonly state: Local;
}

class AttentionEmitter {
  readonly #module: ModuleBuilder;
  readonly #kernel: AttentionKernel;
  readonly #relaxedSimd: boolean;
  readonly #block: number;
  readonly #blocking: { readonly queries: number; readonly keys: number };
  readonly #entries: number;
  readonly #layout = new ScratchLayout();
  readonly #queryRows: OperandRows;
  readonly #keyRows: OperandRows;
  readonly #q: LeftOperand;
  readonly #k: RightOperand;
  readonly #values: Values | undefined;

  constructor(module: ModuleBuilder, kernel: AttentionKernel, options: TemplateOptions) {
    this.#module = module;
    this.#kernel = kernel;
    this.#relaxedSimd = options.relaxedSimd;
    const tile = chosenMicrokernel(options);
    this.#block = emitGemmBlock(module, tile, options.relaxedSimd);
    this.#entries = staticSize(kernel.batch);
    this.#blocking = chooseAttentionBlocking(kernel, this.#entries, tile.rows);
    const { queries, keys } = this.#blocking;
    const { depth, valueDepth, v, out } = kernel;
    this.#queryRows = this.#rows("q", kernel.queries, queries);
    this.#keyRows = this.#rows("k", kernel.keys, keys);
    this.#q = new LeftOperand(
      module,
      this.#queryRows.rows,
      this.#queryRows.columns,
      { rows: queries, k: depth },
      this.#layout,
    );
    this.#k = new RightOperand(
      module,
      this.#keyRows.rows,
      this.#keyRows.columns,
      { columns: keys, k: depth, panel: tile.columns },
      this.#layout,
    );
    this.#values = v === undefined || out === undefined ? undefined : {
      v,
      out,
      right: new RightOperand(
        module,
        columnAxis(v, valueDepth),
        rowAxis(v, kernel.keys),
        { columns: valueDepth, k: keys, panel: tile.columns },
        this.#layout,
      ),
    };
  }

  emit(): EmittedKernel {
    const { queries } = this.#blocking;
    const offsets = {
      scores: this.#layout.reserve(queries * this.#scoreRowBytes),
      scoreTable: this.#layout.reserve(this.#module.addressBytes * queries),
      sums: this.#layout.reserve(queries * this.#sumRowBytes),
      state: this.#layout.reserve(queries * STATE_BYTES),
    };
    const fn = kernelFunction(this.#module, this.#kernel.name, this.#kernel.buffers);
    const { f, privateScratch } = fn;
    for (const rows of [this.#queryRows, this.#keyRows]) rows.norm?.begin(fn);
    for (const operand of [this.#q, this.#k, this.#values?.right]) {
      operand?.begin(f, privateScratch);
    }
    const parts = {
      scores: localPlus(f, privateScratch, offsets.scores),
      scoreTable: localPlus(f, privateScratch, offsets.scoreTable),
      sums: localPlus(f, privateScratch, offsets.sums),
      state: localPlus(f, privateScratch, offsets.state),
    };
    const { scores, scoreTable } = parts;
    emitStrideTable(f, scoreTable, constant(f, queries), scores, this.#scoreRowBytes);
    const entryAtHand = f.local("i32");
    whileBelow(f, fn.lo, fn.hi, () => {
      const [batch, queryBlock] = [f.local("i32"), f.local("i32")];
      divideWithRest(f, fn.lo, this.#queryBlocks, batch, queryBlock);
      const range = blockRange(f, queryBlock, queries, this.#kernel.queries);
      this.#runUnit(fn, { ...parts, batch, queries: range }, entryAtHand);
      increment(f, fn.lo, 1);
    });
    return {
      phases: [{
        functionIndex: f.index,
        units: this.#entries * this.#queryBlocks,
        grain: this.#queryBlocks,
      }],
      privateScratchBytes: this.#layout.bytes,
      sharedScratchBytes: 0,
    };
  }

  #rows(operand: "q" | "k", rows: number, atOnce: number): OperandRows {
    const { depth: columns, queryNorm, keyNorm } = this.#kernel;
    return new OperandRows(
      this.#module,
      this.#kernel[operand],
      operand === "q" ? queryNorm : keyNorm,
      { rows, columns, atOnce },
      this.#layout,
      this.#relaxedSimd,
    );
  }

  get #queryBlocks(): number {
    return Math.ceil(this.#kernel.queries / this.#blocking.queries);
  }

  get #keyTiles(): number {
    return Math.ceil(this.#kernel.keys / this.#blocking.keys);
  }

  get #scoreRowBytes(): number {
    return 4 * roundUp(this.#blocking.keys, 8);
  }

  get #sumRowBytes(): number {
    return 4 * roundUp(this.#kernel.valueDepth, 8);
  }

  #runUnit(fn: KernelFunction, unit: Unit, entryAtHand: Local): void {
    const { f } = fn;
    const { q, batch } = this.#kernel;
    const queries = this.#queryRows.ready(
      fn,
      matrixBase(fn, q, batch, unit.batch),
      unit.queries,
    );
    this.#q.setRows(f, queries.base, queries.rows);
    const depth = { start: constant(f, 0), count: constant(f, this.#kernel.depth) };
    const rows = this.#q.block(f, unit.queries.count, depth);
    const runTile = (keys: Range) => {
      callGemmBlock(f, this.#block, {
        rowTable: rows.rowTable,
        aOffset: rows.offset,
        rows: unit.queries.count,
        packed: this.#k.packed,
        k: depth.count,
        columns: keys.count,
        c: unit.scores,
        cRowBytes: this.#scoreRowBytes,
        accumulate: constant(f, 0),
      });
      this.#addTile(f, unit, keys);
    };
    if (this.#keyTiles === 1) {
      const keys = { start: constant(f, 0), count: constant(f, this.#kernel.keys) };
      this.#packOnce(fn, unit, keys, entryAtHand);
      runTile(keys);
    } else {
      const tile = f.local("i32");
      countedLoop(f, tile, constant(f, this.#keyTiles), 1, () => {
        const keys = blockRange(f, tile, this.#blocking.keys, this.#kernel.keys);
        this.#pack(fn, unit, keys);
        runTile(keys);
      });
    }
    this.#storeResults(fn, unit);
  }

  /** Packs all keys and values, unless the unit before was of the same batch entry. */
  #packOnce(fn: KernelFunction, unit: Unit, keys: Range, entryAtHand: Local): void {
    const { f } = fn;
    const wanted = localPlus(f, unit.batch, 1);
    f.get(wanted);
    f.get(entryAtHand);
    f.i32.ne();
    f.if(() => {
      this.#pack(fn, unit, keys);
      f.get(wanted);
      f.set(entryAtHand);
    });
  }

  #pack(fn: KernelFunction, unit: Unit, keys: Range): void {
    const { f } = fn;
    const { k, batch, depth, valueDepth } = this.#kernel;
    const ready = this.#keyRows.ready(fn, matrixBase(fn, k, batch, unit.batch), keys);
    this.#k.setColumns(f, ready.base, ready.rows);
    this.#k.pack(f, keys.count, { start: constant(f, 0), count: constant(f, depth) });
    if (this.#values === undefined) return;
    const { right, v } = this.#values;
    const columns = { start: constant(f, 0), count: constant(f, valueDepth) };
    right.setColumns(f, matrixBase(fn, v, batch, unit.batch), columns);
    right.pack(f, columns.count, keys);
  }

  /** Turns a tile's scores into exponentials, and adds the values that they weight. */
  #addTile(f: FunctionBuilder, unit: Unit, keys: Range): void {
    f.get(unit.scores);
    f.get(unit.queries.count);
    f.i32.const(this.#scoreRowBytes);
    f.get(keys.count);
    f.get(unit.state);
    f.get(keys.start);
    f.i32.eqz();
    f.f32.const(this.#kernel.scale);
    f.call(emitSoftmaxRows(this.#module, this.#relaxedSimd));
    if (this.#values === undefined) return;
    if (this.#keyTiles > 1) {
      f.get(keys.start);
      f.if(() => this.#rescaleSums(f, unit));
    }
    callGemmBlock(f, this.#block, {
      rowTable: unit.scoreTable,
      aOffset: noOffset(f),
      rows: unit.queries.count,
      packed: this.#values.right.packed,
      k: keys.count,
      columns: constant(f, this.#kernel.valueDepth),
      c: unit.sums,
      cRowBytes: this.#sumRowBytes,
      accumulate: keys.start,
    });
  }

  #rescaleSums(f: FunctionBuilder, unit: Unit): void {
    const columns = constant(f, this.#kernel.valueDepth);
    this.#forEachRow(f, unit, ({ state, sums }) => {
      vectorLoop(f, sums, columns, (address) => {
        f.get(address);
        f.get(address);
        f.v128.load();
        getRescale(f, state);
        f.f32x4.mul();
        f.v128.store();
      });
    });
  }

  #storeResults(fn: KernelFunction, unit: Unit): void {
    const { f } = fn;
    const { logSumExp, batch } = this.#kernel;
    const values = this.#values;
    const lseBase = logSumExp && matrixBase(fn, logSumExp, batch, unit.batch);
    const outBase = values && matrixBase(fn, values.out, batch, unit.batch);
    const code = new VectorCode(f, this.#relaxedSimd);
    this.#forEachRow(f, unit, ({ row, state, sums }) => {
      if (logSumExp !== undefined && lseBase !== undefined) {
        f.get(rowAddress(fn, logSumExp, lseBase, row));
        getLogSumExp(code, state);
        f.f32.store();
      }
      if (values === undefined || outBase === undefined) return;
      const factor = f.local("v128");
      getReciprocalSum(f, state);
      f.set(factor);
      const target = rowAddress(fn, values.out, outBase, row);
      emitStoreRow(f, {
        source: sums,
        target,
        columns: this.#kernel.valueDepth,
        columnStride: values.out.columnStride,
        factor,
      });
    });
  }

  /** Runs `body` for each query of the unit, with its number and its parts of the scratch. */
  #forEachRow(
    f: FunctionBuilder,
    unit: Unit,
    body: (at: { readonly row: Local; readonly state: Local; readonly sums: Local }) => void,
  ): void {
    const [done, row] = [f.local("i32"), f.local("i32")];
    const state = localPlus(f, unit.state, 0);
    const sums = localPlus(f, unit.sums, 0);
    countedLoop(f, done, unit.queries.count, 1, () => {
      f.get(unit.queries.start);
      f.get(done);
      f.i32.add();
      f.set(row);
      body({ row, state, sums });
      increment(f, state, STATE_BYTES);
      increment(f, sums, this.#sumRowBytes);
    });
  }
}
