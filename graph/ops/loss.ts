/** Cross-entropy losses over the last axis, with soft labels. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp, type OpRecord } from "../op.ts";
import { sameShape, type Shape, staticSize } from "../shape.ts";
import type { LeadingDims, SameShape, ShapeOf, Valid } from "../shape_types.ts";
import { add, maximum, mul, sub } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import type { SameDTypeAs } from "./builder_types.ts";
import { expandDims } from "./movement.ts";
import { sum } from "./reduce.ts";
import { exponentials, logSoftmax, logSumExpOf, softmax } from "./softmax.ts";
import {
  at,
  inputAt,
  operandsOf,
  range,
  requireDType,
  requireSameDType,
  textsOf,
} from "./support.ts";
import { abs, exp, log, log1p, neg, sigmoid } from "./unary.ts";

interface LossRule {
  readonly doc: string;
  readonly flops: number;
  /** The loss of one line of logits and labels. */
  readonly evaluate: (logits: readonly number[], labels: readonly number[]) => number;
  /** The derivatives by logits and labels, before the factor of the cotangent. */
  readonly slopes: (logits: Node, labels: Node) => readonly [Node, Node];
  readonly decompose: (logits: Node, labels: Node) => Node;
}

function defineLoss(name: string, rule: LossRule): OpRecord {
  return defineOp({
    name,
    kind: "composite",
    doc: rule.doc,
    infer: (inputs) => {
      const [logits, labels] = operandsOf(name, inputs, 2);
      requireSameDType(name, inputs);
      requireDType(name, inputs, ["f32"]);
      if (logits.shape.length === 0 || !sameShape(logits.shape, labels.shape)) {
        throw new ShapeError(
          name,
          "logits and labels are not of one shape with classes last",
          textsOf(inputs),
        );
      }
      return { dtype: "f32", shape: logits.shape.slice(0, -1) };
    },
    vjp: (node, cotangent) => {
      const column = expandDims(cotangent, -1);
      const slopes = rule.slopes(inputAt(node, 0), inputAt(node, 1));
      return slopes.map((slope) => mul(slope, column));
    },
    flops: ([logits]) => rule.flops * staticSize(logits ?? []),
    reference: (inputs, output) => {
      const [logits, labels] = [at(inputs, 0), at(inputs, 1)];
      const classes = at(logits.shape, logits.shape.length - 1);
      return Float64Array.from(range(staticSize(output.shape)), (row) => {
        const line = (data: Float64Array) => [...data.slice(row * classes, (row + 1) * classes)];
        return rule.evaluate(line(logits.data), line(labels.data));
      });
    },
    decompose: (node) => rule.decompose(inputAt(node, 0), inputAt(node, 1)),
  });
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((total, value, index) => total + value * at(b, index), 0);
}

const softmaxCrossEntropyRecord = defineLoss("softmaxCrossEntropy", {
  doc: "-sum(labels * logSoftmax(logits)) over the last axis. The gradient by the logits is " +
    "softmax(logits) * sum(labels) - labels.",
  flops: 6,
  evaluate: (logits, labels) => {
    const total = logSumExpOf(logits);
    return dot(labels, logits.map((value) => total - value));
  },
  slopes: (logits, labels) => [
    sub(mul(softmax(logits), sum(labels, -1, { keepDims: true })), labels),
    neg(logSoftmax(logits)),
  ],
  decompose: (logits, labels) => {
    const { shifted, total } = exponentials(logits, logits.shape.length - 1);
    return sum(mul(labels, sub(log(total), shifted)), -1);
  },
});

const sigmoidCrossEntropyRecord = defineLoss("sigmoidCrossEntropy", {
  doc: "The sum over the last axis of -labels * log(sigmoid(x)) - (1 - labels) * log(1 - " +
    "sigmoid(x)), computed as max(x, 0) - x * labels + log1p(exp(-|x|)). The gradient by the " +
    "logits is sigmoid(x) - labels.",
  flops: 7,
  evaluate: (logits, labels) =>
    logits.reduce(
      (total, x, index) =>
        total + Math.max(x, 0) - x * at(labels, index) + Math.log1p(Math.exp(-Math.abs(x))),
      0,
    ),
  slopes: (logits, labels) => [sub(sigmoid(logits), labels), neg(logits)],
  decompose: (logits, labels) => {
    const margin = sub(maximum(logits, 0), mul(logits, labels));
    return sum(add(margin, log1p(exp(neg(abs(logits))))), -1);
  },
});

function loss(record: OpRecord, logits: Tensor, labels: Tensor): Node {
  requireSameDType(record.name, [logits, labels]);
  return inArithmetic([logits, labels], (operands) => makeNode(record, operands, {}));
}

/**
 * `-sum(labels * logSoftmax(logits))` over the last axis: [.., classes] gives [..]. The labels are
 * soft: any weights, usually of sum 1.
 *
 * @throws {ShapeError} When the shapes differ.
 * @throws {DTypeError} When the element types differ or are not floats.
 */
export function softmaxCrossEntropy<
  D extends DType,
  A extends Shape,
  E extends DType,
  B extends Shape,
>(
  logits: Tensor<D, A>,
  labels:
    & Tensor<E, B>
    & SameDTypeAs<D, E, "softmaxCrossEntropy">
    & Valid<SameShape<A, B, "softmaxCrossEntropy">>,
): Tensor<D, ShapeOf<LeadingDims<A>>>;
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor): Node {
  return loss(softmaxCrossEntropyRecord, logits, labels);
}

/**
 * The sum over the last axis of each class' own cross-entropy, `-y log(sigmoid(x)) - (1 - y)
 * log(1 - sigmoid(x))`: [.., classes] gives [..].
 *
 * @throws {ShapeError} When the shapes differ.
 * @throws {DTypeError} When the element types differ or are not floats.
 */
export function sigmoidCrossEntropy<
  D extends DType,
  A extends Shape,
  E extends DType,
  B extends Shape,
>(
  logits: Tensor<D, A>,
  labels:
    & Tensor<E, B>
    & SameDTypeAs<D, E, "sigmoidCrossEntropy">
    & Valid<SameShape<A, B, "sigmoidCrossEntropy">>,
): Tensor<D, ShapeOf<LeadingDims<A>>>;
export function sigmoidCrossEntropy(logits: Tensor, labels: Tensor): Node {
  return loss(sigmoidCrossEntropyRecord, logits, labels);
}
