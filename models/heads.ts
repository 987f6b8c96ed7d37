/** What follows the encoder: pooling, the optional hidden layer, and the classifier. */
import { mean, reshape, sliceAxis, tanh, type Tensor, withScope } from "../graph/mod.ts";
import type { VitConfig } from "./config.ts";
import { constant, lecunNormal } from "./initializers.ts";
import { declareDense, type DenseParameters, type Forward, linear } from "./layers.ts";
import { declareMap, type MapParameters, mapPool } from "./map_head.ts";
import type { ParameterDeclaration } from "./parameters.ts";

/** The classifier and, where configured, the attention pooling and the hidden layer before it. */
export type HeadParameters<T> = {
  readonly map?: MapParameters<T>;
  readonly pre_logits?: DenseParameters<T>;
  readonly head: DenseParameters<T>;
};

/** The head's parameters: the classifier starts at zero, with the configured bias. */
export function declareHead(config: VitConfig): HeadParameters<ParameterDeclaration> {
  const { width, classes, representationSize, headBias } = config;
  const head = { kernel: constant(0), bias: constant(headBias) };
  const map = config.pool === "map" ? { map: declareMap(config) } : {};
  if (representationSize === undefined) {
    return { ...map, head: declareDense([width], [classes], head) };
  }
  const hidden = { kernel: lecunNormal(width), bias: constant(0) };
  return {
    ...map,
    pre_logits: declareDense([width], [representationSize], hidden),
    head: declareDense([representationSize], [classes], head),
  };
}

/**
 * Tokens [b, n, D] to one vector an image [b, D]: what a probe gathers from all of them, their mean, or
 * the class token's.
 */
export function pool(
  tokens: Tensor,
  { map }: HeadParameters<Tensor>,
  forward: Forward,
): Tensor {
  if (map !== undefined) return withScope("map", () => mapPool(tokens, map, forward));
  if (forward.config.pool === "gap") return mean(tokens, 1);
  const [batch = 0, , width = 0] = tokens.shape;
  return reshape(sliceAxis(tokens, 1, 0, 1), [batch, width]);
}

/** Pooled vectors [b, D] to logits [b, K], through a hidden tanh layer where there is one. */
export function classify(
  pooled: Tensor,
  { pre_logits: hidden, head }: HeadParameters<Tensor>,
  { tap }: Forward,
): Tensor {
  const preLogits = hidden === undefined ? pooled : tanh(linear("b d, d k -> b k", pooled, hidden));
  return tap("logits", linear("b d, d k -> b k", tap("pre_logits", preLogits), head));
}
