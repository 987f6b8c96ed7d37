/**
 * Every fusion that the compiler makes in a transformer: what is computed, by which rules, and what
 * kernels come of it. Each is written as its own small graph, several of them in more than one way,
 * since a rule must find the form and not the names.
 */
import type { FusionRule } from "../../compiler/fusion_rules.ts";
import * as g from "../../graph/mod.ts";
import type { Tensor } from "../../graph/mod.ts";
import {
  bias,
  type FusionCase,
  input,
  type Kernels,
  key,
  product,
  residual,
  scale,
  weight,
  x,
} from "./fusion_case.ts";
import { attentionCases, productCases } from "./fusion_cases_products.ts";

export type { FusedCount, FusionCase } from "./fusion_case.ts";

/** Something that looks like one of the cases, but must not fuse, and the reason that is given. */
export interface RefusedCase {
  readonly name: string;
  readonly results: Readonly<Record<string, Tensor>>;
  readonly rule: FusionRule;
  readonly kernels: Kernels;
  readonly because: string;
}

/** A norm of rows in plain arithmetic. */
function normByHand(rows: Tensor): Tensor {
  const middle = g.mean(rows, -1, { keepDims: true });
  const centered = g.sub(rows, middle);
  const variance = g.mean(g.square(centered), -1, { keepDims: true });
  return g.add(g.mul(g.div(centered, g.sqrt(g.add(variance, 1e-5))), scale), bias);
}

function softmaxByHand(rows: Tensor): Tensor {
  const powers = g.exp(g.sub(rows, g.max(rows, -1, { keepDims: true })));
  return g.div(powers, g.sum(powers, -1, { keepDims: true }));
}

const ROWS: readonly FusionRule[] = ["fuse_rows", "fuse_elementwise"];

/** Something that is one kernel of rows, forward and backward. */
function rows(
  name: string,
  results: FusionCase["results"],
  [forward, gradient]: readonly [forward: number, gradient: number],
): FusionCase {
  const counts = { forward: ["rows", forward], gradient: ["rows", gradient] } as const;
  return { name, results, wrt: { x }, rules: ROWS, ...counts };
}

const sum = g.add(x, residual);

/** Norms and softmax: statistics, and what they are for, in one kernel. */
const rowCases: readonly FusionCase[] = [
  rows("layer norm", { y: g.layerNorm(x, { scale, bias }) }, [4, 6]),
  rows("layer norm, by hand", { y: normByHand(x) }, [4, 8]),
  rows("root-mean-square norm", { y: g.layerNorm(x, { scale, center: false }) }, [3, 4]),
  rows("a residual and its norm", { sum, y: g.layerNorm(sum, { scale, bias }) }, [5, 7]),
  rows("softmax", { y: g.softmax(x) }, [4, 5]),
  rows("softmax, by hand", { y: softmaxByHand(x) }, [4, 9]),
  rows("log softmax", { y: g.logSoftmax(x) }, [4, 5]),
  {
    name: "layer norm with its parameters' gradients",
    results: { y: g.layerNorm(x, { scale, bias }) },
    wrt: { x, scale, bias },
    rules: [...ROWS, "fuse_columns"],
    told: ["fuse_rows", "fuse_columns"],
    forward: ["rows", 4],
    gradient: ["columns rows", 8],
  },
  {
    name: "sums over the outer axes, and what follows",
    results: (() => {
      const total = g.sum(x, [0, 1]);
      return { y: g.tanh(g.mul(total, scale)), squares: g.sum(g.square(x), [0, 1]) };
    })(),
    wrt: { x, scale },
    rules: ["fuse_columns", "fuse_elementwise"],
    forward: ["columns", 3],
    gradient: ["columns rows", 5],
    both: ["columns rows", 6],
  },
  {
    name: "a chain of elementwise ops",
    results: { y: g.gelu(g.mul(g.tanh(g.add(x, bias)), g.sigmoid(residual))) },
    wrt: { x, residual },
    rules: ["fuse_elementwise"],
    forward: ["rows", 2],
    gradient: ["rows", 6],
    both: ["rows", 7],
  },
  {
    name: "a cheap value that is read in two other orders",
    results: (() => {
      const cheap = g.mul(g.add(x, bias), 0.5);
      const turned = g.exp(g.transpose(cheap, [0, 2, 1]));
      return { y: g.sum(turned, -1), z: g.softmax(g.reverse(cheap, 1)) };
    })(),
    wrt: { x, bias },
    rules: ["recompute_cheap_values"],
    forward: ["rows rows", 3],
    gradient: ["columns rows rows", 5],
    both: ["columns rows rows rows", 5],
  },
];

const logits = input("logits", 12, 10);
const labels = input("labels", 12, 10);
const softmaxLosses = g.softmaxCrossEntropy(logits, labels);
const sigmoidLosses = g.sigmoidCrossEntropy(logits, labels);

/** Losses: one kernel over the classes. Their mean over the batch reads one number a row. */
function losses(
  name: string,
  y: Tensor,
  counts: Pick<FusionCase, "forward" | "gradient" | "both">,
): FusionCase {
  const rules = [...ROWS, "recompute_cheap_values"] as const;
  return { name, results: { y }, wrt: { logits }, rules, ...counts };
}

const lossCases: readonly FusionCase[] = [
  losses("softmax cross-entropy", softmaxLosses, {
    forward: ["rows", 8],
    gradient: ["rows", 10],
    both: ["rows", 14],
  }),
  losses(
    "softmax cross-entropy, by hand",
    g.neg(g.sum(g.mul(labels, g.logSoftmax(logits)), -1)),
    { forward: ["rows", 9], gradient: ["rows", 12], both: ["rows", 15] },
  ),
  losses("sigmoid cross-entropy", sigmoidLosses, {
    forward: ["rows", 9],
    gradient: ["rows", 3],
    both: ["rows rows", 12],
  }),
  losses("mean softmax cross-entropy", g.mean(softmaxLosses), {
    forward: ["rows rows", 10],
    gradient: ["rows", 11],
    both: ["rows rows", 17],
  }),
  losses("mean sigmoid cross-entropy", g.mean(sigmoidLosses), {
    forward: ["rows rows", 11],
    gradient: ["rows", 4],
    both: ["rows rows rows", 15],
  }),
];

const EPILOGUE: readonly FusionRule[] = ["fuse_epilogue"];
const operands = { x, weight };

/**
 * What follows a product, with another product behind it: forward it is an epilogue of the one, and
 * what flows back through it an epilogue of the other's gradient.
 */
function between(
  name: string,
  epilogue: (product: Tensor) => Tensor,
  counts: Pick<FusionCase, "forward" | "gradient" | "both">,
  wrt: FusionCase["wrt"] = operands,
): FusionCase {
  const y = g.contract("b n d, d e -> b n e", epilogue(product), input("second", 8, 8));
  return { name: `${name} between two products`, results: { y }, wrt, rules: EPILOGUE, ...counts };
}

const epilogueCases: readonly FusionCase[] = [
  between("bias", (y) => g.add(y, bias), {
    forward: ["matmul matmul", 3],
    gradient: ["columns matmul matmul matmul", 4],
  }, { ...operands, bias }),
  between("gelu by tanh", (y) => g.gelu(y, "tanh"), {
    forward: ["matmul matmul", 3],
    gradient: ["matmul matmul matmul matmul", 5],
    both: ["matmul matmul matmul matmul matmul", 6],
  }),
  between("gelu by erf", (y) => g.gelu(y, "erf"), {
    forward: ["matmul matmul", 3],
    gradient: ["matmul matmul matmul matmul", 5],
    both: ["matmul matmul matmul matmul matmul", 6],
  }),
  between("residual", (y) => g.add(residual, y), {
    forward: ["matmul matmul", 3],
    gradient: ["matmul matmul matmul", 3],
    both: ["matmul matmul matmul matmul matmul", 6],
  }),
  between("scale by a number", (y) => g.mul(y, 0.125), {
    forward: ["matmul matmul", 3],
    gradient: ["matmul matmul matmul", 4],
  }),
  between("scale by a vector", (y) => g.mul(y, scale), {
    forward: ["matmul matmul", 3],
    gradient: ["columns matmul matmul matmul matmul", 6],
  }, { ...operands, scale }),
  between("dropout", (y) => g.dropout(key, y, 0.25), {
    forward: ["matmul matmul", 3],
    gradient: ["matmul matmul matmul", 4],
    both: ["matmul matmul matmul matmul matmul", 6],
  }),
  between(
    "dropout by hand",
    (y) => g.mul(y, g.cast(g.less(g.uniform(key, [4, 6, 8]), 0.75), "f32")),
    {
      forward: ["matmul matmul", 3],
      gradient: ["matmul matmul matmul", 4],
      both: ["matmul matmul matmul matmul matmul", 6],
    },
  ),
  between("bias, gelu and dropout", (y) => g.dropout(key, g.gelu(g.add(y, bias)), 0.25), {
    forward: ["matmul matmul", 3],
    gradient: ["matmul matmul matmul matmul", 5],
    both: ["matmul matmul matmul matmul matmul", 6],
  }),
  {
    name: "cast to f16",
    results: { y: g.cast(product, "f16") },
    wrt: operands,
    rules: EPILOGUE,
    forward: ["matmul", 2],
    gradient: ["matmul matmul rows", 3],
    tolerance: 2 ** -10,
  },
  {
    name: "cast to bf16",
    results: { y: g.cast(product, "bf16") },
    wrt: operands,
    rules: EPILOGUE,
    forward: ["matmul", 2],
    gradient: ["matmul matmul rows", 3],
    tolerance: 2 ** -7,
  },
  {
    name: "bias, gelu, dropout, scale, residual and cast at once",
    results: {
      y: g.cast(
        g.add(residual, g.mul(g.dropout(key, g.gelu(g.add(product, bias)), 0.25), scale)),
        "f16",
      ),
    },
    wrt: operands,
    rules: EPILOGUE,
    forward: ["matmul", 2],
    gradient: ["matmul matmul matmul", 4],
    tolerance: 2 ** -10,
  },
];

const step = {
  p: input("p", 40),
  m: input("m", 40),
  u: input("u", 40),
  slope: input("slope", 40),
};

/** An Adam step's results (Kingma and Ba 2015, algorithm 1), without its warm-up. */
function adamStep({ p, m, u, slope }: typeof step): Record<string, Tensor> {
  const first = g.add(g.mul(m, 0.9), g.mul(slope, 0.1));
  const second = g.add(g.mul(g.abs(u), 0.99), g.mul(g.square(slope), 0.01));
  const change = g.div(first, g.add(g.sqrt(second), 1e-3));
  return { p: g.sub(p, g.mul(change, 0.01)), m: first, u: second };
}

const otherCases: readonly FusionCase[] = [
  {
    name: "a parameter and its moments",
    results: adamStep(step),
    wrt: step,
    rules: ["join_updates", "fuse_elementwise"],
    told: ["join_updates", "fuse_elementwise"],
    forward: ["rows", 3],
    gradient: ["rows", 5],
    both: ["rows", 7],
  },
];

/** What must stay apart. */
export const REFUSED_CASES: readonly RefusedCase[] = [
  {
    name: "half floats where templates load f32",
    results: { y: g.matmul(residual, g.cast(g.input("halves", "f16", [8, 8]), "f32")) },
    rule: "widen_on_load",
    kernels: "matmul rows",
    because: "reads f32",
  },
  {
    name: "a sum of products, one of which is a result",
    results: (() => {
      const second = g.matmul(residual, input("second", 8, 8));
      return { y: g.add(product, second), product };
    })(),
    rule: "merge_sum_of_contractions",
    kernels: "matmul matmul",
    because: "its value is used elsewhere as well",
  },
  {
    name: "products of one operand, one of which needs the other",
    results: (() => {
      const other = g.add(weight, g.mean(product));
      return { product, y: g.matmul(x, other) };
    })(),
    rule: "merge_contractions_of_shared_operand",
    kernels: "matmul matmul rows rows",
    because: "it cannot move past",
  },
  {
    name: "a norm of a product's rows",
    results: { y: g.layerNorm(product) },
    rule: "fuse_rows",
    kernels: "matmul rows",
    because: "it needs whole rows, and a matrix product has a tile of them",
  },
  {
    name: "a product that its bias reads in another order",
    results: (() => {
      const square = g.matmul(input("square", 8, 8), weight);
      return { y: g.add(square, g.transpose(square)) };
    })(),
    rule: "fuse_epilogue",
    kernels: "matmul rows",
    because: "it reads contract in another order",
  },
];

/** All of them. */
export const FUSION_CASES: readonly FusionCase[] = [
  ...rowCases,
  ...lossCases,
  ...epilogueCases,
  ...productCases,
  ...attentionCases,
  ...otherCases,
];
