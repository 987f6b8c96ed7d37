/**
 * Random tensors from a key and the element's place alone: no state, the same bits everywhere. A key
 * is a u32[2]; make as many as are needed with {@linkcode foldIn} and {@linkcode splitKey}, and use
 * each once.
 */
import type { DType } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import type { Node, Tensor } from "../node.ts";
import { elementCount, sameShape, type Shape } from "../shape.ts";
import type { Plain } from "../shape_types.ts";
import { less, mul, shiftRight, sub } from "./binary.ts";
import { broadcastTo, inArithmetic } from "./broadcasting.ts";
import { cast, select } from "./convert.ts";
import { reshape } from "./movement.ts";
import { concat } from "./concat.ts";
import { sliceAxis } from "./slice.ts";
import { constant, iota, zeros } from "./source.ts";
import { at, range, requireDType, textsOf } from "./support.ts";
import { threefry, type ThreefryWord } from "./threefry.ts";
import { cos, log, sqrt } from "./unary.ts";

/**
 * The key of a seed, a whole number below 2^32: the words (0, seed).
 *
 * @throws {RangeError} When the seed is something else.
 */
export function randomKey(seed: number): Tensor<"u32", [2]> {
  return constant([0, seed], { dtype: "u32" });
}

function keyWords(op: string, key: Tensor, shape: Shape): [Node, Node] {
  if (key.dtype !== "u32") throw new DTypeError(op, "the key is not u32", textsOf([key]));
  if (!sameShape(key.shape, [2])) throw new ShapeError(op, "the key is not a [2]", textsOf([key]));
  const word = (place: number) =>
    broadcastTo(reshape(sliceAxis(key, 0, place, place + 1), []), shape);
  return [word(0), word(1)];
}

/** A word of the block whose counter is (0, flat index of the element). */
function streamBits(op: string, key: Tensor, shape: Shape, word: ThreefryWord): Node {
  const places = reshape(iota([elementCount(shape)], "u32"), shape);
  return threefry(word, keyWords(op, key, shape), [zeros(shape, "u32"), places]);
}

/**
 * 32 random bits an element, as u32: the xor of the words of Threefry's block with counter (0, flat
 * index). These are the bits of JAX's partitionable Threefry.
 *
 * @throws {ShapeError} When the key is not a u32[2].
 */
export function randomBits<const S extends Shape>(
  key: Tensor,
  shape: S,
): Tensor<"u32", Plain<S>>;
export function randomBits(key: Tensor, shape: Shape): Node {
  return streamBits("randomBits", key, shape, "xor");
}

/**
 * A new key made of a key and a number (u32): the block with counter (0, data).
 *
 * @throws {DTypeError} When `data` is not u32.
 */
export function foldIn(key: Tensor, data: Tensor | number): Tensor<"u32", [2]> {
  const counter = typeof data === "number" ? constant(data, { dtype: "u32" }) : data;
  requireDType("foldIn", [counter], ["u32"]);
  if (counter.shape.length !== 0) {
    throw new ShapeError("foldIn", "the number is not a scalar", textsOf([counter]));
  }
  const words = keyWords("foldIn", key, []);
  const word = (name: ThreefryWord) =>
    reshape(threefry(name, words, [constant(0, { dtype: "u32" }), counter]), [1]);
  return concat([word("first"), word("second")], 0) as Tensor<"u32", [2]>;
}

/**
 * `count` new keys, independent of each other and of the numbers drawn with others: key `i` is the
 * block with counter (0, i).
 *
 * @throws {RangeError} When `count` is not a whole number >= 1.
 */
export function splitKey(key: Tensor, count = 2): Tensor<"u32", [2]>[] {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(`splitKey: cannot make ${count} keys: wanted a whole number >= 1`);
  }
  return range(count).map((index) => foldIn(key, index));
}

/** The upper 24 bits as a fraction in [0, 1), exactly. */
function fraction(bits: Node): Node {
  return mul(cast(shiftRight(bits, 8), "f32"), 2 ** -24);
}

/**
 * Uniform numbers in [0, 1), f32: multiples of 2^-24.
 *
 * @throws {ShapeError} When the key is not a u32[2].
 */
export function uniform<const S extends Shape>(
  key: Tensor,
  shape: S,
): Tensor<"f32", Plain<S>>;
export function uniform(key: Tensor, shape: Shape): Node {
  return fraction(streamBits("uniform", key, shape, "xor"));
}

/**
 * Normal numbers of mean 0 and variance 1, f32, by the cosine branch of Box and Muller 1958 over the
 * two words of a block. The largest possible is 5.8.
 *
 * @throws {ShapeError} When the key is not a u32[2].
 */
export function normal<const S extends Shape>(
  key: Tensor,
  shape: S,
): Tensor<"f32", Plain<S>>;
export function normal(key: Tensor, shape: Shape): Node {
  const positive = sub(1, fraction(streamBits("normal", key, shape, "first")));
  const angle = mul(fraction(streamBits("normal", key, shape, "second")), 2 * Math.PI);
  return mul(sqrt(mul(log(positive), -2)), cos(angle));
}

/**
 * Truth values, true with the given probability.
 *
 * @throws {RangeError} When the probability is not in [0, 1].
 */
export function bernoulli<const S extends Shape>(
  key: Tensor,
  probability: number,
  shape: S,
): Tensor<"bool", Plain<S>>;
export function bernoulli(key: Tensor, probability: number, shape: Shape): Node {
  if (!(probability >= 0 && probability <= 1)) {
    throw new RangeError(`bernoulli: probability ${probability} is not in [0, 1]`);
  }
  return less(uniform(key, shape), probability);
}

/**
 * `x` with each element set to 0 with probability `rate`, and the others scaled by 1 / (1 - rate)
 * (Srivastava et al. 2014). At rate 0 it is `x` itself.
 *
 * @throws {RangeError} When the rate is not in [0, 1).
 */
export function dropout<D extends DType, S extends Shape>(
  key: Tensor,
  x: Tensor<D, S>,
  rate: number,
): Tensor<D, S>;
export function dropout(key: Tensor, x: Tensor, rate: number): Node {
  if (!(rate >= 0 && rate < 1)) {
    throw new RangeError(`dropout: rate ${rate} is not in [0, 1)`);
  }
  if (rate === 0) return x;
  requireDType("dropout", [x], ["f32", "f16", "bf16"]);
  const kept = bernoulli(key, 1 - rate, x.shape);
  return inArithmetic([x], (operands) => select(kept, mul(at(operands, 0), 1 / (1 - rate)), 0));
}
