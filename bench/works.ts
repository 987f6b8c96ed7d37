/** What is measured: models, batches, and how many FLOPs a step of each has. */
import {
  hostFoldIn,
  hostKey,
  hostWords,
  patchGrid,
  tokenCount,
  type VitConfig,
  vitConfig,
  vitVariant,
} from "../models/mod.ts";

/** A training step to be measured. */
export interface TrainingWork {
  readonly suite: "train";
  readonly name: string;
  readonly config: VitConfig;
  readonly batch: number;
  readonly learningRate: number;
  /** Steps after which the systems' losses are compared. */
  readonly checkedSteps: number;
}

/** The machine's fused multiply-adds, in registers alone. */
export interface PeakWork {
  readonly suite: "machine";
  readonly name: string;
}

export type Work = TrainingWork | PeakWork;

/** All that the benchmark knows, in the order in which it is run. */
export const WORKS: readonly Work[] = [
  { suite: "machine", name: "simd fma peak" },
  {
    suite: "train",
    name: "vit-small-28px train b64",
    config: vitConfig({
      imageSize: 28,
      patchSize: 7,
      channels: 1,
      width: 64,
      depth: 4,
      heads: 4,
      mlpWidth: 256,
      classes: 10,
    }),
    batch: 64,
    learningRate: 1e-3,
    checkedSteps: 8,
  },
  {
    suite: "train",
    name: "vit-ti16-64px train b8",
    config: vitVariant("Ti/16", { imageSize: 64, classes: 10 }),
    batch: 8,
    learningRate: 1e-3,
    checkedSteps: 4,
  },
];

/**
 * The work of that name.
 *
 * @throws {RangeError} When there is none.
 */
export function workNamed(name: string): Work {
  const found = WORKS.find((work) => work.name === name);
  if (found !== undefined) return found;
  const names = WORKS.map((work) => work.name).join(", ");
  throw new RangeError(`There is no work "${name}": wanted one of ${names}`);
}

/**
 * FLOPs of one image's forward pass, matrix products alone: two for each multiplication with its
 * addition. Norms, softmax, gelu and biases are not counted.
 */
export function forwardFlops(config: VitConfig): number {
  const { patchSize, channels, width, depth, mlpWidth, classes } = config;
  const tokens = tokenCount(config);
  const patches = patchGrid(config) ** 2 * patchSize * patchSize * channels * width;
  const projections = 4 * tokens * width * width;
  const attention = 2 * tokens * tokens * width;
  const mlp = 2 * tokens * width * mlpWidth;
  return 2 * (patches + depth * (projections + attention + mlp) + width * classes);
}

/** FLOPs of a training step: three times the forward pass's, as is the custom. */
export function stepFlops({ config, batch }: TrainingWork): number {
  return 3 * batch * forwardFlops(config);
}

/** One batch, the same for every system: images f32 [batch, height, width, channels], classes. */
export interface TrainingBatch {
  readonly images: Float32Array<ArrayBuffer>;
  readonly labels: Int32Array<ArrayBuffer>;
}

/** The work's batch: noise in [-1, 1) with random classes, which a model can learn by heart. */
export function trainingBatch({ config, batch }: TrainingWork): TrainingBatch {
  const key = hostKey(BATCH_SEED);
  const pixels = batch * config.imageSize ** 2 * config.channels;
  const images = hostWords(hostFoldIn(key, "images"), pixels);
  const labels = hostWords(hostFoldIn(key, "labels"), batch);
  return {
    images: Float32Array.from(images, (word) => word / 2 ** 31 - 1),
    labels: Int32Array.from(labels, (word) => word % config.classes),
  };
}

const BATCH_SEED = 20;
/** Seed of the initial parameters. */
export const PARAMETER_SEED = 7;
/** Adam's numbers; the learning rate is the work's. */
export const ADAM = { b1: 0.9, b2: 0.999, epsilon: 1e-8 } as const;
