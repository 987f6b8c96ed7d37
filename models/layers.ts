/** What encoder and heads are made of: linear layers and norms, and what a forward pass carries along. */
import { add, contract, layerNorm, type Tensor } from "../graph/mod.ts";
import type { NormKind, VitConfig } from "./config.ts";
import { constant, type Initializer } from "./initializers.ts";
import { declare, type ParameterDeclaration } from "./parameters.ts";

/** A matrix and, unless the configuration leaves it out, what is added after it. */
export type LinearParameters<T> = { readonly kernel: T; readonly bias?: T };

/** A linear layer that always has a bias. */
export type DenseParameters<T> = { readonly kernel: T; readonly bias: T };

/** A norm's factor and, unless the configuration leaves it out, what is added after it. */
export type NormParameters<T> = { readonly scale: T; readonly bias?: T };

/** What a forward pass carries along beside the tensors. */
export interface Forward {
  readonly config: VitConfig;
  /** Keeps a value under a name, and gives it back. */
  readonly tap: (name: string, value: Tensor) => Tensor;
  /** Drops numbers at random while training; the identity otherwise. */
  readonly dropout: (x: Tensor) => Tensor;
}

/** How a linear layer's parameters are first drawn. */
export interface LinearInitializers {
  readonly kernel: Initializer;
  readonly bias: Initializer;
}

/** A dense layer's parameters: `inputs` and `outputs` are its kernel's input and output axes. */
export function declareDense(
  inputs: readonly number[],
  outputs: readonly number[],
  { kernel, bias }: LinearInitializers,
): DenseParameters<ParameterDeclaration> {
  return { kernel: declare([...inputs, ...outputs], kernel), bias: declare(outputs, bias) };
}

/** A linear layer's parameters, as {@linkcode declareDense}'s, without a bias where it has none. */
export function declareLinear(
  inputs: readonly number[],
  outputs: readonly number[],
  initializers: LinearInitializers,
  hasBias: boolean,
): LinearParameters<ParameterDeclaration> {
  const { kernel, bias } = declareDense(inputs, outputs, initializers);
  return hasBias ? { kernel, bias } : { kernel };
}

/** A norm's parameters over `width` numbers: factors of one, nothing added. */
export function declareNorm(width: number, hasBias: boolean): NormParameters<ParameterDeclaration> {
  const scale = declare([width], constant(1));
  return hasBias ? { scale, bias: declare([width], constant(0)) } : { scale };
}

/** The layer norm or root-mean-square norm of the last axis with the model's epsilon. */
export function normalize(
  x: Tensor,
  { scale, bias }: NormParameters<Tensor>,
  kind: NormKind,
  { layerNormEpsilon: epsilon }: VitConfig,
): Tensor {
  return layerNorm(x, { scale, bias, epsilon, center: kind === "layer" });
}

/** A contraction of `x` with the layer's kernel by `pattern`, then its bias where it has one. */
export function linear(
  pattern: string,
  x: Tensor,
  { kernel, bias }: LinearParameters<Tensor>,
): Tensor {
  const product = contract(pattern, x, kernel);
  return bias === undefined ? product : add(product, bias);
}
