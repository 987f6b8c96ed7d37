/** The operands of attention's products, as an invocation reads them. */
import type { KernelBuffer, MatrixOperand } from "../../../compiler/loop_ir.ts";
import { Strides } from "../wgsl/strides.ts";
import type { AnyAttention } from "./attention_division.ts";
import type { PlacedNorm } from "./attention_norms.ts";
import type { TileWriter } from "./attention_tile.ts";
import { type OperandView, type OwnElements, SideReader, wideBuffers } from "./matmul_operand.ts";
import { RowNormLoads } from "./row_norm.ts";

/** A matrix of each batch entry, by rows or by columns. */
export interface SideSource {
  /** Of the names of its variables. */
  readonly prefix: string;
  readonly operand: MatrixOperand;
  readonly rows: number;
  readonly columns: number;
  /** The norm that its rows go through. */
  readonly norm?: PlacedNorm | undefined;
  /** Whether the norm's vectors are named, but not applied. */
  readonly unscaled?: boolean;
}

/** One side of a product, with the elements of it that an invocation has. */
export class PairSide {
  readonly own: OwnElements;
  readonly #tile: TileWriter;
  readonly #reader: SideReader;
  readonly #norm: RowNormLoads | undefined;

  private constructor(
    tile: TileWriter,
    { prefix, norm, unscaled }: SideSource,
    view: OperandView,
    own: OwnElements,
    rowsAre: "free" | "k",
  ) {
    this.own = own;
    this.#tile = tile;
    const loads = norm && new RowNormLoads(tile, prefix, norm, rowsAre, unscaled);
    this.#norm = loads;
    const context = { buffers: tile.module.buffers, locals: tile.locals };
    this.#reader = new SideReader(context, prefix, view, loads && ((part) => loads.taken(part)));
  }

  /** Some of the matrix's rows, of which products sum over the columns. */
  static ofRows(tile: TileWriter, source: SideSource, own: OwnElements): PairSide {
    return new PairSide(tile, source, viewOf(tile, source), own, "free");
  }

  /** Some of its columns, of which products sum over the rows. */
  static ofColumns(tile: TileWriter, source: SideSource, own: OwnElements): PairSide {
    const view = viewOf(tile, source);
    return new PairSide(tile, source, { ...view, free: view.k, k: view.free }, own, "k");
  }

  /** Whether four steps are loaded at once. */
  get comesAlongK(): boolean {
    return this.#reader.comesAlongK;
  }

  /** Names where the batch entry's matrix starts. */
  writeBase(): void {
    this.#reader.writeBase(this.#tile.module.code, this.#tile.name("batch"));
    this.#norm?.writeBase();
  }

  /**
   * Names where the invocation's elements are.
   *
   * @param start Of the workgroup's rows or columns.
   * @param fits Whether no tile reaches over the end.
   */
  writePlaces(start: string, fits: boolean): void {
    this.#reader.writeOwnPlaces(this.#tile.module.code, this.own, start, fits);
    this.#norm?.writeOwn(this.#reader, this.own);
  }

  /** Loads some steps' elements. `k` is the variable of the first. */
  writeLoads(k: string, steps: number): void {
    this.#norm?.writeSteps(k, steps);
    this.#reader.writeDirectLoads(this.#tile.module.code, this.own, k, steps);
  }

  /** One of them. */
  element(at: number, step: number, steps: number): string {
    return this.#reader.element(this.own, at, step, { staged: false, steps });
  }

  /** Four of them. */
  four(step: number, steps: number, four = 0): string {
    return this.#reader.four(this.own, 4 * four, step, { staged: false, steps });
  }
}

function viewOf(tile: TileWriter, { operand, rows, columns }: SideSource): OperandView {
  return matrixView(operand, tile.kernel.batch, rows, columns);
}

/** The matrix with its rows as free axis, and its columns as those that are summed over. */
function matrixView(
  operand: MatrixOperand,
  batch: readonly number[],
  rows: number,
  columns: number,
): OperandView {
  const { buffer, offset, batchStrides, rowStride, columnStride } = operand;
  return {
    buffer,
    offset,
    batch: new Strides(batch.map((extent, at) => ({ extent, stride: batchStrides[at] ?? 0 }))),
    free: new Strides([{ extent: rows, stride: rowStride }]),
    k: new Strides([{ extent: columns, stride: columnStride }]),
  };
}

/** The operands' and results' buffers, where rows or columns lie in whole fours. */
export function wideInAttention(kernel: AnyAttention): Set<KernelBuffer> {
  const { batch, queries, keys, depth, valueDepth, queryNorm, keyNorm } = kernel;
  const isGrad = kernel.kind === "attentionGrad";
  const read: readonly Matrix[] = [
    [kernel.q, queries, depth],
    [kernel.k, keys, depth],
    [kernel.v, keys, valueDepth],
    ...(isGrad
      ? [[kernel.out, queries, valueDepth], [kernel.outCotangent, queries, valueDepth]] as const
      : []),
  ];
  const written: readonly Matrix[] = isGrad
    ? [[kernel.dq, queries, depth], [kernel.dk, keys, depth], [kernel.dv, keys, valueDepth]]
    : [[kernel.out, queries, valueDepth]];
  const vectors = [queryNorm?.scale, queryNorm?.bias, keyNorm?.scale, keyNorm?.bias];
  const views = [
    ...read.flatMap(([operand, rows, columns]) =>
      operand === undefined ? [] : [matrixView(operand, batch, rows, columns)]
    ),
    ...vectors.flatMap((vector) =>
      vector === undefined
        ? []
        : [matrixView({ ...vector, batchStrides: [], rowStride: 0 }, [], 1, depth)]
    ),
  ];
  const wide = wideBuffers(kernel.buffers, views);
  // All that is stored to one buffer is stored by fours, or none of it.
  const [fours, singles] = [new Set<number>(), new Set<number>()];
  for (const [operand, , columns] of written) {
    if (operand !== undefined) {
      (rowsComeInFours(operand, columns) ? fours : singles).add(operand.buffer);
    }
  }
  for (const buffer of fours) {
    const declared = kernel.buffers[buffer];
    if (declared !== undefined && !singles.has(buffer)) wide.add(declared);
  }
  return wide;
}

type Matrix = readonly [operand: MatrixOperand | undefined, rows: number, columns: number];

/** Whether every four columns of a row lie side by side, from a multiple of four on. */
export function rowsComeInFours(
  { offset, batchStrides, rowStride, columnStride }: MatrixOperand,
  columns: number,
): boolean {
  const starts = [offset, rowStride, ...batchStrides];
  return columnStride === 1 && columns % 4 === 0 && starts.every((start) => start % 4 === 0);
}
