/**
 * How a packed right operand lies: panel after panel, each with a row of neighbouring columns for each
 * `k`. The panels at the end are narrower, so that columns are padded to a whole vector at most.
 */
import { roundUp } from "../../../compiler/multiples.ts";
import type { FunctionBuilder, Local } from "../encoder.ts";
import { increment } from "./control_flow.ts";

/** Columns of the narrowest panel: one vector. */
export const COLUMN_GROUP = 4;

/** The widths of the panels of an operand, the widest first. */
export function panelWidths(widest: number): number[] {
  return [16, 8, COLUMN_GROUP].filter((width) => width <= widest);
}

/** A matrix `[k, columns]` in panels, of as many elements. */
export interface PanelLayout {
  readonly k: number;
  /** A multiple of {@linkcode COLUMN_GROUP}. */
  readonly columns: number;
  /** Whether the matrix is `[columns, k]` as the user has it. */
  readonly isTransposed: boolean;
  /** Columns of the widest panels. */
  readonly widest: number;
}

/** Bytes that `columns` packed columns of length `k` take. */
export function packedColumnsBytes(columns: number, k: number): number {
  return 4 * k * roundUp(columns, COLUMN_GROUP);
}

/** Emits `body` for each panel of `columns`, in order; `left` holds the columns from it on. */
export function forEachPanel(
  f: FunctionBuilder,
  columns: Local,
  widest: number,
  body: (width: number, left: Local) => void,
): void {
  const left = f.local("i32");
  f.get(columns);
  f.set(left);
  for (const width of panelWidths(widest)) {
    f.block((done) => {
      f.loop((again) => {
        f.get(left);
        f.i32.const(width - COLUMN_GROUP);
        f.i32.le_s();
        f.brIf(done);
        body(width, left);
        increment(f, left, -width);
        f.br(again);
      });
    });
  }
}
