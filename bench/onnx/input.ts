/** The models' input, as PyTorch has it. */
import { imagesOf, matmulOperands } from "../data.ts";
import { permuted } from "../layout.ts";
import type { ForwardWork, MatmulWork } from "../works.ts";

/** What a model of {@linkcode matmulModel} or {@linkcode vitModel} is run with. */
export interface OnnxInput {
  readonly name: string;
  readonly data: Float32Array<ArrayBuffer>;
  readonly dims: readonly number[];
}

/** The model's input; images are NCHW. */
export function inputOf(work: MatmulWork | ForwardWork): OnnxInput {
  if (work.suite === "matmul") {
    return { name: "a", data: matmulOperands(work).a, dims: [work.m, work.k] };
  }
  const { config: { imageSize, channels }, batch } = work;
  const shape = [batch, imageSize, imageSize, channels];
  return {
    name: "images",
    data: permuted(imagesOf(work), shape, [0, 3, 1, 2]),
    dims: [batch, channels, imageSize, imageSize],
  };
}

/** The shape of the model's only output. */
export function outputDimsOf(work: MatmulWork | ForwardWork): readonly number[] {
  return work.suite === "matmul" ? [work.m, work.n] : [work.batch, work.config.classes];
}
