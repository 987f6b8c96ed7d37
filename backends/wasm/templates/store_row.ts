/** Copies a finished row from scratch to a strided result. */
import type { FunctionBuilder, Local } from "../encoder.ts";
import { constant, countedLoop, increment } from "./control_flow.ts";

/** What {@linkcode emitStoreRow} copies. */
export interface StoredRow {
  /** Address of the contiguous row. */
  readonly source: Local;
  readonly target: Local;
  readonly columns: number;
  /** Elements between neighbours of the target. */
  readonly columnStride: number;
  /** Four equal lanes that every element is multiplied by. */
  readonly factor?: Local;
}

/** Emits `target[i * columnStride] = source[i] * factor`. */
export function emitStoreRow(f: FunctionBuilder, row: StoredRow): void {
  const [from, to, counter] = [f.local("address"), f.local("address"), f.local("i32")];
  f.get(row.source);
  f.set(from);
  f.get(row.target);
  f.set(to);
  const vectors = row.columnStride === 1 ? row.columns >> 2 : 0;
  countedLoop(f, counter, constant(f, vectors), 1, () => {
    f.get(to);
    f.get(from);
    f.v128.load();
    scaled(f, row.factor);
    f.v128.store();
    increment(f, from, 16);
    increment(f, to, 16);
  });
  countedLoop(f, counter, constant(f, row.columns - 4 * vectors), 1, () => {
    f.get(to);
    f.get(from);
    f.v128.load32_zero();
    scaled(f, row.factor);
    f.v128.store32_lane(0);
    increment(f, from, 4);
    increment(f, to, 4 * row.columnStride);
  });
}

function scaled(f: FunctionBuilder, factor: Local | undefined): void {
  if (factor === undefined) return;
  f.get(factor);
  f.f32x4.mul();
}
