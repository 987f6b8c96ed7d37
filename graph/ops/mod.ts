/** Every op's builder. Importing this file registers all records. */
export type { Axes, Literal, Operand } from "./support.ts";
export {
  constant,
  type ConstantData,
  type ConstantOptions,
  type ConstantValue,
  dimSize,
  full,
  input,
  iota,
  ones,
  zeros,
} from "./source.ts";
export { broadcastTo } from "./broadcasting.ts";
export { bitcast, cast, select, stopGradient, where } from "./convert.ts";
export {
  abs,
  ceil,
  cos,
  erf,
  exp,
  floor,
  log,
  log1p,
  neg,
  not,
  reciprocal,
  round,
  rsqrt,
  sigmoid,
  sign,
  sin,
  sqrt,
  square,
  tanh,
} from "./unary.ts";
export {
  add,
  and,
  div,
  equal,
  greater,
  greaterEqual,
  less,
  lessEqual,
  maximum,
  minimum,
  mul,
  notEqual,
  or,
  pow,
  rem,
  shiftLeft,
  shiftRight,
  sub,
  xor,
} from "./binary.ts";
export { broadcast, expandDims, reshape, reverse, squeeze, transpose } from "./movement.ts";
export { concat, split, stack } from "./concat.ts";
export { pad, type Padding, slice, sliceAxis } from "./slice.ts";
export type {
  ArithmeticBuilder,
  ComparisonBuilder,
  ReduceBuilder,
  ReduceOptions,
  UnaryBuilder,
} from "./builder_types.ts";
export { argmax, max, mean, min, sum } from "./reduce.ts";
export { contract, matmul } from "./contract.ts";
export { gather, oneHot, scatterAdd, take } from "./indexed.ts";
export { logSoftmax, softmax } from "./softmax.ts";
export { layerNorm, type LayerNormOptions } from "./norm.ts";
export { gelu, type GeluApproximation, logSigmoid, softplus } from "./activation.ts";
export { sigmoidCrossEntropy, softmaxCrossEntropy } from "./loss.ts";
export { patchify } from "./patchify.ts";
export { attention, type AttentionOptions } from "./attention.ts";
export {
  bernoulli,
  dropout,
  foldIn,
  normal,
  randomBits,
  randomKey,
  splitKey,
  uniform,
} from "./random.ts";
export { threefry2x32 } from "./threefry.ts";
