/** Losses and accuracy of a batch of logits, as graphs. */
import {
  add,
  argmax,
  cast,
  equal,
  mean,
  mul,
  sigmoidCrossEntropy,
  softmaxCrossEntropy,
  type Tensor,
} from "../graph/mod.ts";

/** One class an image, or each class for itself. */
export type LossName = "softmax" | "sigmoid";

/** Rows of weights with `amount` of their sum spread over all classes. */
export function smoothLabels(labels: Tensor, amount: number, classes: number): Tensor {
  return amount === 0 ? labels : add(mul(labels, 1 - amount), amount / classes);
}

/**
 * The mean over the batch of `-sum(labels * logSoftmax(logits))` or of the sum over the classes of their
 * own cross-entropies: an f32 scalar. Logits and labels are f32 [b, classes].
 */
export function classificationLoss(name: LossName, logits: Tensor, labels: Tensor): Tensor {
  return mean(
    name === "softmax" ? softmaxCrossEntropy(logits, labels) : sigmoidCrossEntropy(logits, labels),
  );
}

/** Share of the rows whose largest logit is the class of `labels`, i32 [b]: an f32 scalar. */
export function accuracyOf(logits: Tensor, labels: Tensor): Tensor {
  return mean(cast(equal(argmax(logits, 1), labels), "f32"));
}
