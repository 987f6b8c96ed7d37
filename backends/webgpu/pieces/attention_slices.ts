/** Parts of attention's operands, and its results in memory that halves hand on. */
import { Index } from "../../../compiler/index_expr.ts";
import type {
  KernelBuffer,
  MatrixOperand,
  Statement,
  VectorOperand,
} from "../../../compiler/loop_ir.ts";
import { wholeRange } from "../../../compiler/lower/ranges.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { binary, load, rowPlace } from "../f32_expressions.ts";
import type { AnyAttention } from "../templates/attention_division.ts";
import { sizeOf } from "../wgsl/strides.ts";
import type { HandedBuffer } from "./halves.ts";

/** The operands, where they are some rows further on, or some entries along a batch axis. */
export function moved<
  Name extends string,
  Kernel extends Readonly<Partial<Record<Name, MatrixOperand | VectorOperand | undefined>>>,
>(
  kernel: Kernel,
  names: readonly Name[],
  by: number,
  axis?: number,
): Pick<Kernel, Name> {
  const operands = { ...kernel } as Pick<Kernel, Name>;
  const found: Partial<Record<Name, unknown>> = {};
  for (const name of names) {
    const operand = operands[name];
    if (operand === undefined) continue;
    const stride = axis === undefined ? operand.rowStride : operand.batchStrides[axis] ?? 0;
    found[name] = { ...operand, offset: operand.offset + by * stride };
  }
  return found as Pick<Kernel, Name>;
}

/** The batch's extents with another one for an axis. */
export function withExtent(batch: readonly number[], at: number, extent: number): number[] {
  return batch.map((whole, axis) => axis === at ? extent : whole);
}

/** Buffers that halves of a kernel hand on, behind its own. */
export class Handed {
  readonly buffers: HandedBuffer[] = [];
  readonly #own: number;

  constructor(own: readonly KernelBuffer[]) {
    this.#own = own.length;
  }

  /** Another buffer: its number among the kernel's. */
  add(name: string, elements: number): number {
    return this.#own + this.buffers.push({ name, dtype: "f32", elements }) - 1;
  }

  /** A place for a matrix of these extents, its elements in a row. */
  matrix(name: string, batch: readonly number[], rows: number, columns: number): MatrixOperand {
    const buffer = this.add(name, sizeOf(batch) * rows * columns);
    const batchStrides = stridesOf(batch, rows * columns);
    return { buffer, offset: 0, batchStrides, rowStride: columns, columnStride: 1 };
  }

  /** The same for a number each row. */
  vector(name: string, batch: readonly number[], rows: number): VectorOperand {
    const buffer = this.add(name, sizeOf(batch) * rows);
    return { buffer, offset: 0, batchStrides: stridesOf(batch, rows), rowStride: 1 };
  }
}

/** Strides of axes in front of `inner` elements in a row. */
function stridesOf(extents: readonly number[], inner: number): number[] {
  return extents.map((_, axis) => sizeOf(extents.slice(axis + 1)) * inner);
}

/** A kernel that goes over all rows of some extents. */
export function overRows(
  { name, buffers }: AnyAttention,
  extents: readonly number[],
  body: (row: Index) => readonly Statement[],
): PlainLoopKernel {
  const extent = sizeOf(extents);
  const row = Index.variable("row", extent);
  return { kind: "loops", name, buffers, parallel: { variable: "row", extent }, body: body(row) };
}

/** For each of a row's columns what the body says. */
export function eachColumn(columns: number, body: (column: Index) => Statement): Statement {
  const statement = body(Index.variable("column", columns));
  const range = wholeRange("column", columns);
  return { kind: "loop", range, vectorize: true, body: [statement] };
}

/** Adds to rows of results, which a half has found, what the other has. */
export function addedUp(
  kernel: AnyAttention,
  extents: readonly number[],
  columns: number,
  [result, partial]: readonly [MatrixOperand, MatrixOperand],
): PlainLoopKernel {
  const buffers = updating(kernel.buffers, [result.buffer]);
  return overRows({ ...kernel, buffers }, extents, (row) => [eachColumn(columns, (column) => {
    const place = (operand: MatrixOperand) =>
      rowPlace(row, extents, operand).add(column.scale(operand.columnStride));
    const value = binary(
      "add",
      load(result.buffer, place(result)),
      load(partial.buffer, place(partial)),
    );
    return { kind: "store", buffer: result.buffer, index: place(result).toExpr(), value };
  })]);
}

/** The buffers, of which some are read and written, and the others are read. */
export function updating(
  buffers: readonly KernelBuffer[],
  updated: readonly number[],
): KernelBuffer[] {
  return buffers.map((buffer, at): KernelBuffer => ({
    ...buffer,
    access: updated.includes(at) ? "update" : "read",
  }));
}
