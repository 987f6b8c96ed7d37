/** What follows the encoder: pooling, the optional hidden layer, and the classifier. */
import { add, contract, mean, reshape, sliceAxis, tanh, type Tensor } from "../graph/mod.ts";
import type { DenseParameters, Forward } from "./blocks.ts";
import { declareDense } from "./blocks.ts";
import type { VitConfig } from "./config.ts";
import { constant, lecunNormal } from "./initializers.ts";
import type { ParameterDeclaration } from "./parameters.ts";

/** The classifier and, where configured, the hidden layer before it. */
export type HeadParameters<T> = {
  readonly pre_logits?: DenseParameters<T>;
  readonly head: DenseParameters<T>;
};

/** The head's parameters: the classifier starts at zero, with the configured bias. */
export function declareHead(config: VitConfig): HeadParameters<ParameterDeclaration> {
  const { width, classes, representationSize, headBias } = config;
  const head = { kernel: constant(0), bias: constant(headBias) };
  if (representationSize === undefined) return { head: declareDense([width], [classes], head) };
  const hidden = { kernel: lecunNormal(width), bias: constant(0) };
  return {
    pre_logits: declareDense([width], [representationSize], hidden),
    head: declareDense([representationSize], [classes], head),
  };
}

/** Tokens [b, n, D] to one vector an image [b, D]: the class token's, or the mean of all. */
export function pool(tokens: Tensor, config: VitConfig): Tensor {
  if (config.pool === "gap") return mean(tokens, 1);
  const [batch = 0, , width = 0] = tokens.shape;
  return reshape(sliceAxis(tokens, 1, 0, 1), [batch, width]);
}

/** Pooled vectors [b, D] to logits [b, K], through a hidden tanh layer where there is one. */
export function classify(
  pooled: Tensor,
  parameters: HeadParameters<Tensor>,
  { tap }: Forward,
): Tensor {
  const { pre_logits: hidden, head } = parameters;
  const preLogits = hidden === undefined ? pooled : tanh(denseRow(pooled, hidden));
  return tap("logits", denseRow(tap("pre_logits", preLogits), head));
}

function denseRow(x: Tensor, { kernel, bias }: DenseParameters<Tensor>): Tensor {
  return add(contract("b d, d k -> b k", x, kernel), bias);
}
