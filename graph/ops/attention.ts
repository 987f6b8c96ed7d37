/**
 * Scaled dot-product attention (Vaswani et al. 2017, equation 1) as a named op, whose gradient
 * recomputes the probabilities from the saved logarithm of the sum of exponentials (Dao et al. 2022).
 */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp, type OpRecord, type ReferenceTensor } from "../op.ts";
import { type Shape, type StaticShape, staticSize } from "../shape.ts";
import type { LastDim, LeadingDims, ShapeOf } from "../shape_types.ts";
import { add, mul, sub } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import {
  checkAttention,
  checkAttentionGradient,
  checkLogSumExp,
  type ScaleAttrs,
} from "./attention_check.ts";
import { contractLetters } from "./contract.ts";
import { stopGradient } from "./convert.ts";
import { expandDims } from "./movement.ts";
import { max, sum } from "./reduce.ts";
import { logSumExpOf, softmax, softmaxOf } from "./softmax.ts";
import { at, inputAt, range, requireSameDType, textsOf } from "./support.ts";
import { exp, log } from "./unary.ts";

type Rows = readonly (readonly number[])[];

/** The rows of matrix number `index` of a stack of matrices. */
function matrix(x: ReferenceTensor, index: number): Rows {
  const columns = x.shape.at(-1) ?? 0;
  const rows = x.shape.at(-2) ?? 0;
  return range(rows).map((row) => {
    const start = (index * rows + row) * columns;
    return [...x.data.slice(start, start + columns)];
  });
}

function dot(a: readonly number[], b: readonly number[]): number {
  let total = 0;
  for (let index = 0; index < a.length; index++) total += (a[index] ?? NaN) * (b[index] ?? NaN);
  return total;
}

/** `weights @ rows`. */
function combine(weights: Rows, rows: Rows, columns: number): number[][] {
  const turnedRows = turned(rows, columns);
  return weights.map((line) => turnedRows.map((column) => dot(line, column)));
}

function turned(rows: Rows, columns: number): number[][] {
  return range(columns).map((column) => rows.map((row) => at(row, column)));
}

function scoresOf(q: Rows, k: Rows, scale: number): number[][] {
  return q.map((query) => k.map((key) => scale * dot(query, key)));
}

/** The results of all matrices of the stack `x`, one after another. */
function stackOf(x: ReferenceTensor, evaluate: (index: number) => Rows): Float64Array {
  const count = staticSize(x.shape.slice(0, -2));
  return Float64Array.from(range(count).flatMap((index) => evaluate(index).flat()));
}

/** The scores' product of q and k, as nodes. */
function scores(q: Node, k: Node, scale: number): Node {
  return mul(batchProduct(q, "n d", k, "m d", "n m"), scale);
}

/** A contraction of two stacks of matrices with equal batch axes. */
function batchProduct(a: Node, left: string, b: Node, right: string, output: string): Node {
  const batch = range(a.shape.length - 2).map((axis) => `b${axis}`);
  const names = (text: string) => [...batch, ...text.split(" ")];
  return contractLetters({ left: names(left), right: names(right), output: names(output) }, a, b);
}

function scaleAttr(node: Node): number {
  return Number(node.attrs["scale"]);
}

function scoreFlops(inputs: readonly StaticShape[], depths: number): number {
  const [q = [], k = []] = inputs;
  return 2 * staticSize(q.slice(0, -1)) * (k.at(-2) ?? 0) * depths;
}

/** Attention. */
export const attentionRecord = defineOp<ScaleAttrs>({
  name: "attention",
  kind: "attention",
  doc:
    "softmax(scale * q k^T) v over stacks of matrices: q [.., n, d], k [.., m, d], v [.., m, e].",
  infer: (inputs) => checkAttention("attention", inputs),
  vjp: (node, cotangent) => {
    const [q, k, v] = [inputAt(node, 0), inputAt(node, 1), inputAt(node, 2)];
    const attrs = { scale: scaleAttr(node) };
    const operands = [q, k, v, node, makeNode(attentionLogSumExpRecord, [q, k], attrs), cotangent];
    return GRADIENTS.map((record) => makeNode(record, operands, attrs));
  },
  flops: (inputs, output) => scoreFlops(inputs, (inputs[0]?.at(-1) ?? 0) + (output.at(-1) ?? 0)),
  reference: (inputs, output, { scale }) => {
    const [q, k, v] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
    const columns = at(output.shape, output.shape.length - 1);
    return stackOf(q, (index) => {
      const weights = scoresOf(matrix(q, index), matrix(k, index), scale).map(softmaxOf);
      return combine(weights, matrix(v, index), columns);
    });
  },
  decompose: (node) => {
    const weights = softmax(scores(inputAt(node, 0), inputAt(node, 1), scaleAttr(node)));
    return batchProduct(weights, "n m", inputAt(node, 2), "m e", "n e");
  },
});

/** What the gradient needs of the forward pass beside its result. */
export const attentionLogSumExpRecord = defineOp<ScaleAttrs>({
  name: "attentionLogSumExp",
  kind: "attention",
  doc: "The logarithm of the sum of exp(scale * q k^T) along each row: q [.., n, d] and " +
    "k [.., m, d] give [.., n].",
  infer: (inputs) => checkLogSumExp("attentionLogSumExp", inputs),
  vjp: "decompose",
  flops: (inputs) => scoreFlops(inputs, inputs[0]?.at(-1) ?? 0),
  reference: (inputs, _output, { scale }) => {
    const [q, k] = [at(inputs, 0), at(inputs, 1)];
    return stackOf(q, (index) => [
      scoresOf(matrix(q, index), matrix(k, index), scale).map(logSumExpOf),
    ]);
  },
  decompose: (node) => {
    const product = scores(inputAt(node, 0), inputAt(node, 1), scaleAttr(node));
    const largest = stopGradient(max(product, -1));
    const powers = exp(sub(product, expandDims(largest, -1)));
    return add(largest, log(sum(powers, -1)));
  },
});

interface GradientParts {
  readonly q: Rows;
  readonly k: Rows;
  /** The softmax. */
  readonly weights: Rows;
  /** The cotangent of `q k^T`. */
  readonly scores: Rows;
  readonly cotangent: Rows;
}

function gradientParts(
  inputs: readonly ReferenceTensor[],
  index: number,
  scale: number,
): GradientParts {
  const rowsOf = (operand: number) => matrix(at(inputs, operand), index);
  const [q, k, v, out, cotangent] = [rowsOf(0), rowsOf(1), rowsOf(2), rowsOf(3), rowsOf(5)];
  const saved = at(inputs, 4).data;
  const weights = scoresOf(q, k, scale).map((line, row) =>
    line.map((score) => Math.exp(score - at(saved, index * q.length + row)))
  );
  const scores = weights.map((line, row) => {
    const given = at(cotangent, row);
    const mean = dot(given, at(out, row));
    return line.map((weight, key) => scale * weight * (dot(given, at(v, key)) - mean));
  });
  return { q, k, weights, scores, cotangent };
}

/** The softmax, and the cotangent of `q k^T`. */
interface GradientNodes {
  readonly weights: Node;
  readonly scores: Node;
}

/**
 * The gradient's nodes: the softmax recomputed, or in the plain form that of the forward pass, as the
 * derivative of that would have it.
 */
function gradientNodes(node: Node, isPlain: boolean): GradientNodes {
  const [q, k, v] = [inputAt(node, 0), inputAt(node, 1), inputAt(node, 2)];
  const [out, logSumExp, cotangent] = [inputAt(node, 3), inputAt(node, 4), inputAt(node, 5)];
  const scale = scaleAttr(node);
  const product = scores(q, k, scale);
  const weights = isPlain ? softmax(product) : exp(sub(product, expandDims(logSumExp, -1)));
  const given = batchProduct(cotangent, "n e", v, "m e", "n m");
  const parts = isPlain ? mul(weights, given) : mul(cotangent, out);
  const mean = sum(parts, -1, { keepDims: true });
  return { weights, scores: mul(mul(weights, sub(given, mean)), scale) };
}

/** The last product of each gradient, by the op's name. */
const PRODUCTS = new Map<string, (nodes: GradientNodes, node: Node) => Node>();

/**
 * A result of attention or of its gradient in the plain form: scores and probabilities are matrices
 * as any other, and what reads them twice reads the same.
 */
export function plainAttention(node: Node): Node {
  const product = PRODUCTS.get(node.op.name);
  if (product !== undefined) return product(gradientNodes(node, true), node);
  return node.op.decompose?.(node) ?? node;
}

function defineGradient(
  name: string,
  wanted: number,
  doc: string,
  evaluate: (parts: GradientParts, columns: number) => Rows,
  product: (nodes: GradientNodes, node: Node) => Node,
): OpRecord<ScaleAttrs> {
  PRODUCTS.set(name, product);
  return defineOp<ScaleAttrs>({
    name,
    kind: "attention",
    doc,
    infer: (inputs) => checkAttentionGradient(name, inputs, wanted),
    vjp: "decompose",
    flops: (inputs) => scoreFlops(inputs, 2 * (inputs[0]?.at(-1) ?? 0) + (inputs[2]?.at(-1) ?? 0)),
    reference: (inputs, output, { scale }) => {
      const columns = at(output.shape, output.shape.length - 1);
      return stackOf(
        at(inputs, 0),
        (index) => evaluate(gradientParts(inputs, index, scale), columns),
      );
    },
    decompose: (node) => product(gradientNodes(node, false), node),
  });
}

/** The cotangent of q. */
export const attentionGradQueryRecord = defineGradient(
  "attentionGradQuery",
  0,
  "The cotangent of q, given (q, k, v, out, logSumExp, the cotangent of out).",
  ({ scores, k }, columns) => combine(scores, k, columns),
  ({ scores }, node) => batchProduct(scores, "n m", inputAt(node, 1), "m d", "n d"),
);

/** The cotangent of k. */
export const attentionGradKeyRecord = defineGradient(
  "attentionGradKey",
  1,
  "The cotangent of k, given (q, k, v, out, logSumExp, the cotangent of out).",
  ({ scores, q, k }, columns) => combine(turned(scores, k.length), q, columns),
  ({ scores }, node) => batchProduct(scores, "n m", inputAt(node, 0), "n d", "m d"),
);

/** The cotangent of v. */
export const attentionGradValueRecord = defineGradient(
  "attentionGradValue",
  2,
  "The cotangent of v, given (q, k, v, out, logSumExp, the cotangent of out).",
  ({ weights, k, cotangent }, columns) => combine(turned(weights, k.length), cotangent, columns),
  ({ weights }, node) => batchProduct(weights, "n m", inputAt(node, 5), "n e", "m e"),
);

const GRADIENTS = [attentionGradQueryRecord, attentionGradKeyRecord, attentionGradValueRecord];

function defaultScale(q: Tensor): number {
  const depth = q.shape.at(-1);
  if (typeof depth === "number") return 1 / Math.sqrt(depth);
  throw new ShapeError(
    "attention",
    `the default scale needs q's columns, ${depth}, to be a number: give a scale`,
    textsOf([q]),
  );
}

/** What {@linkcode attention} takes beside its operands. */
export interface AttentionOptions {
  /** Factor on `q k^T`. Default: 1 / sqrt(d). */
  readonly scale?: number;
}

/**
 * `softmax(scale * q k^T) v` over stacks of matrices (Vaswani et al. 2017, equation 1): q [.., n, d],
 * k [.., m, d] and v [.., m, e] give [.., n, e]. The leading axes (batch, heads) are the same in all
 * three. The [n, m] matrix is never stored whole, in the gradient neither.
 *
 * @throws {ShapeError} When the operands do not fit.
 * @throws {DTypeError} When the element types differ or are not floats.
 */
export function attention<D extends DType, Q extends Shape, V extends Shape>(
  q: Tensor<D, Q>,
  k: Tensor,
  v: Tensor<DType, V>,
  options?: AttentionOptions,
): Tensor<D, ShapeOf<[...LeadingDims<Q>, LastDim<V>]>>;
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Node {
  const operands = [q, k, v];
  requireSameDType("attention", operands);
  return inArithmetic(operands, (ready) => {
    checkAttention("attention", ready);
    return makeNode(attentionRecord, ready, { scale: options.scale ?? defaultScale(q) });
  });
}
