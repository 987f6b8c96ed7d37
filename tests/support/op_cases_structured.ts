/** Cases of reductions, contractions, norms, losses and attention. */
import * as graph from "../../graph/mod.ts";
import type { Tensor } from "../../graph/node.ts";
import { makeNode } from "../../graph/node.ts";
import {
  attentionGradKeyRecord,
  attentionGradQueryRecord,
  attentionLogSumExpRecord,
  attentionRecord,
} from "../../graph/ops/attention.ts";
import {
  layerNormGradBias,
  layerNormGradInput,
  layerNormGradScale,
} from "../../graph/ops/norm_gradient.ts";
import {
  type AttentionResult,
  attentionWithNorms,
  otherGradient,
} from "../../graph/ops/normed_attention.ts";
import { dim } from "../../graph/shape.ts";
import { floats, type OpCase, opCase, typed } from "./op_case.ts";

const EXACT = { tolerance: 0 };
const FIXED = { differentiable: false, tolerance: 0 };
const BATCH = dim("batch");

const FOLDS = { sum: graph.sum, max: graph.max, min: graph.min, mean: graph.mean };

function foldCases(name: keyof typeof FOLDS): OpCase[] {
  const fold = FOLDS[name];
  return [
    opCase(`${name} of all`, [floats([3, 5])], (x) => fold(x)),
    opCase(`${name} of the last axis`, [floats([2, 3, 37])], (x) => fold(x, -1)),
    opCase(`${name} of the first axis`, [floats([37, 3])], (x) => fold(x, 0)),
    opCase(`${name} of two axes`, [floats([2, 3, 4])], (x) => fold(x, [0, 2])),
    opCase(`${name} kept`, [floats([2, 3, 4])], (x) => fold(x, 1, { keepDims: true })),
    opCase(`${name} of one`, [floats([3, 1])], (x) => fold(x, 1)),
    opCase(`${name} of a scalar`, [floats([])], (x) => fold(x)),
    opCase(`${name} beside nothing`, [floats([0, 3])], (x) => fold(x, 1)),
    opCase(`${name} of a dim`, [floats([BATCH, 3])], (x) => fold(x, 0), { bindings: { batch: 4 } }),
  ];
}

const REDUCTIONS: readonly OpCase[] = [
  ...foldCases("sum"),
  ...foldCases("max"),
  ...foldCases("min"),
  ...foldCases("mean"),
  opCase("sum of nothing", [floats([0, 3])], (x) => graph.sum(x, 0), EXACT),
  opCase("sum i32", [typed("i32", [4, 5])], (x) => graph.sum(x, 1), FIXED),
  opCase("sum u32", [typed("u32", [4, 5])], (x) => graph.sum(x, 0), FIXED),
  opCase("max i32", [typed("i32", [4, 5])], (x) => graph.max(x, 1), FIXED),
  opCase("min u32", [typed("u32", [4, 5])], (x) => graph.min(x, 0), FIXED),
  opCase("argmax", [floats([4, 7])], (x) => graph.argmax(x), FIXED),
  opCase("argmax of ties", [floats([4, 7])], (x) => graph.argmax(graph.round(x), 0), FIXED),
];

function contractCase(pattern: string, a: readonly number[], b: readonly number[]): OpCase {
  return opCase(
    `contract ${pattern} [${a}] [${b}]`,
    [floats(a), floats(b)],
    (left, right) => graph.contract(pattern, left, right),
  );
}

const CONTRACTIONS: readonly OpCase[] = [
  contractCase("m k, k n -> m n", [3, 5], [5, 4]),
  contractCase("m k, k n -> m n", [17, 33], [33, 19]),
  contractCase("m k, k n -> m n", [1, 1], [1, 1]),
  contractCase("m k, k n -> m n", [3, 0], [0, 4]),
  contractCase("m k, k n -> m n", [0, 5], [5, 4]),
  contractCase("m k, n k -> n m", [3, 5], [4, 5]),
  contractCase("b n d, d e -> b n e", [2, 3, 4], [4, 5]),
  contractCase("b h n d, b h m d -> b h n m", [2, 3, 4, 5], [2, 3, 1, 5]),
  contractCase("b n h d, h d e -> b n e", [2, 3, 2, 3], [2, 3, 5]),
  contractCase("n, n ->", [7], [7]),
  contractCase("n, m -> m n", [3], [5]),
  contractCase("n, n -> n", [5], [5]),
  contractCase(", n -> n", [], [5]),
  contractCase("a b, c -> c", [2, 3], [4]),
  contractCase("a b c, c a d -> b d", [2, 3, 4], [4, 2, 5]),
  opCase("matmul", [floats([3, 5]), floats([5, 4])], (a, b) => graph.matmul(a, b)),
  opCase("matmul of a stack", [floats([2, 3, 5]), floats([5, 4])], (a, b) => graph.matmul(a, b)),
  opCase(
    "matmul of stretched stacks",
    [floats([2, 1, 3, 5]), floats([3, 5, 4])],
    (a, b) => graph.matmul(a, b),
  ),
  opCase("matmul of a dim", [floats([BATCH, 5]), floats([5, 4])], (a, b) => graph.matmul(a, b), {
    bindings: { batch: 3 },
  }),
  opCase("square of a matrix", [floats([3, 3])], (x) => graph.matmul(x, x)),
];

const NORMS: readonly OpCase[] = [
  opCase("softmax", [floats([3, 7])], (x) => graph.softmax(x)),
  opCase("softmax of the first axis", [floats([5, 3])], (x) => graph.softmax(x, 0)),
  opCase("softmax of wide", [floats([3, 7], "wide")], (x) => graph.softmax(x)),
  opCase("softmax of one", [floats([3, 1])], (x) => graph.softmax(x)),
  opCase("softmax of no rows", [floats([0, 3])], (x) => graph.softmax(x)),
  opCase("logSoftmax", [floats([3, 7])], (x) => graph.logSoftmax(x)),
  opCase("logSoftmax of wide", [floats([3, 7], "wide")], (x) => graph.logSoftmax(x)),
  opCase("layerNorm plain", [floats([3, 7])], (x) => graph.layerNorm(x)),
  opCase(
    "layerNorm",
    [floats([2, 3, 5]), floats([5]), floats([5])],
    (x, scale, bias) => graph.layerNorm(x, { scale, bias, epsilon: 1e-3 }),
  ),
  opCase(
    "layerNorm with a bias",
    [floats([3, 5]), floats([5])],
    (x, bias) => graph.layerNorm(x, { bias }),
  ),
  opCase(
    "layerNorm uncentred",
    [floats([3, 5]), floats([5])],
    (x, scale) => graph.layerNorm(x, { scale, center: false }),
  ),
  opCase("layerNorm of a dim", [floats([BATCH, 5])], (x) => graph.layerNorm(x), {
    bindings: { batch: 2 },
  }),
];

const LAYER_NORM = { epsilon: 1e-3, center: true };
const RMS_NORM = { epsilon: 1e-3, center: false };

const NORM_GRADIENTS: readonly OpCase[] = [
  opCase(
    "layerNormGradInput",
    [floats([2, 3, 5]), floats([2, 3, 5]), floats([5])],
    (x, cotangent, scale) => layerNormGradInput(x, cotangent, scale, LAYER_NORM),
  ),
  opCase(
    "layerNormGradInput uncentred, unscaled",
    [floats([3, 5]), floats([3, 5])],
    (x, cotangent) => layerNormGradInput(x, cotangent, undefined, RMS_NORM),
  ),
  opCase(
    "layerNormGradScale",
    [floats([2, 3, 5]), floats([2, 3, 5])],
    (x, cotangent) => layerNormGradScale(x, cotangent, LAYER_NORM),
  ),
  opCase(
    "layerNormGradScale uncentred",
    [floats([3, 5]), floats([3, 5])],
    (x, cotangent) => layerNormGradScale(x, cotangent, RMS_NORM),
  ),
  opCase("layerNormGradBias", [floats([2, 3, 5])], (cotangent) => layerNormGradBias(cotangent)),
];

const LOSSES: readonly OpCase[] = [
  opCase(
    "softmaxCrossEntropy",
    [floats([4, 5]), floats([4, 5], "fraction")],
    (logits, labels) => graph.softmaxCrossEntropy(logits, labels),
  ),
  opCase(
    "softmaxCrossEntropy of wide",
    [floats([4, 5], "wide"), floats([4, 5], "fraction")],
    (logits, labels) => graph.softmaxCrossEntropy(logits, labels),
  ),
  opCase(
    "sigmoidCrossEntropy",
    [floats([4, 5]), floats([4, 5], "fraction")],
    (logits, labels) => graph.sigmoidCrossEntropy(logits, labels),
  ),
  opCase(
    "sigmoidCrossEntropy of wide",
    [floats([2, 3, 5], "wide"), floats([2, 3, 5], "fraction")],
    (logits, labels) => graph.sigmoidCrossEntropy(logits, labels),
  ),
];

function logSumExp(q: Tensor, k: Tensor): Tensor {
  return makeNode(attentionLogSumExpRecord, [q, k], { scale: 0.5 });
}

const ATTENTION: readonly OpCase[] = [
  opCase(
    "attention",
    [floats([2, 3, 4, 5]), floats([2, 3, 6, 5]), floats([2, 3, 6, 7])],
    (q, k, v) => graph.attention(q, k, v),
  ),
  opCase(
    "attention of matrices",
    [floats([4, 5]), floats([3, 5]), floats([3, 2])],
    (q, k, v) => graph.attention(q, k, v, { scale: 0.7 }),
  ),
  opCase(
    "attention of one",
    [floats([1, 1, 1]), floats([1, 1, 1]), floats([1, 1, 1])],
    (q, k, v) => graph.attention(q, k, v),
  ),
  opCase("attention of itself", [floats([2, 4, 3])], (x) => graph.attention(x, x, x)),
  opCase(
    "attention of no queries",
    [floats([0, 5]), floats([3, 5]), floats([3, 2])],
    (q, k, v) => graph.attention(q, k, v),
  ),
  opCase("attentionLogSumExp", [floats([2, 4, 3]), floats([2, 5, 3])], logSumExp),
];

const QUERY_NORM = { epsilon: 1e-2, center: true };
const KEY_NORM = { epsilon: 1e-2, center: false };

/** q, k, v, the query norm's scale and bias, and the key norm's scale. */
const NORMED_OPERANDS = [
  floats([2, 2, 3, 6]),
  floats([2, 2, 5, 6]),
  floats([2, 2, 5, 4]),
  floats([6]),
  floats([6]),
  floats([6]),
];

/** The result of attention or of its gradient, over operands from before their norms. */
function normedCase(result: AttentionResult): OpCase {
  return opCase(
    `attention of normalised rows: ${result}`,
    NORMED_OPERANDS,
    (q, k, v, scale, bias, keyScale) => {
      const attrs = { scale: 0.5 };
      const norms = {
        query: { ...QUERY_NORM, scale, bias },
        key: { ...KEY_NORM, scale: keyScale, bias: undefined },
      };
      const withNorms = (record: typeof attentionRecord, plain: Tensor[]) =>
        attentionWithNorms(makeNode(record, plain, attrs), { plain, norms });
      const out = withNorms(attentionRecord, [q, k, v]);
      const saved = withNorms(attentionLogSumExpRecord, [q, k]);
      const back = withNorms(attentionGradQueryRecord, [q, k, v, out, saved, graph.sin(out)]);
      if (result === "out") return out;
      return result === "logSumExp" ? saved : otherGradient(back, result);
    },
    { differentiable: result === "out" },
  );
}

const NORMED_ATTENTION: readonly OpCase[] = [
  ...([
    "out",
    "logSumExp",
    "query",
    "key",
    "value",
    "queryScale",
    "queryBias",
    "keyScale",
  ] as const).map(normedCase),
  opCase(
    "attention of normalised rows: keyBias",
    [floats([3, 5]), floats([4, 5]), floats([4, 2]), floats([5]), floats([3, 2])],
    (q, k, v, bias, cotangent) => {
      const attrs = { scale: 0.5 };
      const norms = { query: undefined, key: { ...KEY_NORM, scale: undefined, bias } };
      const normed = graph.layerNorm(k, { ...KEY_NORM, bias });
      const out = makeNode(attentionRecord, [q, normed, v], attrs);
      const saved = makeNode(attentionLogSumExpRecord, [q, normed], attrs);
      const plain = [q, k, v, out, saved, cotangent];
      const back = makeNode(attentionGradKeyRecord, plain, attrs);
      return otherGradient(attentionWithNorms(back, { plain, norms }), "keyBias");
    },
    { differentiable: false },
  ),
  opCase(
    "attention of layer-normalised queries and keys",
    [floats([2, 3, 2, 7]), floats([2, 3, 2, 7]), floats([7])],
    (x, v, scale) => {
      const heads = (y: Tensor) => graph.transpose(y, [0, 2, 1, 3]);
      const norm = { scale, epsilon: 1e-2 };
      return graph.attention(
        heads(graph.layerNorm(x, norm)),
        heads(graph.layerNorm(graph.sin(x), norm)),
        heads(v),
      );
    },
  ),
  opCase(
    "attention of root-mean-square normalised queries to other keys",
    [floats([5, 9]), floats([6, 9]), floats([9]), floats([9])],
    (x, others, scale, bias) => {
      const norm = { epsilon: 1e-2, center: false };
      const q = graph.layerNorm(x, { ...norm, scale, bias });
      return graph.attention(q, graph.layerNorm(others, { ...norm, bias }), others);
    },
  ),
];

/** Cases that fold numbers together. */
export const STRUCTURED_CASES: readonly OpCase[] = [
  ...REDUCTIONS,
  ...CONTRACTIONS,
  ...NORMS,
  ...NORM_GRADIENTS,
  ...LOSSES,
  ...ATTENTION,
  ...NORMED_ATTENTION,
];
