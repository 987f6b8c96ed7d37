/** The published sizes of the ViT, and how many parameters a configuration has. */
import { tokenCount, type VitConfig, vitConfig, type VitOptions } from "./config.ts";

/** Width, depth, hidden width and heads of a published size. */
export interface VitSize {
  readonly width: number;
  readonly depth: number;
  readonly mlpWidth: number;
  readonly heads: number;
}

/**
 * Sizes by the letter that the papers give them. B, L and H: Dosovitskiy et al. 2021, table 1. Ti and S:
 * Zhai et al. 2022, table 2.
 */
export const VIT_SIZES = {
  Ti: { width: 192, depth: 12, mlpWidth: 768, heads: 3 },
  S: { width: 384, depth: 12, mlpWidth: 1536, heads: 6 },
  B: { width: 768, depth: 12, mlpWidth: 3072, heads: 12 },
  L: { width: 1024, depth: 24, mlpWidth: 4096, heads: 16 },
  H: { width: 1280, depth: 32, mlpWidth: 5120, heads: 16 },
} as const satisfies Record<string, VitSize>;

/** A letter of the table. */
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
  const match = /^([A-Za-z]+)\/([1-9][0-9]*)$/.exec(name);
  const [, letters = "", patch = ""] = match ?? [];
  if (!isSizeName(letters)) {
    throw new RangeError(
      `There is no ViT variant "${name}": wanted one of ${Object.keys(VIT_SIZES).join(", ")}, ` +
        `a slash and a patch size, as in "B/16"`,
    );
  }
  const base = { imageSize: 224, patchSize: Number(patch), classes: 1000 };
  return vitConfig({ ...base, ...VIT_SIZES[letters], ...changes });
}

/**
 * How many parameters a ViT of this configuration has, in closed form: each block
 * `4(D² + D) + 2DM + M + D + 4D`, the patch embedding, positions, final norm and head around them.
 */
export function parameterCount(config: VitConfig): number {
  const { patchSize, channels, width, depth, mlpWidth, classes, representationSize } = config;
  const attention = 4 * (width * width + width);
  const mlp = width * mlpWidth + mlpWidth + mlpWidth * width + width;
  const norm = 2 * width;
  const embedding = patchSize * patchSize * channels * width + width;
  const tokens = (config.pool === "cls" ? width : 0) + tokenCount(config) * width;
  const hidden = representationSize === undefined ? 0 : (width + 1) * representationSize;
  const head = ((representationSize ?? width) + 1) * classes;
  return embedding + tokens + depth * (attention + mlp + 2 * norm) + norm + hidden + head;
}
