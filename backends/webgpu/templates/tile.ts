/** How a matmul's result is divided among workgroups and their invocations. */
import type { GpuLimits } from "../capabilities.ts";
import type { Subgroups } from "../subgroups.ts";

/** One way to divide the work. All sizes are powers of two. */
export interface Tile {
  /** Rows and columns of the result that a workgroup computes. */
  readonly rows: number;
  readonly columns: number;
  /** Rows and columns that an invocation computes in registers; columns come in fours. */
  readonly ownRows: number;
  readonly ownColumns: number;
  /** Elements of the sums that are brought to workgroup memory at a time; a multiple of four. */
  readonly depth: number;
  /** Whether the operands go through workgroup memory. */
  readonly staged: boolean;
  /** Invocations that share out each sum; 1 where operands are staged. */
  readonly slices: number;
  /**
   * Invocations, one subgroup, that each load a part of the rows that all of them compute and hand it to
   * the others; 1 where each loads for itself.
   */
  readonly sharing: number;
}

/** The configurations that there are. */
export const TILES = {
  large: staged(128, 128, 8, 8, 8),
  medium: staged(64, 64, 4, 4, 16),
  small: staged(32, 32, 4, 4, 16),
  /** No workgroup memory: the caches serve the invocations that read the same. */
  direct: direct(32, 32, 4, 4, 1),
  wideDirect: direct(64, 64, 8, 8, 1),
  rowDirect: direct(1, 64, 1, 4, 1),
  /** For few results and long sums. */
  deep: direct(16, 16, 4, 4, 16),
  /** For few rows. */
  thin: direct(4, 64, 4, 4, 8),
  row: direct(1, 64, 1, 4, 8),
  /** For a driver in software, to which loads are dear and what lanes exchange costs nothing. */
  shared: shared(16, 8, 8),
  largeShared: shared(32, 8, 8),
  smallShared: shared(8, 4, 8),
} as const satisfies Readonly<Record<string, Tile>>;

/** Name of a configuration. */
export type MatmulTileName = keyof typeof TILES;

function staged(
  rows: number,
  columns: number,
  ownRows: number,
  ownColumns: number,
  depth: number,
): Tile {
  return { rows, columns, ownRows, ownColumns, depth, staged: true, slices: 1, sharing: 1 };
}

function direct(
  rows: number,
  columns: number,
  ownRows: number,
  ownColumns: number,
  slices: number,
): Tile {
  const whole = { rows, columns, ownRows, ownColumns, slices };
  return { ...whole, depth: 4, staged: false, sharing: 1 };
}

/** A workgroup is a subgroup; of the rows each of its invocations loads at least one, four at most. */
function shared(rows: number, ownColumns: number, sharing: number): Tile {
  return { ...direct(rows, ownColumns * sharing, rows, ownColumns, 1), sharing };
}

/** What matters of a device for how work is divided. */
export interface TileDevice {
  readonly limits: GpuLimits;
  /** Whether it is a processor that runs a driver in software. */
  readonly software: boolean;
  /** How its shaders use subgroups, if they can. */
  readonly subgroups?: Subgroups | undefined;
}

/** Sizes of one part of a matmul. */
export interface PartExtents {
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
  /** Length of the sums, of all terms. */
  readonly k: number;
}

/** Invocations of a workgroup. */
export function invocationsOf({ rows, columns, ownRows, ownColumns, slices }: Tile): number {
  return rows / ownRows * (columns / ownColumns) * slices;
}

/** Bytes of workgroup memory, at most: a staged row of sums has a place left empty behind it. */
function workgroupBytes(tile: Tile): number {
  const { rows, columns, depth, staged, slices } = tile;
  if (staged) return 4 * depth * (rows + 4 + columns + 4);
  return slices > 1 ? 4 * rows * columns * slices / 2 : 0;
}

/** Workgroups that compute a part. */
export function workgroupsOf(tile: Tile, { batch, rows, columns }: PartExtents): number {
  return batch * Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
}

/** Whether a device can run it. */
export function fits(tile: Tile, { limits, subgroups }: Omit<TileDevice, "software">): boolean {
  const invocations = invocationsOf(tile);
  const { sharing } = tile;
  if (sharing > 1 && (subgroups?.minSize !== sharing || subgroups.maxSize !== sharing)) {
    return false;
  }
  return invocations <= limits.maxComputeInvocationsPerWorkgroup &&
    invocations <= limits.maxComputeWorkgroupSizeX &&
    workgroupBytes(tile) <= limits.maxComputeWorkgroupStorageSize;
}

/** With fewer workgroups than this a tile leaves much of a device idle. */
const BUSY = { large: 128, medium: 48, small: 48 } as const;
/** The same for a driver in software. */
const BUSY_SOFTWARE = 4;
/** From so many multiply-adds on a driver in software is to take twice the time over its compilation. */
const LARGE_WORK = 1 << 26;
/** A tile may compute this many times as many elements as there are, edges included. */
const MOST_WASTE = 1.35;
/** Shorter sums are not worth sharing out. */
const LONG_SUM = 128;

/**
 * The largest tile that gives enough workgroups and computes little beyond the edges; with fewer
 * results than keep a device busy, one that shares out the sums.
 */
export function chooseTile(parts: readonly PartExtents[], device: TileDevice): Tile {
  const candidates = device.software ? softwareCandidates(parts) : gpuCandidates(parts);
  // One invocation for every row: any device runs it.
  const chosen = [...candidates, TILES.direct, direct(1, 4, 1, 4, 1)]
    .find((tile) => fits(tile, device));
  if (chosen === undefined) throw new RangeError("The device runs no invocations");
  return chosen;
}

/** The tiles that are worth a measurement: not far from the best by what is known of the sizes. */
export function suitableTiles(parts: readonly PartExtents[], device: TileDevice): MatmulTileName[] {
  const rows = mostRows(parts);
  const isLong = longestSum(parts) >= LONG_SUM;
  const names = Object.keys(TILES) as MatmulTileName[];
  return names.filter((name) => {
    const tile: Tile = TILES[name];
    if (!fits(tile, device)) return false;
    if (device.software ? tile.staged || tile.slices > 1 : tile.sharing > 1) return false;
    if (tile.slices > 1 && !isLong) return false;
    // Half of the rows of a tile may be beyond the edge, not more.
    return tile.ownRows === 1 ? rows <= 4 : rows > 1 && tile.ownRows < 2 * rows;
  });
}

function longestSum(parts: readonly PartExtents[]): number {
  return Math.max(...parts.map(({ k }) => k));
}

function gpuCandidates(parts: readonly PartExtents[]): Tile[] {
  const rows = mostRows(parts);
  const staged = (["large", "medium", "small"] as const)
    .filter((name) => {
      const tile = TILES[name];
      const computed = groupsOf(tile, parts) * tile.rows * tile.columns;
      return groupsOf(tile, parts) >= BUSY[name] && computed <= MOST_WASTE * resultsOf(parts);
    });
  const isLong = longestSum(parts) >= LONG_SUM;
  return [
    ...(isLong && rows === 1 ? [TILES.row] : isLong && rows <= 4 ? [TILES.thin] : []),
    ...staged.map((name) => TILES[name]),
    isLong ? TILES.deep : TILES.direct,
  ];
}

/** For a driver in software: workgroup memory is memory like any other, and barriers are slow. */
function softwareCandidates(parts: readonly PartExtents[]): Tile[] {
  const { largeShared, shared, smallShared, wideDirect, direct, rowDirect } = TILES;
  const isLarge = resultsOf(parts) * longestSum(parts) >= LARGE_WORK;
  return [
    ...(isLarge ? [largeShared] : []),
    ...[shared, smallShared, wideDirect, direct, rowDirect],
  ].filter((tile: Tile) => {
    // Invocations beyond the edges end at once, if no other waits for what they load.
    const [rows, columns] = tile.sharing > 1
      ? [tile.rows, tile.columns]
      : [tile.ownRows, tile.ownColumns];
    const up = (extent: number, by: number) => Math.ceil(extent / by) * by;
    const computed = total(
      parts,
      (part) => part.batch * up(part.rows, rows) * up(part.columns, columns),
    );
    const busy = tile === direct || tile === rowDirect ||
      groupsOf(tile, parts) >= BUSY_SOFTWARE;
    return busy && computed <= MOST_WASTE * resultsOf(parts);
  });
}

function total(parts: readonly PartExtents[], count: (part: PartExtents) => number): number {
  return parts.reduce((sum, part) => sum + count(part), 0);
}

function groupsOf(tile: Tile, parts: readonly PartExtents[]): number {
  return total(parts, (part) => workgroupsOf(tile, part));
}

function resultsOf(parts: readonly PartExtents[]): number {
  return total(parts, ({ batch, rows, columns }) => batch * rows * columns);
}

function mostRows(parts: readonly PartExtents[]): number {
  return Math.max(...parts.map(({ rows }) => rows));
}
