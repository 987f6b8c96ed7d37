/** Labelled images in memory, and the batches that a run sees of them. */
import { hostFoldIn, type HostKey, hostPermutation } from "./random_words.ts";

/** Labelled images, row-major. */
export interface ImageDataset {
  /** [count, height, width, channels]: bytes, which batches hold as x / 127.5 - 1, or f32 as they are. */
  readonly images: Uint8Array | Float32Array;
  /** Class numbers, [count]. */
  readonly labels: Uint8Array | Int32Array;
  readonly count: number;
}

/** Images and labels as a program takes them. */
export interface Batch {
  /** [batch, height, width, channels], row-major. */
  readonly images: Float32Array<ArrayBuffer>;
  /** Class numbers, [batch]. */
  readonly labels: Int32Array<ArrayBuffer>;
}

/** What a data set must fit. */
export interface ImageForm {
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly classes: number;
}

/**
 * Checks that images and labels are as many as they should be and that every label is a class.
 *
 * @throws {RangeError} Naming what does not fit, and what was wanted.
 */
export function checkDataset(data: ImageDataset, form: ImageForm): void {
  const size = pixelsOf(form);
  if (data.images.length !== data.count * size) {
    throw new RangeError(
      `The data set has ${data.images.length} pixels, wanted ${data.count * size}: ` +
        `${data.count} images of ${form.imageShape.join(" x ")}`,
    );
  }
  if (data.labels.length !== data.count) {
    throw new RangeError(`The data set has ${data.labels.length} labels, wanted ${data.count}`);
  }
  const bad = data.labels.findIndex((label) => !(label >= 0 && label < form.classes));
  if (bad >= 0) {
    throw new RangeError(
      `Label ${bad} of the data set is ${data.labels[bad]}, wanted 0 to ${form.classes - 1}`,
    );
  }
}

function pixelsOf({ imageShape: [height, width, channels] }: ImageForm): number {
  return height * width * channels;
}

/** The first `count` of the images: views, not copies. */
export function firstImages(data: ImageDataset, count: number): ImageDataset {
  if (count >= data.count) return data;
  const size = data.images.length / data.count;
  return {
    images: data.images.subarray(0, count * size),
    labels: data.labels.subarray(0, count),
    count,
  };
}

const SIGNED_UNIT = Float32Array.from({ length: 256 }, (_, byte) => byte / 127.5 - 1);

/** The images at the indices, one after another. */
export function batchOf(data: ImageDataset, indices: ArrayLike<number>): Batch {
  const size = data.count === 0 ? 0 : data.images.length / data.count;
  const images = new Float32Array(indices.length * size);
  const labels = new Int32Array(indices.length);
  for (let row = 0; row < indices.length; row++) {
    const index = indices[row] ?? 0;
    labels[row] = data.labels[index] ?? 0;
    const pixels = data.images.subarray(index * size, (index + 1) * size);
    if (pixels instanceof Float32Array) {
      images.set(pixels, row * size);
    } else {
      for (let at = 0; at < size; at++) {
        images[row * size + at] = SIGNED_UNIT[pixels[at] ?? 0] ?? 0;
      }
    }
  }
  return { images, labels };
}

/**
 * The batches of a run: each epoch goes through the data in an order of its own, drawn from the key, and
 * leaves out what fills no batch. Any step's batch can be had at any time.
 */
export class Batches {
  /** Batches in an epoch. */
  readonly perEpoch: number;
  readonly #data: ImageDataset;
  readonly #batchSize: number;
  readonly #key: HostKey;
  #order: { readonly epoch: number; readonly indices: Uint32Array } | undefined;

  /** @throws {RangeError} When the data set does not fill one batch. */
  constructor(data: ImageDataset, batchSize: number, key: HostKey) {
    if (!Number.isSafeInteger(batchSize) || batchSize < 1 || batchSize > data.count) {
      throw new RangeError(
        `batchSize is ${batchSize}, wanted 1 to ${data.count}, the number of images`,
      );
    }
    this.perEpoch = Math.floor(data.count / batchSize);
    this.#data = data;
    this.#batchSize = batchSize;
    this.#key = key;
  }

  /** The batch of a step counted from 0. */
  at(step: number): Batch {
    const start = (step % this.perEpoch) * this.#batchSize;
    const order = this.#orderOf(Math.floor(step / this.perEpoch));
    return batchOf(this.#data, order.subarray(start, start + this.#batchSize));
  }

  #orderOf(epoch: number): Uint32Array {
    if (this.#order?.epoch !== epoch) {
      this.#order = {
        epoch,
        indices: hostPermutation(hostFoldIn(this.#key, epoch), this.#data.count),
      };
    }
    return this.#order.indices;
  }
}
