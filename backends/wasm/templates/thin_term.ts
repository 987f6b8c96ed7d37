/** A term with few rows, whose right operand is read where it lies. */
import type { MatmulTerm } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { localPlus } from "./control_flow.ts";
import { type TermAxes, type TermBlock, TermEmitter } from "./matmul_term.ts";
import { LeftOperand, type Range } from "./operands.ts";
import { chooseRowPacking } from "./pack_rows.ts";
import type { KernelFunction, ScratchLayout } from "./template.ts";
import { callThinBlock, chooseThinForm, emitThinBlock, type ThinForm } from "./thin_block.ts";

/** Up to this many rows reading in place was faster than packing. */
export const MAX_THIN_ROWS = 4;

/** Whether the term's few rows can be multiplied with its right operand in place. */
export function canBeThin({ rows, kA, columns, kB }: TermAxes): boolean {
  return rows.extent <= MAX_THIN_ROWS && chooseRowPacking(rows, kA) === "none" &&
    chooseThinForm(columns, kB) !== undefined;
}

/** Emits products of a few rows. */
export class ThinTerm extends TermEmitter {
  readonly #module: ModuleBuilder;
  readonly #axes: TermAxes;
  readonly #form: ThinForm;
  readonly #relaxedSimd: boolean;
  readonly #left: LeftOperand;
  #firstColumn: Local | undefined;

  /** For a term that {@linkcode canBeThin}. */
  constructor(
    module: ModuleBuilder,
    term: MatmulTerm,
    axes: TermAxes,
    relaxedSimd: boolean,
    layout: ScratchLayout,
  ) {
    const k = Math.max(axes.kA.extent, 1);
    super(term, axes, k);
    const form = chooseThinForm(axes.columns, axes.kB);
    if (form === undefined) throw new RangeError("The right operand cannot be read in place");
    this.#module = module;
    this.#axes = axes;
    this.#form = form;
    this.#relaxedSimd = relaxedSimd;
    this.#left = new LeftOperand(module, axes.rows, axes.kA, { rows: axes.rows.extent, k }, layout);
  }

  override begin(f: FunctionBuilder, scratch: Local): void {
    this.#left.begin(f, scratch);
    this.#firstColumn = f.local("address");
  }

  override setRows(fn: KernelFunction, batch: Local, rows: Range): void {
    this.#left.setRows(fn.f, this.base(fn, "a", batch), rows);
  }

  override setColumns(fn: KernelFunction, batch: Local, columns: Range): void {
    const { f } = fn;
    f.get(this.base(fn, "b", batch));
    f.get(columns.start);
    f.address.plus(4 * this.#axes.columns.step);
    f.set(this.#column);
  }

  override prepareColumns(): void {}

  override addBlock(f: FunctionBuilder, { rows, columns, k, ...block }: TermBlock): void {
    const b = localPlus(f, this.#column, 0);
    f.get(b);
    f.get(k.start);
    f.address.plus(4 * this.#axes.kB.step);
    f.set(b);
    const { rowTable, offset } = this.#left.block(f, rows, k);
    const between = this.#form === "rows" ? this.#axes.kB : this.#axes.columns;
    callThinBlock(f, emitThinBlock(this.#module, this.#form, this.#relaxedSimd), {
      ...block,
      rowTable,
      aOffset: offset,
      rows,
      b,
      bStep: 4 * between.step,
      k: k.count,
      columns,
    });
  }

  get #column(): Local {
    if (this.#firstColumn === undefined) throw new TypeError("The term has not begun");
    return this.#firstColumn;
  }
}
