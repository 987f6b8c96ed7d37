/** A term whose operands are packed, where they are not already, block of k by block of k. */
import type { MatmulTerm } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { clamp, countedLoop, increment, localPlus } from "./control_flow.ts";
import { callGemmBlock, emitGemmBlock } from "./gemm_block.ts";
import type { Microkernel } from "./microkernel.ts";
import { type TermAxes, type TermBlock, TermEmitter } from "./matmul_term.ts";
import { LeftOperand, type PackedAt, type Range, RightOperand, StoredPanels } from "./operands.ts";
import type { KernelFunction, ScratchLayout } from "./template.ts";

/** Largest blocks that a term is asked for. */
export interface TermLimits {
  readonly rows: number;
  /** Rows that are multiplied with all columns before the next ones are. */
  readonly rowGroup: number;
  readonly columns: number;
  /** Columns of the widest panels. */
  readonly panel: number;
  readonly k: number;
}

/** How products are made. */
export interface ProductOptions {
  /** The largest register tile. */
  readonly tile: Microkernel;
  readonly relaxedSimd: boolean;
  /** Whether the right operand lies in panels already. */
  readonly isStored: boolean;
}

/** Emits blocks of a packed product. */
export class PackedTerm extends TermEmitter {
  readonly #module: ModuleBuilder;
  readonly #limits: TermLimits;
  readonly #options: ProductOptions;
  readonly #left: LeftOperand;
  readonly #right: RightOperand | StoredPanels;

  /** Packs where `packedAt` says, or in scratch of its own. */
  constructor(
    module: ModuleBuilder,
    term: MatmulTerm,
    axes: TermAxes,
    limits: TermLimits,
    options: ProductOptions,
    layout: ScratchLayout,
    packedAt: PackedAt,
  ) {
    super(term, axes, limits.k);
    this.#module = module;
    this.#limits = limits;
    this.#options = options;
    this.#left = new LeftOperand(module, axes.rows, axes.kA, limits, layout, packedAt.left);
    this.#right = options.isStored
      ? new StoredPanels(axes.kB.extent)
      : new RightOperand(module, axes.columns, axes.kB, limits, layout, packedAt.right);
  }

  override begin(f: FunctionBuilder, scratch: Local): void {
    this.#left.begin(f, scratch);
    this.#right.begin(f, scratch);
  }

  override setRows(fn: KernelFunction, batch: Local, rows: Range): void {
    this.#left.setRows(fn.f, this.base(fn, "a", batch), rows);
  }

  override setColumns(fn: KernelFunction, batch: Local, columns: Range): void {
    this.#right.setColumns(fn.f, this.base(fn, "b", batch), columns);
  }

  override prepareColumns(f: FunctionBuilder, columnCount: Local, k: Range): void {
    if (this.#right instanceof RightOperand) this.#right.pack(f, columnCount, k);
  }

  override addBlock(f: FunctionBuilder, { rows, columns, k, ...block }: TermBlock): void {
    const { rowGroup } = this.#limits;
    const { tile, relaxedSimd } = this.#options;
    const product = emitGemmBlock(this.#module, tile, relaxedSimd);
    const firstRow = f.local("i32");
    const group = f.local("i32");
    const c = localPlus(f, block.c, 0);
    const stored = this.#options.isStored ? { kStart: k.start, kLength: this.k } : undefined;
    countedLoop(f, firstRow, rows, rowGroup, () => {
      f.get(rows);
      f.get(firstRow);
      f.i32.sub();
      f.set(group);
      clamp(f, group, 0, rowGroup);
      const { rowTable, offset } = this.#left.block(f, group, k, firstRow);
      callGemmBlock(f, product, {
        ...block,
        rowTable,
        aOffset: offset,
        rows: group,
        packed: this.#right.packed,
        k: k.count,
        stored,
        columns,
        c,
      });
      increment(f, c, block.cRowBytes * rowGroup);
    });
  }
}
