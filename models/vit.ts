/**
 * The Vision Transformer of Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", and by its
 * configuration those of Zhai et al. 2022 (attention pooling) and Dehghani et al. 2023 (ViT-22B).
 */
import {
  add,
  broadcastTo,
  concat,
  contract,
  type Dim,
  dropout,
  foldIn,
  patchify,
  reshape,
  ShapeError,
  slice,
  type Tensor,
  type TensorSpec,
  withScope,
} from "../graph/mod.ts";
import { checkpoint } from "../compiler/checkpoint.ts";
import { type BlockParameters, declareBlock, encoderBlock } from "./blocks.ts";
import { patchGrid, tokenCount, type VitConfig, vitConfig, type VitOptions } from "./config.ts";
import type { ForwardOptions, ForwardResult, ImageModel } from "./image_model.ts";
import { classify, declareHead, type HeadParameters, pool } from "./heads.ts";
import { constant, lecunNormal, normal } from "./initializers.ts";
import {
  declareDense,
  declareNorm,
  type DenseParameters,
  type Forward,
  normalize,
  type NormParameters,
} from "./layers.ts";
import { declare, type ParameterDeclaration, specsOf } from "./parameters.ts";

/** All parameters of a ViT. The patch kernel is [P, P, C, D], as a convolution's. */
export type VitParameters<T> = HeadParameters<T> & {
  readonly patch: DenseParameters<T>;
  /** [D]; only where the head reads the class token. */
  readonly cls?: T;
  /** [N, D], the class token's row first. */
  readonly position: T;
  readonly encoder: BlockParameters<T>[];
  readonly norm: NormParameters<T>;
};

/** A ViT of some configuration. */
export interface Vit extends ImageModel<VitParameters<Tensor<"f32">>> {
  readonly config: VitConfig;
  /** Shape and initialiser of each parameter. */
  readonly declarations: VitParameters<ParameterDeclaration>;
  /** Element type and shape of each parameter, to trace with. */
  readonly parameterSpecs: VitParameters<TensorSpec<"f32">>;
}

/**
 * The ViT of a configuration.
 *
 * @throws {ConfigError} Naming each field that is wrong, its value, and what was wanted.
 */
export function vit(options: VitOptions): Vit {
  const config = vitConfig(options);
  const declarations = declareVit(config);
  return {
    config,
    imageShape: [config.imageSize, config.imageSize, config.channels],
    classes: config.classes,
    declarations,
    parameterSpecs: specsOf(declarations),
    apply: (parameters, images, forward = {}) => apply(config, parameters, images, forward),
  };
}

/** Standard deviation of initial positions in the first paper's code. */
const POSITION_DEVIATION = 0.02;

function declareVit(config: VitConfig): VitParameters<ParameterDeclaration> {
  const { patchSize, channels, width, depth, normBias } = config;
  const fanIn = patchSize * patchSize * channels;
  const patch = { kernel: lecunNormal(fanIn), bias: constant(0) };
  return {
    patch: declareDense([patchSize, patchSize, channels], [width], patch),
    ...(config.pool === "cls" ? { cls: declare([width], constant(0)) } : {}),
    position: declare([tokenCount(config), width], normal(POSITION_DEVIATION)),
    encoder: Array.from({ length: depth }, () => declareBlock(config)),
    norm: declareNorm(width, normBias),
    ...declareHead(config),
  };
}

function apply(
  config: VitConfig,
  parameters: VitParameters<Tensor>,
  images: Tensor,
  options: ForwardOptions,
): ForwardResult {
  requireImages(config, images);
  const taps = new Map<string, Tensor>();
  const forward: Forward = {
    config,
    tap: (name, value) => {
      taps.set(name, value);
      return value;
    },
    dropout: dropoutOf(config, options),
  };
  const embedded = withScope("embed", () => embed(parameters, images, forward));
  const applyBlock = options.checkpoint === true ? checkpoint(encoderBlock) : encoderBlock;
  const encoded = parameters.encoder.reduce(
    (x, block, index) =>
      withScope(
        "encoder",
        () => withScope(index, () => applyBlock(x, block, `encoder/${index}`, forward)),
      ),
    forward.tap("embedded", embedded),
  );
  const norm = withScope("norm", () => normalize(encoded, parameters.norm, config.norm, config));
  const logits = withScope("head", () => {
    const pooled = pool(forward.tap("norm", norm), parameters, forward);
    return classify(forward.tap("pooled", pooled), parameters, forward);
  });
  return { logits, taps };
}

function requireImages({ imageSize, channels }: VitConfig, images: Tensor): void {
  const [, height, width, depth] = images.shape;
  const fits = images.shape.length === 4 && images.dtype === "f32" && height === imageSize &&
    width === imageSize && depth === channels;
  if (fits) return;
  throw new ShapeError("vit", `wanted images f32[batch, ${imageSize}, ${imageSize}, ${channels}]`, [
    { name: images.label ?? "images", dtype: images.dtype, shape: images.shape },
  ]);
}

/** Numbers are dropped with keys counted from the given one, so that no two layers share theirs. */
function dropoutOf(
  config: VitConfig,
  { training = false, key }: ForwardOptions,
): Forward["dropout"] {
  if (!training || config.dropout === 0) return (x) => x;
  if (key === undefined) {
    throw new TypeError(
      `Cannot train with dropout ${config.dropout} without a random key: pass { key } to apply`,
    );
  }
  let layer = 0;
  return (x) => dropout(foldIn(key, layer++), x, config.dropout);
}

/** Images to tokens: each patch through one matrix, the class token in front, positions added. */
function embed(
  parameters: VitParameters<Tensor>,
  images: Tensor,
  { config, tap, dropout }: Forward,
): Tensor {
  const { patchSize, channels, width } = config;
  const batch: Dim = images.shape[0] ?? 0;
  const used = patchGrid(config) * patchSize;
  const whole = slice(images, [0, 0, 0, 0], [batch, used, used, channels]);
  const kernel = reshape(parameters.patch.kernel, [patchSize * patchSize * channels, width]);
  const projected = contract("b n p, p d -> b n d", patchify(whole, patchSize), kernel);
  const patches = tap("patch", add(projected, parameters.patch.bias));
  const tokens = parameters.cls === undefined
    ? patches
    : concat([broadcastTo(parameters.cls, [batch, 1, width]), patches], 1);
  return dropout(add(tokens, parameters.position));
}
