/**
 * Initial values of parameters, drawn on the host from counter-based random words: the same words give
 * the same bits on every machine. The formulas are those of the ViT papers' code (JAX and Flax).
 */
import { normalQuantile } from "./normal_quantile.ts";

/** Uniformly random 32-bit words: as many as asked for, the same ones each time. */
export type RandomWords = (count: number) => Uint32Array;

/** Draws the initial values of a parameter with `count` elements, in row-major order. */
export type Initializer = (count: number, words: RandomWords) => Float32Array<ArrayBuffer>;

/** A number in the open interval (0, 1): the middle of the word's slot among 2^32. */
function unit(word: number): number {
  return (word + 0.5) / 2 ** 32;
}

function draw(
  count: number,
  words: RandomWords,
  value: (u: number) => number,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  const random = words(count);
  for (let index = 0; index < count; index++) values[index] = value(unit(random[index] ?? 0));
  return values;
}

/** The same number everywhere. */
export function constant(value: number): Initializer {
  return (count) => new Float32Array(count).fill(value);
}

/** Normal with mean zero. */
export function normal(deviation: number): Initializer {
  return (count, words) => draw(count, words, (u) => deviation * normalQuantile(u));
}

/**
 * Uniform within `±sqrt(6 / (fanIn + fanOut))` (Glorot and Bengio 2010): rows and columns of the matrix
 * that the parameter is when its input axes and its output axes are flattened.
 */
export function xavierUniform(fanIn: number, fanOut: number): Initializer {
  const limit = Math.sqrt(6 / (fanIn + fanOut));
  return (count, words) => draw(count, words, (u) => limit * (2 * u - 1));
}

/** Standard deviation of a standard normal variable that is cut off at ±2. */
const TRUNCATED_DEVIATION = 0.87962566103423978;
/** The chance of a standard normal variable to lie below -2. */
const BELOW_MINUS_TWO = 0.022750131948179212;

/**
 * Normal with variance `1 / fanIn` after being cut off at two standard deviations (LeCun et al. 1998, in
 * Flax's truncated form).
 */
export function lecunNormal(fanIn: number): Initializer {
  const deviation = Math.sqrt(1 / fanIn) / TRUNCATED_DEVIATION;
  const within = 1 - 2 * BELOW_MINUS_TWO;
  return (count, words) =>
    draw(count, words, (u) => deviation * normalQuantile(BELOW_MINUS_TWO + within * u));
}
