/** How attention's work is divided. */
import type { AttentionGradKernel, AttentionKernel } from "../../../compiler/loop_ir.ts";
import { roundUp } from "../../../compiler/multiples.ts";
import type { GpuLimits } from "../capabilities.ts";
import type { EmitOptions } from "../wgsl/module.ts";
import { sizeOf } from "../wgsl/strides.ts";
import type { TileDevice } from "./tile.ts";

/** Rows, and columns, that an invocation has of a tile. */
export const OWN = 4;
/** Components of a vec4. */
export const LETTERS = "xyzw";

/** Tiles of so many rows, and as many columns. */
export interface AttentionTile {
  /** Rows, and columns. */
  readonly size: number;
  /** Invocations along each of its sides. */
  readonly across: number;
}

/** The tiles that there are. */
export const ATTENTION_TILES = {
  attention32: square(32),
  attention64: square(64),
  /** For a driver in software, to which what lies beyond the edges is as dear as the rest. */
  attention16: square(16),
  attention20: square(20),
  attention24: square(24),
  attention28: square(28),
  attention40: square(40),
} as const satisfies Readonly<Record<string, AttentionTile>>;

/** Name of a tile of attention. */
export type AttentionTileName = keyof typeof ATTENTION_TILES;

/** The tile of kernels with norms, whose workspace has a place for each of its tiles of rows. */
export const NORMED_TILE: AttentionTile = ATTENTION_TILES.attention32;

function square(size: number): AttentionTile {
  return { size, across: size / OWN };
}

/** Attention, or its gradient. */
export type AnyAttention = AttentionKernel | AttentionGradKernel;

/** Invocations of a workgroup. */
export function attentionInvocations({ across }: AttentionTile): number {
  return across * across;
}

/** Whether a device can run a kernel in it. */
export function fitsAttention(
  tile: AttentionTile,
  { kind, queryNorm, keyNorm }: AnyAttention,
  limits: GpuLimits,
): boolean {
  if ((queryNorm ?? keyNorm) !== undefined && tile !== NORMED_TILE) return false;
  const { size, across } = tile;
  const invocations = attentionInvocations(tile);
  const stages = kind === "attention" ? 1 : 2;
  const bytes = 16 * (invocations + stages * size * across) + 8 * size;
  return invocations <= limits.maxComputeInvocationsPerWorkgroup &&
    invocations <= limits.maxComputeWorkgroupSizeX &&
    bytes <= limits.maxComputeWorkgroupStorageSize;
}

/**
 * The tile that a kernel is computed in: the one asked for, or what its sizes suggest.
 *
 * @throws {RangeError} When the tile asked for is none of attention's, or the device cannot run it.
 */
export function tileOf(kernel: AnyAttention, options: EmitOptions): AttentionTile {
  const name = options.tile ?? suitableAttentionTiles(kernel, options)[0] ?? "attention32";
  if (!isAttentionTile(name)) {
    throw new RangeError(
      `Kernel ${kernel.name} is attention, for which there is no tile "${name}"`,
    );
  }
  const tile = ATTENTION_TILES[name];
  if (fitsAttention(tile, kernel, options.limits)) return tile;
  throw new RangeError(
    `Kernel ${kernel.name} cannot be computed in tiles of ${tile.size}x${tile.size}: they take ` +
      `${attentionInvocations(tile)} invocations, or workgroup memory, that the device has not, ` +
      "or are not those that its norms' workspace is for",
  );
}

/** Whether a tile is one of attention's. */
export function isAttentionTile(name: string): name is AttentionTileName {
  return Object.hasOwn(ATTENTION_TILES, name);
}

/** Other tiles may take this many times as many lanes as the best for being worth a measurement. */
const MOST_WASTE = 1.35;
/** Lanes that a driver in software computes at a time. */
const SOFTWARE_LANES = 8;

/** The tiles that are worth a measurement, the one that sizes suggest first. */
export function suitableAttentionTiles(
  kernel: AnyAttention,
  { limits, software }: TileDevice,
): AttentionTileName[] {
  if (sizeOf(kernel.batch) * kernel.queries * kernel.keys === 0) return [];
  const names = (Object.keys(ATTENTION_TILES) as AttentionTileName[])
    .filter((name) => fitsAttention(ATTENTION_TILES[name], kernel, limits));
  if (!software) {
    const usual = names.filter((name) => ATTENTION_TILES[name].size % 32 === 0);
    return usual.length > 0 ? usual : names;
  }
  const lanes = new Map(names.map((name) => [name, lanesOf(ATTENTION_TILES[name], kernel)]));
  const of = (name: AttentionTileName) => lanes.get(name) ?? Infinity;
  const least = Math.min(...lanes.values());
  return names.filter((name) => of(name) <= MOST_WASTE * least).sort((a, b) => of(a) - of(b));
}

/** Lanes that a driver in software computes pairs of queries and keys in, those beyond the edges included. */
function lanesOf({ size, across }: AttentionTile, { queries, keys }: AnyAttention): number {
  const tiles = Math.ceil(queries / size) * Math.ceil(keys / size);
  return tiles * roundUp(across * across, SOFTWARE_LANES);
}
