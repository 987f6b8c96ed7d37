/** One training step, and inference, as graphs: what is compiled once and run many times. */
import {
  add,
  argmax,
  cast,
  dim,
  foldIn,
  oneHot,
  sigmoid,
  softmax,
  spec,
  type Tensor,
  trace,
  type TracedGraph,
} from "../graph/mod.ts";
import { gradients } from "../compiler/autodiff.ts";
import { type ImageModel, imageSpec } from "./image_model.ts";
import { accuracyOf, classificationLoss, type LossName, smoothLabels } from "./losses.ts";
import type { Optimizer, OptimizerState } from "./optimizers.ts";

/** What is carried from step to step; donated, so that each step updates it in place. */
export interface TrainingState<P> {
  readonly parameters: P;
  readonly optimizer: OptimizerState<P>;
  /** Steps done: an i32 scalar. */
  readonly step: Tensor<"i32">;
  /** From which each step's random numbers are counted: u32 [2]. It stays as it is. */
  readonly key: Tensor<"u32">;
}

/** What a step is given. */
export interface TrainingStepInput<P> {
  readonly state: TrainingState<P>;
  /** [batch, height, width, channels]. */
  readonly images: Tensor<"f32">;
  /** Class numbers i32 [batch], or soft labels f32 [batch, classes]. */
  readonly labels: Tensor;
}

/** What a step gives: scalars, beside the new state. */
export interface TrainingStepOutput<P> {
  readonly state: TrainingState<P>;
  readonly loss: Tensor<"f32">;
  /** Share of the batch that was right, before the update. */
  readonly accuracy: Tensor<"f32">;
  /** Before clipping. */
  readonly gradientNorm: Tensor<"f32">;
  readonly learningRate: Tensor<"f32">;
}

/** What a training step is made of. */
export interface TrainingStepOptions<P> {
  readonly model: ImageModel<P>;
  readonly optimizer: Optimizer;
  /** Default `"softmax"`. */
  readonly loss?: LossName;
  /** Share of each label that is spread over all classes. Default 0. */
  readonly labelSmoothing?: number;
  /** Whether labels are class numbers (the default) or rows of weights. */
  readonly labels?: "classes" | "soft";
  /** Whether the encoder's blocks are computed again in the backward pass. Default false. */
  readonly checkpoint?: boolean;
}

/**
 * The whole training step as one graph: forward, backward, clipping and the optimizer. Compile it with
 * `donate: { state: "state" }` and `bind: { batch }`.
 *
 * @throws {RangeError} When the label smoothing is not in [0, 1).
 */
export function trainingStep<P>(
  options: TrainingStepOptions<P>,
): TracedGraph<TrainingStepInput<P>, TrainingStepOutput<P>> {
  const { model, optimizer, loss: lossName = "softmax", labelSmoothing = 0 } = options;
  const { checkpoint = false } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing < 1)) {
    throw new RangeError(`labelSmoothing is ${labelSmoothing}, wanted a number in [0, 1)`);
  }
  const isSoft = options.labels === "soft";
  const batch = dim("batch");
  const specs = {
    state: {
      parameters: model.parameterSpecs,
      optimizer: optimizer.stateSpecs(model.parameterSpecs),
      step: spec("i32", []),
      key: spec("u32", [2]),
    },
    images: imageSpec(model),
    labels: isSoft ? spec("f32", [batch, model.classes]) : spec("i32", [batch]),
  };
  const graph = trace(specs, (given): TrainingStepOutput<P> => {
    // The specs have the parameters' structure; the type checker cannot see that for any P.
    const { state, images, labels } = given as unknown as TrainingStepInput<P>;
    const key = foldIn(state.key, cast(state.step, "u32"));
    const { logits } = model.apply(state.parameters, images, { training: true, key, checkpoint });
    const weights = isSoft ? labels : oneHot(labels, model.classes);
    const targets = smoothLabels(weights, labelSmoothing, model.classes);
    const loss = classificationLoss(lossName, logits, targets);
    const update = optimizer.update({
      parameters: state.parameters,
      gradients: gradients(loss, state.parameters),
      state: state.optimizer,
      step: state.step,
    });
    const next = { step: asType("i32", add(state.step, 1)), key: state.key };
    return {
      state: { parameters: update.parameters, optimizer: update.state, ...next },
      loss: asType("f32", loss),
      accuracy: asType("f32", accuracyOf(logits, isSoft ? argmax(labels, 1) : labels)),
      gradientNorm: asType("f32", update.gradientNorm),
      learningRate: asType("f32", update.learningRate),
    };
  });
  // As above: the input's structure is that of the specs.
  return graph as unknown as TracedGraph<TrainingStepInput<P>, TrainingStepOutput<P>>;
}

function asType<D extends "f32" | "i32">(dtype: D, tensor: Tensor): Tensor<D> {
  if (tensor.dtype === dtype) return tensor as Tensor<D>;
  throw new TypeError(`${tensor} is of type ${tensor.dtype}, wanted ${dtype}`);
}

/** What inference is given. */
export interface InferenceInput<P> {
  readonly parameters: P;
  /** [batch, height, width, channels]. */
  readonly images: Tensor<"f32">;
}

/** What inference gives: both [batch, classes]. */
export interface InferenceOutput {
  readonly logits: Tensor<"f32">;
  /** Of one class an image, or with the sigmoid loss of each class for itself. */
  readonly probabilities: Tensor<"f32">;
}

/** A forward pass without dropout as a graph. Compile it with `bind: { batch }`. */
export function inferenceGraph<P>(
  model: ImageModel<P>,
  loss: LossName = "softmax",
): TracedGraph<InferenceInput<P>, InferenceOutput> {
  const specs = { parameters: model.parameterSpecs, images: imageSpec(model) };
  const graph = trace(specs, (given): InferenceOutput => {
    // The specs have the parameters' structure; the type checker cannot see that for any P.
    const { parameters, images } = given as unknown as InferenceInput<P>;
    const { logits } = model.apply(parameters, images);
    const probabilities = loss === "softmax" ? softmax(logits) : sigmoid(logits);
    return { logits: asType("f32", logits), probabilities: asType("f32", probabilities) };
  });
  // As above: the input's structure is that of the specs.
  return graph as unknown as TracedGraph<InferenceInput<P>, InferenceOutput>;
}
