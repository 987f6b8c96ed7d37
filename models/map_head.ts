/**
 * Multi-head attention pooling: a learned probe attends to all tokens (Lee et al. 2019, "Set
 * Transformer"; as the ViT's head, Zhai et al. 2022, section 3.2, in the form of its authors' code).
 */
import { add, broadcastTo, reshape, type Tensor, withScope } from "../graph/mod.ts";
import {
  declareMixing,
  declareMlp,
  declareProjection,
  mixHeads,
  type MixingParameters,
  mlp,
  type MlpParameters,
  projectToHeads,
  swapTokensAndHeads,
} from "./blocks.ts";
import type { VitConfig } from "./config.ts";
import { xavierUniform } from "./initializers.ts";
import {
  declareNorm,
  type Forward,
  linear,
  type LinearParameters,
  normalize,
  type NormParameters,
} from "./layers.ts";
import { declare, type ParameterDeclaration } from "./parameters.ts";

/** The parameters of the attention pooling. */
export type MapParameters<T> = {
  /** [D]. */
  readonly probe: T;
  readonly attention: MixingParameters<T> & {
    /** [D, H, d]; without it, the probe's H parts are the queries. */
    readonly query?: LinearParameters<T>;
  };
  readonly norm: NormParameters<T>;
  readonly mlp: MlpParameters<T>;
};

/** The pooling's parameters; heads, hidden width, norm and biases are the encoder's. */
export function declareMap(config: VitConfig): MapParameters<ParameterDeclaration> {
  const { width, normBias, mapQuery } = config;
  return {
    probe: declare([width], xavierUniform(1, width)),
    attention: {
      ...(mapQuery ? { query: declareProjection(config) } : {}),
      ...declareMixing(config),
    },
    norm: declareNorm(width, normBias),
    mlp: declareMlp(config),
  };
}

/**
 * Tokens [b, n, D] to one vector an image [b, D]: `a = attention(probe, tokens)`, then
 * `a + mlp(norm(a))`. Nothing is added to the probe itself, and no numbers are dropped.
 */
export function mapPool(
  tokens: Tensor,
  parameters: MapParameters<Tensor>,
  forward: Forward,
): Tensor {
  const { config, tap } = forward;
  const { attention, norm } = parameters;
  const [batch = 0] = tokens.shape;
  const attended = withScope("attention", () => {
    const perHead = config.width / config.heads;
    const query = broadcastTo(queryOf(parameters, config), [batch, config.heads, 1, perHead]);
    const keys = swapTokensAndHeads(projectToHeads(tokens, attention.key));
    const values = swapTokensAndHeads(projectToHeads(tokens, attention.value));
    return mixHeads([query, keys, values], attention.out, "map/attention", forward);
  });
  tap("map/attention", attended);
  const normalized = withScope("norm", () => normalize(attended, norm, config.norm, config));
  tap("map/norm", normalized);
  const still = { ...forward, dropout: (x: Tensor) => x };
  const changed = withScope("mlp", () => mlp(normalized, parameters.mlp, "map/mlp", still));
  return reshape(add(attended, changed), [batch, config.width]);
}

/** One query a head, [H, 1, d]. */
function queryOf(
  { probe, attention: { query } }: MapParameters<Tensor>,
  { width, heads }: VitConfig,
): Tensor {
  const shape = [heads, 1, width / heads];
  if (query === undefined) return reshape(probe, shape);
  return reshape(linear("d, d h e -> h e", probe, query), shape);
}
