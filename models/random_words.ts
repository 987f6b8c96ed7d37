/** Random numbers on the host: the same Threefry streams that the graph's random ops draw from. */
import { threefry2x32 } from "../graph/mod.ts";

/** A random key: two words. */
export type HostKey = readonly [number, number];

/**
 * The key of a seed, as `randomKey` makes it in a graph.
 *
 * @throws {RangeError} When the seed is not a whole number from 0 to 2^32 - 1.
 */
export function hostKey(seed: number): HostKey {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new RangeError(`Seed is ${seed}, wanted a whole number from 0 to ${0xffffffff}`);
  }
  return [0, seed];
}

/** A key for a use of its own, made of a key and a number or a name. */
export function hostFoldIn(key: HostKey, data: number | string): HostKey {
  return threefry2x32(key[0], key[1], 0, typeof data === "string" ? hashOf(data) : data);
}

/** The first `count` words of the key's stream: those of `randomBits`. */
export function hostWords(key: HostKey, count: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(count);
  for (let index = 0; index < count; index++) {
    const [first, second] = threefry2x32(key[0], key[1], 0, index);
    words[index] = first ^ second;
  }
  return words;
}

/** 32 bits of a text: FNV-1a over its UTF-16 code units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

/** The whole numbers below `count` in random order (Fisher and Yates; Durstenfeld 1964). */
export function hostPermutation(key: HostKey, count: number): Uint32Array<ArrayBuffer> {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  const words = hostWords(key, count);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor((words[last] ?? 0) / 2 ** 32 * (last + 1));
    const moved = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = moved;
  }
  return order;
}
