/** The encoder's parts: self-attention and MLP, and the serial and the parallel block made of them. */
import { add, attention, gelu, type Tensor, transpose, withScope } from "../graph/mod.ts";
import type { VitConfig } from "./config.ts";
import { constant, normal, xavierUniform } from "./initializers.ts";
import {
  declareLinear,
  declareNorm,
  type Forward,
  linear,
  type LinearParameters,
  normalize,
  type NormParameters,
} from "./layers.ts";
import type { ParameterDeclaration } from "./parameters.ts";

/** Multi-head attention's `out` kernel [H, d, D] and `key` and `value` kernels [D, H, d]. */
export type MixingParameters<T> = {
  readonly key: LinearParameters<T>;
  readonly value: LinearParameters<T>;
  readonly out: LinearParameters<T>;
};

/** Self-attention: {@linkcode MixingParameters}, and the `query` kernel [D, H, d]. */
export type AttentionParameters<T> = MixingParameters<T> & {
  readonly query: LinearParameters<T>;
  /** [d], shared by all heads; only with QK-norm. */
  readonly queryNorm?: NormParameters<T>;
  /** [d], shared by all heads; only with QK-norm. */
  readonly keyNorm?: NormParameters<T>;
};

/** The MLP: `in` kernel [D, M], `out` kernel [M, D]. */
export type MlpParameters<T> = {
  readonly in: LinearParameters<T>;
  readonly out: LinearParameters<T>;
};

/** One encoder block. */
export type BlockParameters<T> = {
  readonly norm1: NormParameters<T>;
  readonly attention: AttentionParameters<T>;
  /** Only in the serial block: in the parallel one, attention and MLP share the first norm. */
  readonly norm2?: NormParameters<T>;
  readonly mlp: MlpParameters<T>;
};

/** A [D, H, d] projection to queries, keys or values, initialised as the ViT papers' code does. */
export function declareProjection(config: VitConfig): LinearParameters<ParameterDeclaration> {
  const { width, heads, qkvBias } = config;
  return declareLinear([width], [heads, width / heads], squareInitializers(width), qkvBias);
}

/** The parameters of a multi-head attention but for its queries. */
export function declareMixing(config: VitConfig): MixingParameters<ParameterDeclaration> {
  const { width, heads, outBias } = config;
  return {
    key: declareProjection(config),
    value: declareProjection(config),
    out: declareLinear([heads, width / heads], [width], squareInitializers(width), outBias),
  };
}

function squareInitializers(width: number) {
  return { kernel: xavierUniform(width, width), bias: constant(0) };
}

/** Standard deviation of the MLP's initial biases. */
const MLP_BIAS_DEVIATION = 1e-6;

/** An MLP's parameters, initialised as the ViT papers' code does. */
export function declareMlp(config: VitConfig): MlpParameters<ParameterDeclaration> {
  const { width, mlpWidth, mlpBias } = config;
  const initializers = {
    kernel: xavierUniform(width, mlpWidth),
    bias: normal(MLP_BIAS_DEVIATION),
  };
  return {
    in: declareLinear([width], [mlpWidth], initializers, mlpBias),
    out: declareLinear([mlpWidth], [width], initializers, mlpBias),
  };
}

/** One block's parameters. */
export function declareBlock(config: VitConfig): BlockParameters<ParameterDeclaration> {
  const { width, normBias, block } = config;
  return {
    norm1: declareNorm(width, normBias),
    attention: {
      query: declareProjection(config),
      ...declareMixing(config),
      ...declareQkNorms(config),
    },
    ...(block === "serial" ? { norm2: declareNorm(width, normBias) } : {}),
    mlp: declareMlp(config),
  };
}

function declareQkNorms({ width, heads, qkNorm, qkNormBias }: VitConfig) {
  if (qkNorm === "none") return {};
  const perHead = declareNorm(width / heads, qkNormBias);
  return { queryNorm: perHead, keyNorm: perHead };
}

/** A pre-norm encoder block of the configured form, [b, n, D] to [b, n, D]. */
export function encoderBlock(
  x: Tensor,
  parameters: BlockParameters<Tensor>,
  name: string,
  forward: Forward,
): Tensor {
  const { norm1, norm2 } = parameters;
  const normalized = normalizeIn("norm1", x, norm1, name, forward);
  const attended = withScope(
    "attention",
    () => forward.tap(`${name}/attention`, selfAttention(normalized, parameters, name, forward)),
  );
  return norm2 === undefined
    ? finishParallel({ x, normalized, attended }, parameters, name, forward)
    : finishSerial({ x, attended }, parameters.mlp, norm2, name, forward);
}

/**
 * The rest of Dosovitskiy et al. 2021, equations 2 and 3: `y = x + attention(norm1(x))`, then
 * `y + mlp(norm2(y))`.
 */
function finishSerial(
  { x, attended }: { readonly x: Tensor; readonly attended: Tensor },
  parameters: MlpParameters<Tensor>,
  norm2: NormParameters<Tensor>,
  name: string,
  forward: Forward,
): Tensor {
  const { tap, dropout } = forward;
  const middle = tap(`${name}/+attention`, add(x, dropout(attended)));
  const normalized = normalizeIn("norm2", middle, norm2, name, forward);
  const changed = withScope("mlp", () => mlp(normalized, parameters, `${name}/mlp`, forward));
  return tap(`${name}/+mlp`, add(middle, dropout(changed)));
}

/**
 * The rest of Dehghani et al. 2023, section 2: `x + (attention(norm1(x)) + mlp(norm1(x)))`. There,
 * one layer gives the sum in the brackets, so numbers are dropped from the sum, once.
 */
function finishParallel(
  { x, normalized, attended }: Record<"x" | "normalized" | "attended", Tensor>,
  parameters: BlockParameters<Tensor>,
  name: string,
  forward: Forward,
): Tensor {
  const { tap, dropout } = forward;
  const changed = withScope("mlp", () => mlp(normalized, parameters.mlp, `${name}/mlp`, forward));
  return tap(`${name}/+mlp`, add(x, dropout(add(attended, changed))));
}

function normalizeIn(
  part: "norm1" | "norm2",
  x: Tensor,
  parameters: NormParameters<Tensor>,
  name: string,
  { config, tap }: Forward,
): Tensor {
  const normalized = withScope(part, () => normalize(x, parameters, config.norm, config));
  return tap(`${name}/${part}`, normalized);
}

function selfAttention(
  x: Tensor,
  { attention: parameters }: BlockParameters<Tensor>,
  name: string,
  forward: Forward,
): Tensor {
  const { config, tap } = forward;
  const { qkNorm } = config;
  const { query, queryNorm, key, keyNorm, value } = parameters;
  const project = (
    part: string,
    layer: LinearParameters<Tensor>,
    norm?: NormParameters<Tensor>,
  ) => {
    const path = `${name}/attention/${part}`;
    const projected = tap(path, projectToHeads(x, layer));
    if (norm === undefined || qkNorm === "none") return swapTokensAndHeads(projected);
    const normed = withScope(`${part}Norm`, () => normalize(projected, norm, qkNorm, config));
    return swapTokensAndHeads(tap(`${path}Norm`, normed));
  };
  const queries = project("query", query, queryNorm);
  const keys = project("key", key, keyNorm);
  const values = project("value", value);
  return mixHeads([queries, keys, values], parameters.out, `${name}/attention`, forward);
}

/** Tokens [b, n, D] to queries, keys or values, [b, n, H, d]. */
export function projectToHeads(x: Tensor, layer: LinearParameters<Tensor>): Tensor {
  return linear("b n d, d h e -> b n h e", x, layer);
}

/** [b, n, H, d] to [b, H, n, d] and back. */
export function swapTokensAndHeads(x: Tensor): Tensor {
  return transpose(x, [0, 2, 1, 3]);
}

/** Attention over queries, keys and values [b, H, .., d], and the projection of its heads to [b, n, D]. */
export function mixHeads(
  [queries, keys, values]: readonly [Tensor, Tensor, Tensor],
  out: LinearParameters<Tensor>,
  name: string,
  { tap }: Forward,
): Tensor {
  const heads = tap(`${name}/heads`, swapTokensAndHeads(attention(queries, keys, values)));
  return linear("b n h e, h e d -> b n d", heads, out);
}

/** `x [b, n, D]` through the MLP, [b, n, D]; taps `name` and the hidden numbers within. */
export function mlp(
  x: Tensor,
  parameters: MlpParameters<Tensor>,
  name: string,
  { config, tap, dropout }: Forward,
): Tensor {
  const hidden = tap(`${name}/hidden`, linear("b n d, d e -> b n e", x, parameters.in));
  const active = tap(`${name}/active`, gelu(hidden, config.gelu));
  return tap(name, linear("b n d, d e -> b n e", dropout(active), parameters.out));
}
