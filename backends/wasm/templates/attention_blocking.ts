/** How attention is cut into work units and tiles. */
import type { AttentionShape } from "../../../compiler/loop_ir.ts";
import { roundUp } from "../../../compiler/multiples.ts";

/** Queries and keys of a block of scores; the last of each may have fewer. */
export interface AttentionBlocking {
  readonly queries: number;
  readonly keys: number;
}

/** Up to this many keys make one tile: rows of scores of this length fit the first cache a few at a time. */
const MAX_TILE_KEYS = 320;
/** Queries of a unit whose keys are packed once for all units of a batch entry. */
const MAX_QUERIES = 72;
/** Queries of a unit that packs every key itself. */
const MAX_QUERIES_TILED = 192;

/** Chooses from the sizes alone, so that results do not depend on the number of threads. */
export function chooseAttentionBlocking(
  shape: AttentionShape,
  entries: number,
  tileRows: number,
): AttentionBlocking {
  const tiles = Math.ceil(shape.keys / MAX_TILE_KEYS);
  const limit = tiles > 1 && entries >= 4 ? MAX_QUERIES_TILED : MAX_QUERIES;
  const blocks = Math.max(Math.ceil(shape.queries / limit), 1);
  return {
    queries: roundUp(Math.ceil(shape.queries / blocks), tileRows),
    keys: roundUp(Math.ceil(shape.keys / tiles), 8),
  };
}

/** Keys of a tile of the gradient: what is packed of the queries is used for as many rows. */
const MAX_GRAD_KEYS = 136;
const MAX_GRAD_QUERIES = 256;

/** The same for the gradient, whose tiles have a row for each key and a column for each query. */
export function chooseGradBlocking(shape: AttentionShape, tileRows: number): AttentionBlocking {
  const tiles = Math.max(Math.ceil(shape.keys / MAX_GRAD_KEYS), 1);
  const blocks = Math.max(Math.ceil(shape.queries / MAX_GRAD_QUERIES), 1);
  return {
    queries: roundUp(Math.ceil(shape.queries / blocks), 8),
    keys: roundUp(Math.ceil(shape.keys / tiles), tileRows),
  };
}
