/** How attention's work is divided. */

/** Rows, and columns, of a tile. */
export const TILE = 32;
/** Rows, and columns, that an invocation has of a tile. */
export const OWN = 4;
/** Invocations along each of the tile's sides. */
export const ACROSS = TILE / OWN;
/** Components of a vec4. */
export const LETTERS = "xyzw";
