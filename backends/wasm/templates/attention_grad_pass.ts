/**
 * One phase of attention's gradient. Probabilities are recomputed from the stored logarithms of sums, as
 * tiles with a row for each key: then the products for dk and dv take them as they are, and only
 * the one for dq needs them transposed.
 */
import type { AttentionGradKernel } from "../../../compiler/loop_ir.ts";
import { roundUp } from "../../../compiler/multiples.ts";
import { staticSize } from "../../../graph/shape.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { type AttentionBlocking, chooseGradBlocking } from "./attention_blocking.ts";
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
import { gradRowBytes, GradSums } from "./grad_sums.ts";
import { columnAxis, matrixBase, rowAddress, rowAxis } from "./matrix_view.ts";
import { NormGradSums } from "./norm_grad_sums.ts";
import { AxisList, emitStrideTable } from "./offset_table.ts";
import { OperandRows, type ReadyRows } from "./operand_rows.ts";
import { LeftOperand, type Range, RightOperand, type RowBlock } from "./operands.ts";
import { emitLoadColumn, emitRowDots, emitScoreGrad } from "./score_grad.ts";
import {
  chosenMicrokernel,
  type KernelFunction,
  kernelFunction,
  type KernelPhase,
  ScratchLayout,
  type TemplateOptions,
} from "./template.ts";

/** The results of one phase, and along which axis its units divide a batch entry. */
export interface GradPass extends AttentionGradKernel {
  readonly splits: "none" | "keys" | "queries";
}

/** Locals of the function. */
interface GradLocals {
  /** Tiles with a row for each key: scores, then probabilities; and the gradient of the scores. */
  readonly probabilities: Local;
  readonly scoreGrad: Local;
  readonly probabilityTable: Local;
  readonly scoreGradTable: Local;
  /** For each query of the block, the logarithm of its sum, and the product of its two rows. */
  readonly logSumExp: Local;
  readonly delta: Local;
}

/** The block at hand. */
interface GradBlock {
  readonly entry: Local;
  readonly queries: Range;
  readonly keys: Range;
}

/** A phase as it is emitted. */
export interface EmittedGradPass {
  readonly phase: KernelPhase;
  /** Scratch that each thread needs for it. */
  readonly scratchBytes: number;
  /** What its units find for norms' vectors, still to be added up. */
  readonly normSums: readonly NormGradSums[];
}

/** Emits the phase. What its units find for norms' vectors has its place in `shared` scratch. */
export function emitGradPass(
  module: ModuleBuilder,
  pass: GradPass,
  shared: ScratchLayout,
  options: TemplateOptions,
): EmittedGradPass {
  return new GradEmitter(module, pass, shared, options).emit();
}

class GradEmitter {
  readonly #module: ModuleBuilder;
  readonly #pass: GradPass;
  readonly #relaxedSimd: boolean;
  readonly #entries: number;
  readonly #blocking: AttentionBlocking;
  readonly #layout = new ScratchLayout();
  readonly #gemm: number;
  readonly #panel: number;
  readonly #queryRows: OperandRows;
  readonly #keyRows: OperandRows;
  readonly #normSums: readonly NormGradSums[];
  readonly #k: LeftOperand;
  readonly #v: LeftOperand | undefined;
  readonly #scoreGradRows: LeftOperand | undefined;
  readonly #queryColumns: RightOperand;
  readonly #cotangentColumns: RightOperand | undefined;
  readonly #dq: GradSums | undefined;
  readonly #dk: GradSums | undefined;
  readonly #dv: GradSums | undefined;

  constructor(
    module: ModuleBuilder,
    pass: GradPass,
    shared: ScratchLayout,
    options: TemplateOptions,
  ) {
    this.#module = module;
    this.#pass = pass;
    this.#relaxedSimd = options.relaxedSimd;
    const tile = chosenMicrokernel(options);
    this.#panel = tile.columns;
    this.#gemm = emitGemmBlock(module, tile, options.relaxedSimd);
    this.#entries = staticSize(pass.batch);
    this.#blocking = chooseGradBlocking(pass, tile.rows);
    const { depth, valueDepth, v, outCotangent, queryNormGrad, keyNormGrad } = pass;
    const { queries, keys } = this.#blocking;
    this.#queryRows = this.#rows("q", pass.queries, queries);
    this.#keyRows = this.#rows("k", pass.keys, keys);
    this.#k = this.#left(this.#keyRows.rows, this.#keyRows.columns, keys, depth);
    this.#queryColumns = this.#right(
      this.#queryRows.rows,
      this.#queryRows.columns,
      queries,
      depth,
    );
    const wantsQueries = pass.dq !== undefined || queryNormGrad !== undefined;
    const wantsKeys = pass.dk !== undefined || keyNormGrad !== undefined;
    if (wantsQueries || wantsKeys) {
      this.#v = this.#left(rowAxis(v, pass.keys), columnAxis(v, valueDepth), keys, valueDepth);
      this.#cotangentColumns = this.#right(
        rowAxis(outCotangent, pass.queries),
        columnAxis(outCotangent, valueDepth),
        queries,
        valueDepth,
      );
    }
    if (wantsQueries) {
      const rows = new AxisList([{ extent: queries, stride: 1 }]);
      const columns = new AxisList([{ extent: keys, stride: this.#tileRowBytes / 4 }]);
      this.#scoreGradRows = this.#left(rows, columns, queries, keys);
    }
    const normSums = [queryNormGrad, keyNormGrad].map((results) =>
      results && new NormGradSums(results, depth, this.#units, shared)
    );
    const [querySums, keySums] = normSums;
    this.#normSums = normSums.filter((sums) => sums !== undefined);
    if (wantsQueries) {
      const { rows, columns } = this.#keyRows;
      const right = this.#right(columns, rows, depth, keys);
      const normed = { operand: pass.q, rows: this.#queryRows, sums: querySums };
      this.#dq = new GradSums(this.#sums(right, depth, this.#sumQueries), pass.dq, normed);
    }
    if (wantsKeys) {
      const { rows, columns } = this.#queryRows;
      const right = this.#right(columns, rows, depth, queries);
      const normed = { operand: pass.k, rows: this.#keyRows, sums: keySums };
      this.#dk = new GradSums(this.#sums(right, depth, keys), pass.dk, normed);
    }
    if (pass.dv !== undefined) {
      const rows = rowAxis(outCotangent, pass.queries);
      const right = this.#right(columnAxis(outCotangent, valueDepth), rows, valueDepth, queries);
      this.#dv = new GradSums(this.#sums(right, valueDepth, keys), pass.dv, undefined);
    }
  }

  emit(): EmittedGradPass {
    const { queries, keys } = this.#blocking;
    const offsets = {
      probabilities: this.#layout.reserve(keys * this.#tileRowBytes),
      scoreGrad: this.#layout.reserve(keys * this.#tileRowBytes),
      probabilityTable: this.#layout.reserve(this.#module.addressBytes * keys),
      scoreGradTable: this.#layout.reserve(this.#module.addressBytes * keys),
      logSumExp: this.#layout.reserve(4 * queries),
      delta: this.#layout.reserve(4 * queries),
    };
    const fn = kernelFunction(this.#module, this.#pass.name, this.#pass.buffers);
    const { f, privateScratch } = fn;
    const at = (offset: number) => localPlus(f, privateScratch, offset);
    const locals: GradLocals = {
      probabilities: at(offsets.probabilities),
      scoreGrad: at(offsets.scoreGrad),
      probabilityTable: at(offsets.probabilityTable),
      scoreGradTable: at(offsets.scoreGradTable),
      logSumExp: at(offsets.logSumExp),
      delta: at(offsets.delta),
    };
    for (const rows of [this.#queryRows, this.#keyRows]) rows.norm?.begin(fn);
    const operands = [this.#k, this.#v, this.#scoreGradRows, this.#queryColumns];
    const products = [this.#dq?.right, this.#dk?.right, this.#dv?.right];
    for (const operand of [...operands, this.#cotangentColumns, ...products]) {
      operand?.begin(f, privateScratch);
    }
    const rows = constant(f, keys);
    emitStrideTable(f, locals.probabilityTable, rows, locals.probabilities, this.#tileRowBytes);
    emitStrideTable(f, locals.scoreGradTable, rows, locals.scoreGrad, this.#tileRowBytes);
    whileBelow(f, fn.lo, fn.hi, () => {
      this.#runUnit(fn, locals);
      increment(f, fn.lo, 1);
    });
    return {
      phase: { functionIndex: f.index, units: this.#units, grain: 1 },
      scratchBytes: this.#layout.bytes,
      normSums: this.#normSums,
    };
  }

  get #units(): number {
    return this.#entries * this.#unitsOfEntry;
  }

  get #keyTiles(): number {
    return Math.ceil(this.#pass.keys / this.#blocking.keys);
  }

  get #queryBlocks(): number {
    return Math.ceil(this.#pass.queries / this.#blocking.queries);
  }

  get #unitsOfEntry(): number {
    const { splits } = this.#pass;
    if (splits === "none") return 1;
    return splits === "keys" ? this.#keyTiles : this.#queryBlocks;
  }

  /** Queries whose dq is under way at once. */
  get #sumQueries(): number {
    const { queries } = this.#blocking;
    return this.#pass.splits === "none" ? queries * this.#queryBlocks : queries;
  }

  get #tileRowBytes(): number {
    return 4 * roundUp(this.#blocking.queries, 8);
  }

  #left(rows: AxisList, k: AxisList, maxRows: number, maxK: number): LeftOperand {
    return new LeftOperand(this.#module, rows, k, { rows: maxRows, k: maxK }, this.#layout);
  }

  #right(columns: AxisList, k: AxisList, maxColumns: number, maxK: number): RightOperand {
    const limits = { columns: maxColumns, k: maxK, panel: this.#panel };
    return new RightOperand(this.#module, columns, k, limits, this.#layout);
  }

  #rows(operand: "q" | "k", rows: number, atOnce: number): OperandRows {
    const { depth: columns, queryNorm, keyNorm } = this.#pass;
    return new OperandRows(
      this.#module,
      this.#pass[operand],
      operand === "q" ? queryNorm : keyNorm,
      { rows, columns, atOnce },
      this.#layout,
      this.#relaxedSimd,
    );
  }

  /** Scratch for a result with as many rows, summed from products with `right`. */
  #sums(right: RightOperand, columns: number, rows: number) {
    return { right, columns, offset: this.#layout.reserve(rows * gradRowBytes(columns)) };
  }

  /** Loops over tiles of keys, and within over blocks of queries, as far as the unit reaches. */
  #runUnit(fn: KernelFunction, locals: GradLocals): void {
    const { f } = fn;
    const { splits } = this.#pass;
    const [entry, part] = [f.local("i32"), f.local("i32")];
    divideWithRest(f, fn.lo, this.#unitsOfEntry, entry, part);
    for (const sums of this.#normSums) sums.beginUnit(fn);
    const loop = (fixed: boolean, count: number, body: (index: Local) => void) => {
      if (fixed) return body(part);
      const index = f.local("i32");
      countedLoop(f, index, constant(f, count), 1, () => body(index));
    };
    loop(splits === "keys", this.#keyTiles, (tile) => {
      const keys = blockRange(f, tile, this.#blocking.keys, this.#pass.keys);
      const keyRows = this.#prepareKeys(fn, entry, keys);
      loop(splits === "queries", this.#queryBlocks, (block) => {
        const queries = blockRange(f, block, this.#blocking.queries, this.#pass.queries);
        const at = { entry, queries, keys };
        this.#prepareQueries(fn, at, locals, tile);
        this.#runBlock(fn, at, locals, keyRows);
      });
      for (const sums of [this.#dk, this.#dv]) {
        sums?.finish(fn, this.#pass.batch, entry, keys);
      }
    });
    this.#storeQuerySums(fn, entry, part);
  }

  #prepareKeys(fn: KernelFunction, entry: Local, keys: Range): KeyRows {
    const { f } = fn;
    const { k, v, batch, depth, valueDepth } = this.#pass;
    const ready = this.#keyRows.ready(fn, matrixBase(fn, k, batch, entry), keys);
    this.#k.setRows(f, ready.base, ready.rows);
    const scores = this.#k.block(f, keys.count, wholeRange(f, depth));
    this.#v?.setRows(f, matrixBase(fn, v, batch, entry), keys);
    const values = this.#v?.block(f, keys.count, wholeRange(f, valueDepth));
    if (this.#dq !== undefined) {
      this.#dq.right.setColumns(f, ready.base, wholeRange(f, depth));
      this.#dq.right.pack(f, constant(f, depth), ready.rows);
    }
    return { scores, values };
  }

  /** Packs what depends on the queries alone; if they are one block, only for the first tile of keys. */
  #prepareQueries(
    fn: KernelFunction,
    at: GradBlock,
    locals: GradLocals,
    tile: Local,
  ): void {
    const { f } = fn;
    const always = this.#queryBlocks > 1 && this.#pass.splits !== "queries";
    const pack = () => this.#packQueries(fn, at, locals);
    if (always || this.#pass.splits === "keys") return pack();
    f.get(tile);
    f.i32.eqz();
    f.if(pack);
  }

  #packQueries(fn: KernelFunction, at: GradBlock, locals: GradLocals): void {
    const { f } = fn;
    const { q, outCotangent, out, logSumExp, batch, depth, valueDepth } = this.#pass;
    const cotangentBase = matrixBase(fn, outCotangent, batch, at.entry);
    const queryRows = this.#queryRows.ready(fn, matrixBase(fn, q, batch, at.entry), at.queries);
    const cotangentRows = { base: cotangentBase, rows: at.queries };
    const packColumns = (right: RightOperand | undefined, from: ReadyRows, k: number) => {
      right?.setColumns(f, from.base, from.rows);
      right?.pack(f, at.queries.count, wholeRange(f, k));
    };
    packColumns(this.#queryColumns, queryRows, depth);
    packColumns(this.#cotangentColumns, cotangentRows, valueDepth);
    const packRows = (right: RightOperand | undefined, from: ReadyRows, columns: number) => {
      right?.setColumns(f, from.base, wholeRange(f, columns));
      right?.pack(f, constant(f, columns), from.rows);
    };
    packRows(this.#dk?.right, queryRows, depth);
    packRows(this.#dv?.right, cotangentRows, valueDepth);
    emitLoadColumn(f, {
      target: locals.logSumExp,
      source: rowAddress(
        fn,
        logSumExp,
        matrixBase(fn, logSumExp, batch, at.entry),
        at.queries.start,
      ),
      count: at.queries.count,
      stride: logSumExp.rowStride,
    });
    if (this.#cotangentColumns === undefined) return;
    const outBase = matrixBase(fn, out, batch, at.entry);
    emitRowDots(f, {
      target: locals.delta,
      count: at.queries.count,
      columns: valueDepth,
      left: rowAddress(fn, out, outBase, at.queries.start),
      leftStrides: out,
      right: rowAddress(fn, outCotangent, cotangentBase, at.queries.start),
      rightStrides: outCotangent,
    });
  }

  #runBlock(fn: KernelFunction, at: GradBlock, locals: GradLocals, rows: KeyRows): void {
    const { f } = fn;
    const { depth, valueDepth } = this.#pass;
    const tileProduct = (left: RowBlock, right: RightOperand, k: number, c: Local) =>
      this.#product(f, left, at.keys.count, right, constant(f, k), {
        columns: at.queries.count,
        c,
        cRowBytes: this.#tileRowBytes,
        accumulate: constant(f, 0),
      });
    tileProduct(rows.scores, this.#queryColumns, depth, locals.probabilities);
    const withScores = rows.values !== undefined && this.#cotangentColumns !== undefined;
    if (rows.values !== undefined && this.#cotangentColumns !== undefined) {
      tileProduct(rows.values, this.#cotangentColumns, valueDepth, locals.scoreGrad);
    }
    const { probabilities, scoreGrad, logSumExp, delta } = locals;
    for (const local of [probabilities, scoreGrad, at.keys.count]) f.get(local);
    f.i32.const(this.#tileRowBytes);
    for (const local of [at.queries.count, logSumExp, delta]) f.get(local);
    f.f32.const(this.#pass.scale);
    f.call(emitScoreGrad(this.#module, this.#relaxedSimd, withScores));
    this.#addKeySums(fn, this.#dv, locals.probabilityTable, at);
    this.#addKeySums(fn, this.#dk, locals.scoreGradTable, at);
    this.#addQuerySums(fn, locals, at);
  }

  #product(
    f: FunctionBuilder,
    left: RowBlock,
    rows: Local,
    right: RightOperand,
    k: Local,
    into: {
      readonly columns: Local;
      readonly c: Local;
      readonly cRowBytes: number;
      readonly accumulate: Local;
    },
  ): void {
    callGemmBlock(f, this.#gemm, {
      rowTable: left.rowTable,
      aOffset: left.offset,
      rows,
      packed: right.packed,
      k,
      ...into,
    });
  }

  /** Adds the product of a tile with rows of q or of the cotangent, over the block's queries. */
  #addKeySums(
    fn: KernelFunction,
    sums: GradSums | undefined,
    rowTable: Local,
    at: GradBlock,
  ): void {
    if (sums === undefined) return;
    const { f } = fn;
    const left = { rowTable, offset: noOffset(f) };
    this.#product(f, left, at.keys.count, sums.right, at.queries.count, {
      columns: constant(f, sums.columns),
      c: sums.address(fn),
      cRowBytes: sums.rowBytes,
      accumulate: at.queries.start,
    });
  }

  /** Adds the product of the transposed tile with rows of k, over the tile's keys. */
  #addQuerySums(fn: KernelFunction, locals: GradLocals, at: GradBlock): void {
    const sums = this.#dq;
    const rows = this.#scoreGradRows;
    if (sums === undefined || rows === undefined) return;
    const { f } = fn;
    rows.setRows(f, locals.scoreGrad, { start: constant(f, 0), count: at.queries.count });
    const left = rows.block(f, at.queries.count, {
      start: constant(f, 0),
      count: at.keys.count,
    });
    const c = sums.address(fn);
    if (this.#pass.splits === "none") {
      f.get(at.queries.start);
      f.address.times(sums.rowBytes);
      f.get(c);
      f.address.add();
      f.set(c);
    }
    this.#product(f, left, at.queries.count, sums.right, at.keys.count, {
      columns: constant(f, sums.columns),
      c,
      cRowBytes: sums.rowBytes,
      accumulate: at.keys.start,
    });
  }

  #storeQuerySums(fn: KernelFunction, entry: Local, part: Local): void {
    if (this.#dq === undefined) return;
    const { f } = fn;
    const queries = this.#pass.splits === "queries"
      ? blockRange(f, part, this.#blocking.queries, this.#pass.queries)
      : wholeRange(f, this.#pass.queries);
    this.#dq.finish(fn, this.#pass.batch, entry, queries);
  }
}

/** A tile's keys as the left sides of its two products. */
interface KeyRows {
  readonly scores: RowBlock;
  readonly values: RowBlock | undefined;
}

function wholeRange(f: FunctionBuilder, extent: number): Range {
  return { start: constant(f, 0), count: constant(f, extent) };
}
