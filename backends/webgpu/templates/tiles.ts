/** How matmuls are cut into tiles. */
import type { MatmulPart } from "../../../compiler/loop_ir.ts";
import type { GpuLimits } from "../capabilities.ts";
import { sizeOf } from "../wgsl/strides.ts";

/** A workgroup's tile of the result: each invocation has some rows and columns, by fours. */
export interface MatmulTile {
  /** Invocations along the rows. */
  readonly rowThreads: number;
  /** Invocations along the columns. */
  readonly columnThreads: number;
  /** Rows of an invocation, in fours. */
  readonly rowVectors: number;
  /** Columns of an invocation, in fours. */
  readonly columnVectors: number;
  /** How much of k is staged in workgroup memory at a time. */
  readonly depth: number;
}

/** 64 x 64 results by 256 invocations. */
export const LARGE_TILE: MatmulTile = {
  rowThreads: 16,
  columnThreads: 16,
  rowVectors: 1,
  columnVectors: 1,
  depth: 16,
};

/** 32 x 32 results by 64 invocations. */
export const SMALL_TILE: MatmulTile = {
  rowThreads: 8,
  columnThreads: 8,
  rowVectors: 1,
  columnVectors: 1,
  depth: 16,
};

/** Fewer large tiles than this leave most of a device idle. */
const FEW_TILES = 32;

/** Rows of the result in a tile. */
export function tileRows({ rowThreads, rowVectors }: MatmulTile): number {
  return 4 * rowThreads * rowVectors;
}

/** Columns of the result in a tile. */
export function tileColumns({ columnThreads, columnVectors }: MatmulTile): number {
  return 4 * columnThreads * columnVectors;
}

/** Tiles that cover a part's results. */
export function tileCounts({ batch, m, n }: MatmulPart, tile: MatmulTile) {
  const rows = sizeOf(m.map(({ extent }) => extent));
  const columns = sizeOf(n.map(({ extent }) => extent));
  return {
    batch: sizeOf(batch.map(({ extent }) => extent)),
    rows: Math.ceil(rows / tileRows(tile)),
    columns: Math.ceil(columns / tileColumns(tile)),
  };
}

/** The tile for a kernel's parts on a device. */
export function chooseTile(parts: readonly MatmulPart[], limits: GpuLimits): MatmulTile {
  const large = parts.reduce((total, part) => {
    const { batch, rows, columns } = tileCounts(part, LARGE_TILE);
    return total + batch * rows * columns;
  }, 0);
  const fits = fitsDevice(LARGE_TILE, limits);
  return fits && large >= FEW_TILES ? LARGE_TILE : SMALL_TILE;
}

/** Whether a workgroup of the tile is within the device's limits. */
export function fitsDevice(tile: MatmulTile, limits: GpuLimits): boolean {
  const { rowThreads, columnThreads, depth } = tile;
  const bytes = 4 * depth * (tileRows(tile) + tileColumns(tile));
  return rowThreads * columnThreads <= limits.maxComputeInvocationsPerWorkgroup &&
    columnThreads <= limits.maxComputeWorkgroupSizeX &&
    rowThreads <= limits.maxComputeWorkgroupSizeY &&
    bytes <= limits.maxComputeWorkgroupStorageSize;
}
