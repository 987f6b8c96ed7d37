/** An operand's rows as products take them: where they stand, or normalised in scratch. */
import type { MatrixOperand, RowNorm } from "../../../compiler/loop_ir.ts";
import type { Local, ModuleBuilder } from "../encoder.ts";
import { constant, localPlus } from "./control_flow.ts";
import { columnAxis, rowAddress, rowAxis } from "./matrix_view.ts";
import { AxisList } from "./offset_table.ts";
import type { Range } from "./operands.ts";
import { normRowBytes } from "./norm_row_code.ts";
import { RowNormCode, type SourceRows } from "./row_norm.ts";
import type { KernelFunction, ScratchLayout } from "./template.ts";

/** Rows that are ready, and where element zero of the axis lists is. */
export interface ReadyRows {
  readonly base: Local;
  readonly rows: Range;
}

/** Sizes of an operand. */
export interface RowLimits {
  readonly rows: number;
  readonly columns: number;
  /** Rows that are wanted at once, at most. */
  readonly atOnce: number;
}

/** One of attention's operands, with the norm that its rows go through, if any. */
export class OperandRows {
  /** The axes along which products read what {@linkcode ready} gives. */
  readonly rows: AxisList;
  readonly columns: AxisList;
  readonly norm: RowNormCode | undefined;
  readonly #operand: MatrixOperand;
  readonly #offset: number;

  constructor(
    module: ModuleBuilder,
    operand: MatrixOperand,
    norm: RowNorm | undefined,
    limits: RowLimits,
    layout: ScratchLayout,
    relaxedSimd: boolean,
  ) {
    this.#operand = operand;
    const rowBytes = normRowBytes(limits.columns);
    if (norm === undefined) {
      this.rows = rowAxis(operand, limits.rows);
      this.columns = columnAxis(operand, limits.columns);
      this.#offset = 0;
      return;
    }
    this.norm = new RowNormCode(module, norm, limits.columns, relaxedSimd, layout);
    this.rows = new AxisList([{ extent: limits.atOnce, stride: rowBytes / 4 }]);
    this.columns = new AxisList([{ extent: limits.columns, stride: 1 }]);
    this.#offset = layout.reserve(limits.atOnce * rowBytes);
  }

  /** Emits what makes some rows ready; `base` is where the batch entry's first is. */
  ready(fn: KernelFunction, base: Local, rows: Range): ReadyRows {
    if (this.norm === undefined) return { base, rows };
    const { f } = fn;
    const target = localPlus(f, fn.privateScratch, this.#offset);
    this.norm.normalize(f, this.source(fn, base, rows), target);
    return { base: target, rows: { start: constant(f, 0), count: rows.count } };
  }

  /** The rows as they stand. */
  source(fn: KernelFunction, base: Local, { start, count }: Range): SourceRows {
    const { rowStride, columnStride } = this.#operand;
    return { address: rowAddress(fn, this.#operand, base, start), rowStride, columnStride, count };
  }
}
