/** Results of attention's gradient under way: sums in scratch, and how they end. */
import type { AttentionGradKernel, MatrixOperand } from "../../../compiler/loop_ir.ts";
import { roundUp } from "../../../compiler/multiples.ts";
import type { Local } from "../encoder.ts";
import { constant, countedLoop, increment, localPlus } from "./control_flow.ts";
import { matrixBase, rowAddress } from "./matrix_view.ts";
import type { NormGradSums } from "./norm_grad_sums.ts";
import { goBackThroughNorm } from "./row_norm_grad.ts";
import type { OperandRows } from "./operand_rows.ts";
import type { Range, RightOperand } from "./operands.ts";
import { emitStoreRow } from "./store_row.ts";
import type { KernelFunction } from "./template.ts";

/** What the rows of a result were normalised from, where they were. */
export interface NormedOperand {
  readonly operand: MatrixOperand;
  readonly rows: OperandRows;
  /** What flows back to the norm's vectors, if that is wanted. */
  readonly sums: NormGradSums | undefined;
}

/** One result: rows of sums, which products with the right operand add to. */
export class GradSums {
  readonly right: RightOperand;
  readonly columns: number;
  readonly #offset: number;
  readonly #result: MatrixOperand | undefined;
  readonly #normed: NormedOperand | undefined;

  /** `offset` is that of the sums in scratch. */
  constructor(
    parts: { readonly right: RightOperand; readonly columns: number; readonly offset: number },
    result: MatrixOperand | undefined,
    normed: NormedOperand | undefined,
  ) {
    this.right = parts.right;
    this.columns = parts.columns;
    this.#offset = parts.offset;
    this.#result = result;
    this.#normed = normed;
  }

  /** Bytes between rows. */
  get rowBytes(): number {
    return gradRowBytes(this.columns);
  }

  /** A new local with the address of the first row. */
  address({ f, privateScratch }: KernelFunction): Local {
    return localPlus(f, privateScratch, this.#offset);
  }

  /** Emits what ends some rows of a batch entry: the way back through their norm, and the stores. */
  finish(
    fn: KernelFunction,
    batch: AttentionGradKernel["batch"],
    entry: Local,
    rows: Range,
  ): void {
    const { f } = fn;
    const source = this.address(fn);
    const normed = this.#normed;
    if (normed?.rows.norm !== undefined) {
      const base = matrixBase(fn, normed.operand, batch, entry);
      const given = normed.rows.source(fn, base, rows);
      const sums = normed.sums?.ofUnit ?? { scale: undefined, bias: undefined };
      goBackThroughNorm(f, normed.rows.norm, given, source, this.rowBytes, sums);
    }
    const result = this.#result;
    if (result === undefined) return;
    const { columns } = this;
    const target = rowAddress(fn, result, matrixBase(fn, result, batch, entry), rows.start);
    countedLoop(f, constant(f, 0), rows.count, 1, () => {
      emitStoreRow(f, { source, target, columns, columnStride: result.columnStride });
      increment(f, source, this.rowBytes);
      increment(f, target, 4 * result.rowStride);
    });
  }
}

/** Bytes between rows of sums with as many columns. */
export function gradRowBytes(columns: number): number {
  return 4 * roundUp(columns, 8);
}
