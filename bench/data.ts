/** Inputs and parameters of the works: the same numbers for every system, made in no time. */
import { flattenTree } from "../graph/mod.ts";
import { isDeclaration, vit, type VitConfig } from "../models/mod.ts";
import type { ForwardWork, MatmulWork, TrainingWork } from "./works.ts";

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** Numbers in [-1, 1): Marsaglia's xorshift from a hash of the name. Good enough for speed and checks. */
export function noise(name: string, count: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  fillWithNoise(name, values);
  return values;
}

function fillWithNoise(name: string, values: Float32Array): void {
  let state = FNV_OFFSET;
  for (const byte of new TextEncoder().encode(name)) state = Math.imul(state ^ byte, FNV_PRIME);
  state ||= 1;
  for (let index = 0; index < values.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[index] = state / 2 ** 31;
  }
}

/** A product's operands: `a` f32 [m, k] and `b` f32 [k, n]. */
export function matmulOperands({ m, k, n }: MatmulWork) {
  return { a: noise("a", m * k), b: noise("b", k * n) };
}

/** A batch of images f32 [batch, height, width, channels]: noise in [-1, 1). */
export function imagesOf({ config, batch }: ForwardWork | TrainingWork): Float32Array<ArrayBuffer> {
  return noise("images", batch * config.imageSize ** 2 * config.channels);
}

/** A training batch: images as {@linkcode imagesOf}, and random classes, to be learnt by heart. */
export interface TrainingBatch {
  readonly images: Float32Array<ArrayBuffer>;
  readonly labels: Int32Array<ArrayBuffer>;
}

/** The work's batch. */
export function trainingBatch(work: TrainingWork): TrainingBatch {
  const { classes } = work.config;
  const labels = noise("labels", work.batch);
  return {
    images: imagesOf(work),
    labels: Int32Array.from(labels, (value) => Math.trunc(Math.abs(value) * 2 ** 20) % classes),
  };
}

/** Seed of the initial parameters of training. */
export const PARAMETER_SEED = 7;
/** Adam's numbers; the learning rate is the work's. */
export const ADAM = { b1: 0.9, b2: 0.999, epsilon: 1e-8 } as const;

/** A parameter by its path in models/vit.ts: `encoder/0/attention/query/kernel`. */
export interface Parameter {
  readonly path: string;
  readonly shape: readonly number[];
  readonly values: Float32Array<ArrayBuffer>;
}

const SPREAD = 0.1;

/**
 * A model's parameters for the forward pass, each made when it is asked for: factors of norms around
 * one, all else around zero, so that attention looks at some tokens more than at others and logits
 * differ.
 *
 * @param allocate Makes the memory for so many values. It may be that of the one before, for whoever
 *   has copied it by then.
 */
export function* parametersOf(
  config: VitConfig,
  allocate = (size: number) => new Float32Array(size),
): Generator<Parameter> {
  for (const [path, { shape, size }] of flattenTree(vit(config).declarations, isDeclaration)) {
    const middle = path.endsWith("scale") ? 1 : 0;
    const values = allocate(size);
    fillWithNoise(path, values);
    for (let index = 0; index < size; index++) {
      values[index] = middle + SPREAD * (values[index] ?? 0);
    }
    yield { path, shape, values };
  }
}
