/** Running a trained model over many images. */
import { batchOf, checkDataset, type ImageDataset, type ImageForm } from "./dataset.ts";

/** A compiled inference graph, its parameters set, for one batch size. */
export interface InferenceProgram {
  run(inputs: { images: Float32Array }): Promise<{
    readonly logits: { readonly data: ArrayLike<number>; readonly shape: readonly number[] };
  }>;
}

/** What the model said of each image. */
export interface Predictions {
  /** The class with the largest logit, for each image. */
  readonly classes: Int32Array;
  /** f32 [count, classes], row-major. */
  readonly logits: Float32Array;
}

/**
 * The model's answers for all images of a data set, `batchSize` at a time. The last batch is filled up
 * with its own first image, whose answers are dropped.
 *
 * @throws {RangeError} When the data set does not fit the model.
 */
export async function predict(
  program: InferenceProgram,
  data: ImageDataset,
  form: ImageForm & { readonly batchSize: number },
): Promise<Predictions> {
  checkDataset(data, form);
  const { classes: width, batchSize } = form;
  const classes = new Int32Array(data.count);
  const logits = new Float32Array(data.count * width);
  for (let start = 0; start < data.count; start += batchSize) {
    const indices = Uint32Array.from(
      { length: batchSize },
      (_, row) => start + row < data.count ? start + row : start,
    );
    const { logits: rows } = await program.run({ images: batchOf(data, indices).images });
    for (let row = 0; row < batchSize && start + row < data.count; row++) {
      const scores = Float32Array.from(
        { length: width },
        (_, at) => rows.data[row * width + at] ?? NaN,
      );
      logits.set(scores, (start + row) * width);
      classes[start + row] = largestOf(scores);
    }
  }
  return { classes, logits };
}

/** Index of the first largest number. NaN is never the largest. */
function largestOf(scores: Float32Array): number {
  let best = 0;
  for (let at = 1; at < scores.length; at++) {
    if (!((scores[at] ?? NaN) <= (scores[best] ?? NaN))) best = at;
  }
  return best;
}

/** How good the answers are. */
export interface Evaluation {
  readonly count: number;
  readonly right: number;
  /** `right / count`. */
  readonly accuracy: number;
}

/**
 * How many images of a data set the model gets right.
 *
 * @throws {RangeError} When the data set is empty or does not fit the model.
 */
export async function evaluate(
  program: InferenceProgram,
  data: ImageDataset,
  form: ImageForm & { readonly batchSize: number },
): Promise<Evaluation> {
  if (data.count === 0) throw new RangeError("Cannot evaluate on a data set without images");
  const { classes } = await predict(program, data, form);
  const right = classes.reduce((sum, found, at) => sum + (found === data.labels[at] ? 1 : 0), 0);
  return { count: data.count, right, accuracy: right / data.count };
}
