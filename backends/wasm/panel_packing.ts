/** Brings row-major matrices into panels, and back. */
import { COLUMN_GROUP, type PanelLayout, panelWidths } from "./templates/panels.ts";

/** Rows that are moved at once: what lies between neighbours in a panel then is in the second cache. */
const ROWS_AT_ONCE = 16;

/** Part of a row-major matrix: whole neighbouring rows, or a piece of one. */
interface Piece {
  readonly row: number;
  readonly rows: number;
  /** The elements of each row. */
  readonly first: number;
  readonly end: number;
}

/**
 * Moves elements of the matrix, row-major from the place `start` on, to their places in the panels, or
 * back. Both are arrays of words, so that no NaN changes its bits.
 */
export function movePanels(
  layout: PanelLayout,
  panels: Int32Array,
  flat: Int32Array,
  start: number,
  direction: "pack" | "unpack",
): void {
  const rowLength = layout.isTransposed ? layout.k : layout.columns;
  for (let at = 0; at < flat.length;) {
    const left = flat.length - at;
    const first = (start + at) % rowLength;
    const rows = first > 0 || left < rowLength
      ? 1
      : Math.min(Math.floor(left / rowLength), ROWS_AT_ONCE);
    const end = Math.min(first + left, rowLength);
    const piece = { row: Math.floor((start + at) / rowLength), rows, first, end };
    const moved = rows * (end - first);
    movePiece(layout, panels, flat.subarray(at, at + moved), piece, direction);
    at += moved;
  }
}

function movePiece(
  { k, columns, isTransposed, widest }: PanelLayout,
  panels: Int32Array,
  flat: Int32Array,
  { row, rows, first, end }: Piece,
  direction: "pack" | "unpack",
): void {
  const length = end - first;
  const [firstColumn, endColumn] = isTransposed ? [row, row + rows] : [first, end];
  const firstK = isTransposed ? first : row;
  let panel = 0;
  for (const width of panelWidths(widest)) {
    for (; columns - panel > width - COLUMN_GROUP; panel += width) {
      const from = Math.max(panel, firstColumn);
      const to = Math.min(panel + width, endColumn);
      if (from >= to) continue;
      const [outer, inner] = isTransposed ? [to - from, length] : [rows, to - from];
      const inPanels = {
        words: panels,
        start: panel * k + firstK * width + from - panel,
        outer: isTransposed ? 1 : width,
        inner: isTransposed ? width : 1,
      };
      const start = isTransposed ? (from - row) * length : from - first;
      const inMatrix = { words: flat, start, outer: length, inner: 1 };
      if (direction === "pack") copyBlock(inPanels, inMatrix, outer, inner);
      else copyBlock(inMatrix, inPanels, outer, inner);
    }
  }
}

/** Where a block of words lies: its first, and the words between neighbours along its two axes. */
interface Block {
  readonly words: Int32Array;
  readonly start: number;
  readonly outer: number;
  readonly inner: number;
}

function copyBlock(to: Block, from: Block, outer: number, inner: number): void {
  const { words: target, inner: targetStep } = to;
  const { words: source, inner: sourceStep } = from;
  for (let row = 0; row < outer; row++) {
    let targetAt = to.start + row * to.outer;
    let sourceAt = from.start + row * from.outer;
    for (let index = 0; index < inner; index++) {
      // In bounds, as the matrix is: a check would take as long as the copy.
      target[targetAt] = source[sourceAt] as number;
      targetAt += targetStep;
      sourceAt += sourceStep;
    }
  }
}
