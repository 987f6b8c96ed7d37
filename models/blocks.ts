/** The encoder's parts: dense layers, norms, self-attention and MLP, and the block made of them. */
import {
  add,
  attention,
  contract,
  gelu,
  layerNorm,
  type Tensor,
  transpose,
  withScope,
} from "../graph/mod.ts";
import type { VitConfig } from "./config.ts";
import { constant, type Initializer, normal, xavierUniform } from "./initializers.ts";
import type { ParameterDeclaration } from "./parameters.ts";
import { declare } from "./parameters.ts";

/** A matrix and what is added after it. */
export type DenseParameters<T> = { readonly kernel: T; readonly bias: T };

/** A norm's factor and what is added after it. */
export type NormParameters<T> = { readonly scale: T; readonly bias: T };

/** Self-attention: `query`, `key` and `value` kernels [D, H, d], `out` kernel [H, d, D]. */
export type AttentionParameters<T> = {
  readonly query: DenseParameters<T>;
  readonly key: DenseParameters<T>;
  readonly value: DenseParameters<T>;
  readonly out: DenseParameters<T>;
};

/** One encoder block. */
export type BlockParameters<T> = {
  readonly norm1: NormParameters<T>;
  readonly attention: AttentionParameters<T>;
  readonly norm2: NormParameters<T>;
  readonly mlp: { readonly in: DenseParameters<T>; readonly out: DenseParameters<T> };
};

/** What a forward pass carries along beside the tensors. */
export interface Forward {
  readonly config: VitConfig;
  /** Keeps a value under a name, and gives it back. */
  readonly tap: (name: string, value: Tensor) => Tensor;
  /** Drops numbers at random while training; the identity otherwise. */
  readonly dropout: (x: Tensor) => Tensor;
}

/** A dense layer's parameters: `inputs` and `outputs` are its kernel's input and output axes. */
export function declareDense(
  inputs: readonly number[],
  outputs: readonly number[],
  initializers: { readonly kernel: Initializer; readonly bias: Initializer },
): DenseParameters<ParameterDeclaration> {
  return {
    kernel: declare([...inputs, ...outputs], initializers.kernel),
    bias: declare(outputs, initializers.bias),
  };
}

/** A norm's parameters over `width` numbers: factors of one, nothing added. */
export function declareNorm(width: number): NormParameters<ParameterDeclaration> {
  return { scale: declare([width], constant(1)), bias: declare([width], constant(0)) };
}

/** Standard deviation of the MLP's initial biases. */
const MLP_BIAS_DEVIATION = 1e-6;

/** One block's parameters, initialised as the ViT papers' code does. */
export function declareBlock(config: VitConfig): BlockParameters<ParameterDeclaration> {
  const { width, heads, mlpWidth } = config;
  const perHead = [heads, width / heads];
  const square = { kernel: xavierUniform(width, width), bias: constant(0) };
  const mlp = { kernel: xavierUniform(width, mlpWidth), bias: normal(MLP_BIAS_DEVIATION) };
  return {
    norm1: declareNorm(width),
    attention: {
      query: declareDense([width], perHead, square),
      key: declareDense([width], perHead, square),
      value: declareDense([width], perHead, square),
      out: declareDense(perHead, [width], square),
    },
    norm2: declareNorm(width),
    mlp: {
      in: declareDense([width], [mlpWidth], mlp),
      out: declareDense([mlpWidth], [width], mlp),
    },
  };
}

/** The layer norm over the last axis with the model's epsilon. */
export function normalize(x: Tensor, { scale, bias }: NormParameters<Tensor>, config: VitConfig) {
  return layerNorm(x, { scale, bias, epsilon: config.layerNormEpsilon });
}

/** `x [b, n, D]` through a plain matrix: [b, n, E]. */
export function dense(x: Tensor, { kernel, bias }: DenseParameters<Tensor>): Tensor {
  return add(contract("b n d, d e -> b n e", x, kernel), bias);
}

/**
 * A pre-norm encoder block (Dosovitskiy et al. 2021, equations 2 and 3), [b, n, D] to [b, n, D]:
 * `y = x + attention(norm1(x))`, then `y + mlp(norm2(y))`.
 */
export function encoderBlock(
  x: Tensor,
  parameters: BlockParameters<Tensor>,
  name: string,
  forward: Forward,
): Tensor {
  const { config, tap, dropout } = forward;
  const norm1 = withScope("norm1", () => normalize(x, parameters.norm1, config));
  const attended = withScope(
    "attention",
    () => selfAttention(tap(`${name}/norm1`, norm1), parameters.attention, name, forward),
  );
  const middle = tap(`${name}/+attention`, add(x, dropout(tap(`${name}/attention`, attended))));
  const norm2 = withScope("norm2", () => normalize(middle, parameters.norm2, config));
  const hidden = withScope(
    "mlp",
    () => mlp(tap(`${name}/norm2`, norm2), parameters.mlp, name, forward),
  );
  return tap(`${name}/+mlp`, add(middle, dropout(tap(`${name}/mlp`, hidden))));
}

function selfAttention(
  x: Tensor,
  parameters: AttentionParameters<Tensor>,
  name: string,
  { tap }: Forward,
): Tensor {
  const project = (part: "query" | "key" | "value") => {
    const { kernel, bias } = parameters[part];
    const projected = add(contract("b n d, d h e -> b n h e", x, kernel), bias);
    return swapTokensAndHeads(tap(`${name}/attention/${part}`, projected));
  };
  const mixed = attention(project("query"), project("key"), project("value"));
  const heads = tap(`${name}/attention/heads`, swapTokensAndHeads(mixed));
  const { kernel, bias } = parameters.out;
  return add(contract("b n h e, h e d -> b n d", heads, kernel), bias);
}

function swapTokensAndHeads(x: Tensor): Tensor {
  return transpose(x, [0, 2, 1, 3]);
}

function mlp(
  x: Tensor,
  parameters: BlockParameters<Tensor>["mlp"],
  name: string,
  { config, tap, dropout }: Forward,
): Tensor {
  const hidden = tap(`${name}/mlp/hidden`, dense(x, parameters.in));
  const active = tap(`${name}/mlp/active`, gelu(hidden, config.gelu));
  return dense(dropout(active), parameters.out);
}
