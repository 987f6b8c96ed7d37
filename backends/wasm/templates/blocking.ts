/** How a matmul is cut into work units and blocks that fit the caches. */
import { roundUp } from "./template.ts";

/** Sizes of a matmul, after flattening. */
export interface MatmulExtents {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Sizes of the blocks; the last block of each kind may be smaller. */
export interface Blocking {
  /** Rows of a register tile. */
  readonly tileRows: number;
  /** Rows and columns of a work unit. */
  readonly rows: number;
  readonly columns: number;
  /** Length of the sums that are made in registers at once. */
  readonly k: number;
}

/** Of a panel of eight columns this many rows, 12 KiB, leave room in the first cache for the rows of a. */
const MAX_K = 384;
/** A block of this many rows of length {@linkcode MAX_K} is a part of the second cache. */
const MAX_ROWS = 240;
const MAX_COLUMNS = 128;
/** Packing rows costs as much for few columns as for many. */
const MAX_COLUMNS_PACKED = 256;
const MIN_COLUMNS = 32;
/** Units wanted, so that several threads share the work evenly. */
const WANTED_UNITS = 16;
/** Multiplications below which a unit is not cut further. */
const MIN_UNIT_WORK = 1 << 18;

/**
 * Chooses the blocks from the sizes alone: never from the number of threads, so that results do not
 * depend on it. `packsRows` says that the left operand must be packed.
 */
export function chooseBlocking(
  extents: MatmulExtents,
  maxTileRows: number,
  packsRows: boolean,
): Blocking {
  const { batch, m, n, k } = extents;
  const tileRows = evenPart(m, maxTileRows, 1);
  const rowStep = tileRows % 4 === 0 ? tileRows : tileRows % 2 === 0 ? 2 * tileRows : 4 * tileRows;
  const kBlock = Math.max(evenPart(k, MAX_K, 8), 1);
  let rows = evenPart(m, MAX_ROWS, rowStep);
  let columns = evenPart(n, packsRows ? MAX_COLUMNS_PACKED : MAX_COLUMNS, 8);
  for (;;) {
    const units = batch * Math.ceil(m / rows) * Math.ceil(n / columns);
    if (units >= WANTED_UNITS || rows * columns * k < 2 * MIN_UNIT_WORK) break;
    const canCutColumns = columns >= 2 * MIN_COLUMNS;
    const canCutRows = rows >= 2 * rowStep && rows >= 48;
    if (canCutColumns && (!packsRows || columns > rows || !canCutRows)) {
      columns = evenPart(columns, Math.ceil(columns / 2), 8);
    } else if (canCutRows) {
      rows = evenPart(rows, Math.ceil(rows / 2), rowStep);
    } else {
      break;
    }
  }
  return { tileRows, rows, columns, k: kBlock };
}

/** The size of the parts when `total` is cut evenly into as few as have at most `limit`, rounded up. */
function evenPart(total: number, limit: number, step: number): number {
  const parts = Math.max(Math.ceil(total / limit), 1);
  return Math.max(roundUp(Math.ceil(total / parts), step), step);
}
