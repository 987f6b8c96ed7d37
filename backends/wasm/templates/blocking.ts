/** How a matmul is cut into work units and blocks that fit the caches. */
import { roundUp } from "../../../compiler/multiples.ts";
import type { Microkernel } from "./microkernel.ts";
import type { RowPacking } from "./pack_rows.ts";

/** Sizes of a matmul, after flattening. */
export interface MatmulExtents {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  /** Length of each term's sums. */
  readonly k: readonly number[];
}

/** Sizes of the blocks; the last block of each kind may be smaller. */
export interface Blocking {
  /** Rows of a register tile. */
  readonly tileRows: number;
  /** Rows and columns of a work unit. */
  readonly rows: number;
  readonly columns: number;
  /** As many units at most, with the same rows and neighbouring columns, are computed together. */
  readonly run: number;
  /** Rows of a unit that are multiplied with all its columns before the next ones are. */
  readonly rowGroup: number;
  /** Length of the sums that are made in registers at once, in each term. */
  readonly k: readonly number[];
  /** Whether all terms' packed columns fit in scratch, so that they are packed once for all rows. */
  readonly columnsStay: boolean;
  /** How many units share the sums of one block of rows and columns, each over a slice of k. */
  readonly kSlices: number;
}

/** Limits of the blocks: the fastest measured. */
interface BlockLimits {
  /** Of sums made at once; a panel of eight columns and a few rows of that length fit the first cache. */
  readonly k: number;
  readonly rows: number;
  /**
   * With twice as many, how fast a kernel was depended on where its code and data happened to lie: rows,
   * read once for every panel, drove each other, and the code, out of the second cache.
   */
  readonly rowGroup: number;
  readonly columns: number;
  /** Of all units computed together: rows are brought near once for all of them. */
  readonly runColumns: number;
}

const IN_PLACE: BlockLimits = { k: 512, rows: 400, rowGroup: 48, columns: 64, runColumns: 192 };
/** Panels that are packed already cost no scratch, and longer sums save loading and storing them. */
const STORED: BlockLimits = { ...IN_PLACE, k: 768 };
/** Where units that share packed columns follow each other. */
const COLUMNS_STAY: BlockLimits = { ...IN_PLACE, columns: 128, runColumns: 128 };
/** Packing rows costs as much for few columns as for many. */
const PACKED_ROWS: BlockLimits = { k: 384, rows: 240, rowGroup: 96, columns: 256, runColumns: 512 };
/** Units with the same rows are computed together: narrow ones are only shared more evenly. */
const COPIED_ROWS: BlockLimits = { ...PACKED_ROWS, columns: IN_PLACE.columns };
/** Several blocks of k are multiples of it, which the microkernel's rounds divide. */
const K_STEP = 32;
/** The same where evenness counts for more. */
const SLICE_STEP = 8;
/** A block that is a whole slice may be longer by so much: better than two. */
const MOST_IN_SLICE = 1.1;
const MIN_COLUMNS = 32;
/** The same where no operand has to be packed: then columns cost nothing but their products. */
const MIN_STORED_COLUMNS = 16;
/** Units wanted, so that several threads share the work evenly. */
const WANTED_UNITS = 16;
/** So few units are better a multiple of this: as many for each of two threads, or four. */
const EVEN_UNITS = 4;
/** A slice of k is at least as long, so that adding the slices up costs little. */
const MIN_SLICE_K = 256;
/** Limit of the memory that the sums of all slices take. */
const MAX_SLICES_BYTES = 4 << 20;
/** Multiplications below which a unit is not cut further. */
const MIN_UNIT_WORK = 1 << 18;

/** What else the blocks depend on. */
export interface BlockingOptions {
  /** How the left operands must be packed. */
  readonly rowPackings: readonly RowPacking[];
  /** Whether a right operand must be. */
  readonly packsColumns: boolean;
  /** How much of the kernel's work this is, from 0 to 1, and so how many of the units wanted. */
  readonly share: number;
}

/**
 * Chooses the blocks from the sizes alone: never from the number of threads, so that results do not
 * depend on it.
 */
export function chooseBlocking(
  extents: MatmulExtents,
  tile: Microkernel,
  { rowPackings, packsColumns, share }: BlockingOptions,
): Blocking {
  const { m, n, k } = extents;
  const packsRows = rowPackings.some((packing) => packing !== "none");
  const totalK = sumOf(k);
  const columnsFit = packsColumns && 0 < totalK &&
    totalK <= (packsRows ? PACKED_ROWS : COLUMNS_STAY).k;
  const copiesRows = rowPackings.every((packing) => packing === "none" || packing === "copy");
  const columnsFirst = !packsRows || (copiesRows && !columnsFit);
  const limits = packsRows
    ? columnsFirst ? COPIED_ROWS : PACKED_ROWS
    : columnsFit
    ? COLUMNS_STAY
    : packsColumns
    ? IN_PLACE
    : STORED;
  const tileRows = evenPart(m, tile.rows, 1);
  const rowStep = rowPackings.includes("transpose") ? multipleOf4(tileRows) : tileRows;
  const whole = {
    tileRows,
    rows: evenPart(m, limits.rows, rowStep),
    columns: evenPart(n, limits.columns, tile.columns),
  };
  const units = Math.max(Math.ceil(WANTED_UNITS * share), 1);
  const minColumns = packsColumns ? MIN_COLUMNS : MIN_STORED_COLUMNS;
  const isWide = columnsFirst && n >= minColumns * units / 2;
  const wantedSlices = packsRows && !isWide ? chooseSlicesOfK(extents, whole, units) : 1;
  const limit = blockLimit(totalK, wantedSlices, limits.k);
  const kStep = wantedSlices > 1 ? SLICE_STEP : K_STEP;
  const kBlock = k.map((length) => evenPart(length, limit, length > limit ? kStep : SLICE_STEP));
  const kBlocks = sumOf(k.map((length, term) => Math.ceil(length / (kBlock[term] ?? 1))));
  const isSliced = wantedSlices > 1 && kBlocks > 1;
  const columnsStay = columnsFit && !isSliced;
  const steps = { rows: rowStep, columns: tile.columns };
  const unit = isSliced
    ? whole
    : cutUnits(extents, whole, steps, { columnsFirst, minColumns, units });
  return {
    ...unit,
    run: columnsStay ? 1 : runLength(n, unit.columns, limits.runColumns),
    rowGroup: evenPart(unit.rows, limits.rowGroup, rowStep),
    k: kBlock,
    columnsStay,
    // As many slices as have at least one block.
    kSlices: isSliced ? Math.ceil(kBlocks / Math.ceil(kBlocks / wantedSlices)) : 1,
  };
}

/** Elements of the right operand that a unit of a thin product reads at least. */
const MIN_THIN_ELEMENTS = 1 << 16;
/** Panels begin at units' first columns. */
const WIDEST_PANEL = 16;
/** Columns whose sums, a row at a time, stay in the first cache. */
const MAX_THIN_COLUMNS = 2048;

/** Chooses the blocks of a product of a few rows with a right operand that is read where it lies. */
export function chooseThinBlocking({ m, n, k }: MatmulExtents, share: number): Blocking {
  const wanted = Math.max(Math.ceil(WANTED_UNITS * share), 1);
  const least = MIN_THIN_ELEMENTS / Math.max(sumOf(k), 1);
  const limit = Math.min(Math.max(n / wanted, least, 1), MAX_THIN_COLUMNS);
  const columns = evenPart(n, limit, WIDEST_PANEL);
  return {
    tileRows: m,
    rows: Math.max(m, 1),
    columns,
    run: runLength(n, columns, MAX_THIN_COLUMNS),
    rowGroup: Math.max(m, 1),
    k: k.map((length) => Math.max(length, 1)),
    columnsStay: false,
    kSlices: 1,
  };
}

function runLength(n: number, columns: number, limit: number): number {
  return Math.max(Math.min(Math.floor(limit / columns), Math.ceil(n / columns)), 1);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

interface Tile {
  readonly tileRows: number;
  readonly rows: number;
  readonly columns: number;
}

function countTiles({ batch, m, n }: MatmulExtents, { rows, columns }: Tile): number {
  return batch * Math.ceil(m / rows) * Math.ceil(n / columns);
}

/**
 * Slices of k, where both operands are packed and a long k offers more work than few rows and columns:
 * cutting those would pack each operand several times.
 */
function chooseSlicesOfK(extents: MatmulExtents, tile: Tile, units: number): number {
  const { batch, m, n } = extents;
  const k = sumOf(extents.k);
  if (batch * m * n * k < 2 * MIN_UNIT_WORK) return 1;
  const tiles = countTiles(extents, tile);
  const bytes = 4 * batch * m * roundUp(n, 8);
  const most = Math.min(Math.floor(k / MIN_SLICE_K), Math.floor(MAX_SLICES_BYTES / bytes));
  const slices = Math.max(Math.min(Math.ceil(units / tiles), most), 1);
  const even = EVEN_UNITS / greatestDivisor(tiles, EVEN_UNITS);
  return slices > even ? slices - slices % even : slices;
}

interface CutOptions {
  /** Columns are cut before rows: where bringing the same rows to several units costs little. */
  readonly columnsFirst: boolean;
  readonly minColumns: number;
  /** How many are wanted. */
  readonly units: number;
}

/**
 * Cuts rows and columns until there are enough units for several threads. Columns are cut first where
 * rows are read in place, which packs nothing twice, or only copied.
 */
function cutUnits(
  extents: MatmulExtents,
  tile: Tile,
  steps: Microkernel,
  { columnsFirst, minColumns, units }: CutOptions,
): Tile {
  const k = sumOf(extents.k);
  let { rows, columns } = tile;
  const count = () => countTiles(extents, { ...tile, rows, columns });
  const isLarge = () => rows * columns * k >= 2 * MIN_UNIT_WORK;
  if (columnsFirst && isLarge()) {
    const blocks = Math.ceil(units * Math.ceil(extents.n / columns) / count());
    const least = Math.max(minColumns, MIN_UNIT_WORK / (rows * k));
    columns = Math.min(
      columns,
      evenPart(extents.n, Math.max(extents.n / blocks, least), steps.columns),
    );
  }
  while (count() < units && isLarge()) {
    if (columns >= 2 * minColumns && columns > rows) {
      columns = evenPart(columns, Math.ceil(columns / 2), steps.columns);
    } else if (rows >= 2 * steps.rows && rows >= 48) {
      rows = halfOfRows(extents.m, rows, steps.rows);
    } else {
      break;
    }
  }
  return { ...tile, rows, columns };
}

/** Length of a block of k at most: so that slices have as many blocks each, of about the same length. */
function blockLimit(totalK: number, slices: number, most: number): number {
  if (slices === 1) return Math.max(Math.min(most, totalK), 1);
  const slice = totalK / slices;
  return Math.ceil(slice / Math.ceil(slice / (most * MOST_IN_SLICE)));
}

/** Rows of about half as many: of two numbers of parts, that which leaves the last part fuller. */
function halfOfRows(m: number, rows: number, step: number): number {
  const parts = 2 * Math.ceil(m / rows);
  const [even, odd] = [parts, parts + 1].map((count) => evenPart(m, Math.ceil(m / count), step));
  if (even === undefined || odd === undefined) return rows;
  const padded = (size: number) => roundUp(m, size);
  return padded(odd) < padded(even) ? odd : even;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** The least multiple of 4 that is one of `step`. */
function multipleOf4(step: number): number {
  return step % 4 === 0 ? step : step % 2 === 0 ? 2 * step : 4 * step;
}

/** The size of the parts when `total` is cut evenly into as few as have at most `limit`, rounded up. */
function evenPart(total: number, limit: number, step: number): number {
  const parts = Math.max(Math.ceil(total / limit), 1);
  return Math.max(roundUp(Math.ceil(total / parts), step), step);
}
