/** The published sizes of the ViT, and how many parameters a configuration has. */
import { tokenCount, type VitConfig, vitConfig, type VitOptions } from "./config.ts";

/** Width, depth, hidden width and heads of a published size, and what else sets it apart. */
export type VitSize =
  & Pick<VitOptions, "width" | "depth" | "mlpWidth" | "heads">
  & Partial<VitOptions>;

const MAP = { pool: "map" } as const;

/**
 * Sizes by the names that the papers give them. B, L and H: Dosovitskiy et al. 2021, table 1. Ti, s, S, g
 * and G: Zhai et al. 2022, table 2. So400m: Alabdulmohsin et al. 2023, section 4.1. e and 22B: Dehghani et
 * al. 2023, table 1. Those that no paper gives a class token pool by attention. 22B has the biases that its
 * paper does not leave out, and its probe is the query itself: the published 22,165 M are so many.
 */
export const VIT_SIZES = {
  Ti: { width: 192, depth: 12, mlpWidth: 768, heads: 3 },
  s: { width: 256, depth: 6, mlpWidth: 1024, heads: 8, ...MAP },
  S: { width: 384, depth: 12, mlpWidth: 1536, heads: 6 },
  B: { width: 768, depth: 12, mlpWidth: 3072, heads: 12 },
  L: { width: 1024, depth: 24, mlpWidth: 4096, heads: 16 },
  So400m: { width: 1152, depth: 27, mlpWidth: 4304, heads: 16, ...MAP },
  H: { width: 1280, depth: 32, mlpWidth: 5120, heads: 16 },
  g: { width: 1408, depth: 40, mlpWidth: 6144, heads: 16, ...MAP },
  G: { width: 1664, depth: 48, mlpWidth: 8192, heads: 16, ...MAP },
  e: { width: 1792, depth: 56, mlpWidth: 15360, heads: 16, ...MAP },
  "22B": {
    width: 6144,
    depth: 48,
    mlpWidth: 24576,
    heads: 48,
    block: "parallel",
    norm: "rms",
    qkNorm: "rms",
    qkvBias: false,
    ...MAP,
    mapQuery: false,
  },
} as const satisfies Record<string, VitSize>;

/** A name of the table. */
export type VitSizeName = keyof typeof VIT_SIZES;

/** A size and a patch size, such as `B/16`. */
export type VitVariantName = `${VitSizeName}/${number}`;

function isSizeName(name: string): name is VitSizeName {
  return Object.hasOwn(VIT_SIZES, name);
}

/**
 * The configuration of a published variant for 224-pixel images and 1000 classes, with `changes` on top.
 *
 * ```ts
 * import { vitVariant } from "@fovea/fovea/models";
 * const config = vitVariant("B/16", { classes: 10 });
 * console.assert(config.width === 768);
 * ```
 *
 * @throws {RangeError} When there is no such variant.
 * @throws {ConfigError} When the changes do not fit.
 */
export function vitVariant(name: VitVariantName, changes: Partial<VitOptions> = {}): VitConfig {
  const match = /^([A-Za-z0-9]+)\/([1-9][0-9]*)$/.exec(name);
  const [, size = "", patch = ""] = match ?? [];
  if (!isSizeName(size)) {
    throw new RangeError(
      `There is no ViT variant "${name}": wanted one of ${Object.keys(VIT_SIZES).join(", ")}, ` +
        `a slash and a patch size, as in "B/16"`,
    );
  }
  const base = { imageSize: 224, patchSize: Number(patch), classes: 1000 };
  return vitConfig({ ...base, ...VIT_SIZES[size], ...changes });
}

/**
 * How many parameters a ViT of this configuration has, in closed form: each block
 * `4D² + 2DM`, its biases and its norms, and the patch embedding, positions, final norm and head around
 * them.
 */
export function parameterCount(config: VitConfig): number {
  const { patchSize, channels, width, depth, classes, representationSize } = config;
  const embedding = patchSize * patchSize * channels * width + width;
  const tokens = (config.pool === "cls" ? width : 0) + tokenCount(config) * width;
  const map = config.pool === "map" ? mapCount(config) : 0;
  const hidden = representationSize === undefined ? 0 : (width + 1) * representationSize;
  const head = ((representationSize ?? width) + 1) * classes;
  return embedding + tokens + depth * blockCount(config) + normCount(config) + map + hidden + head;
}

function blockCount(config: VitConfig): number {
  const { width, heads, block, qkNorm, qkNormBias } = config;
  const perHead = (qkNormBias ? 2 : 1) * width / heads;
  const qkNorms = qkNorm === "none" ? 0 : 2 * perHead;
  const norms = (block === "serial" ? 2 : 1) * normCount(config);
  return norms + attentionCount(config, 3) + qkNorms + mlpCount(config);
}

/** The attention pooling: its probe, its attention with or without a projected query, norm and MLP. */
function mapCount(config: VitConfig): number {
  const attention = attentionCount(config, config.mapQuery ? 3 : 2);
  return config.width + attention + normCount(config) + mlpCount(config);
}

/** Projections of tokens to heads, as many as given, and the one back. */
function attentionCount({ width, qkvBias, outBias }: VitConfig, projections: number): number {
  const bias = (has: boolean) => has ? width : 0;
  return projections * (width * width + bias(qkvBias)) + width * width + bias(outBias);
}

function mlpCount({ width, mlpWidth, mlpBias }: VitConfig): number {
  return 2 * width * mlpWidth + (mlpBias ? mlpWidth + width : 0);
}

function normCount({ width, normBias }: VitConfig): number {
  return (normBias ? 2 : 1) * width;
}
