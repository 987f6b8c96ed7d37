/** Names of all the ways in which kernels that have several are divided. */
import { type AttentionTileName, isAttentionTile } from "./attention_division.ts";
import { type MatmulTileName, TILES } from "./tile.ts";

/** Name of a matmul's tile, or of attention's. */
export type TileName = MatmulTileName | AttentionTileName;

/** Whether a tile is one of matmuls'. */
export function isMatmulTile(name: string): name is MatmulTileName {
  return Object.hasOwn(TILES, name);
}

/** Whether a text names a tile. */
export function isTileName(text: string): text is TileName {
  return isMatmulTile(text) || isAttentionTile(text);
}
