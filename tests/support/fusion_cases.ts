/**
 * Every fusion that the compiler makes in a transformer: what is computed, by which rules, and what
 * kernels come of it. Each is written as its own small graph, several of them in more than one way,
 * since a rule must find the form and not the names.
 */
import type { FusionRule } from "../../compiler/fusion_rules.ts";
import * as g from "../../graph/mod.ts";
import type { Tensor } from "../../graph/mod.ts";

/** What kinds of kernels there are, in alphabetical order: `columns matmul matmul`. */
export type Kernels = string;

/** Something that fuses. */
export interface FusionCase {
  readonly name: string;
  readonly results: Readonly<Record<string, Tensor>>;
  /** What the results are differentiated by; nothing where there is no gradient. */
  readonly wrt: Readonly<Record<string, Tensor>>;
  /** The rules that do it; unfused is without them. */
  readonly rules: readonly FusionRule[];
  readonly forward: FusedCount;
  /** The gradient, given the results' cotangents. */
  readonly gradient?: FusedCount;
  /** Results and gradient in one program. */
  readonly both?: FusedCount;
  /** Error allowed, relative to an output's largest magnitude: what rounding to 16 bits does. */
  readonly tolerance?: number;
}

/** The kernels, and how many there are without the rules. */
export type FusedCount = readonly [kernels: Kernels, unfused: number];

/** Something that looks like one of the cases, but must not fuse, and the reason that is given. */
export interface RefusedCase {
  readonly name: string;
  readonly results: Readonly<Record<string, Tensor>>;
  readonly rule: FusionRule;
  readonly kernels: Kernels;
  readonly because: string;
}

const input = (name: string, ...shape: number[]) => g.input(name, "f32", shape);

const x = input("x", 4, 6, 8);
const residual = input("residual", 4, 6, 8);
const scale = input("scale", 8);
const bias = input("bias", 8);
const weight = input("weight", 8, 8);
const key = g.input("key", "u32", [2]);
const product = g.contract("b n d, d e -> b n e", x, weight);

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
    forward: ["rows", 4],
    gradient: ["columns rows", 8],
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

const heads = (name: string) => input(name, 8, 2, 4);
const wide = input("wide", 8, 12);
const wideBias = input("wide/bias", 12);
const toHeads = "b n d, d h e -> b h n e";
const [q, k, v] = [heads("q"), heads("k"), heads("v")];
const normalized = g.layerNorm(x);
const attended = input("attended", 4, 2, 6, 4);
const out = input("out", 2, 4, 8);
const active = input("active", 4, 6, 12);
const down = input("down", 12, 8);
const images = input("images", 2, 8, 12, 3);
const patchKernel = input("patch", 48, 5);

/** Products that become one. */
const productCases: readonly FusionCase[] = [
  {
    name: "queries, keys and values of one input",
    results: {
      query: g.contract(toHeads, x, q),
      key: g.contract(toHeads, x, k),
      value: g.contract(toHeads, x, v),
    },
    wrt: { x, q, k, v },
    rules: ["merge_contractions_of_shared_operand", "merge_sum_of_contractions"],
    forward: ["matmul", 3],
    gradient: ["matmul matmul", 6],
  },
  {
    name: "queries, keys, values and MLP-in of a parallel block; the MLP alone has a bias",
    results: {
      query: g.contract(toHeads, normalized, q),
      key: g.contract(toHeads, normalized, k),
      value: g.contract(toHeads, normalized, v),
      hidden: g.gelu(g.add(g.contract("b n d, d m -> b n m", normalized, wide), wideBias)),
    },
    wrt: { q, k, v, wide, wideBias },
    rules: ["merge_contractions_of_shared_operand"],
    forward: ["matmul rows", 5],
    gradient: ["columns matmul matmul matmul rows", 7],
  },
  {
    name: "products of one operand with other letters, orders and names",
    results: {
      left: g.contract("tok in, out in -> tok out", input("stuff", 6, 8), input("m1", 5, 8)),
      right: g.tanh(g.contract("p q, q r -> p r", input("stuff", 6, 8), input("m2", 8, 7))),
    },
    wrt: { m1: input("m1", 5, 8), m2: input("m2", 8, 7) },
    rules: ["merge_contractions_of_shared_operand"],
    forward: ["matmul", 2],
    gradient: ["matmul matmul matmul", 3],
  },
  {
    name: "attention-out and MLP-out of a parallel block, biases and residual between them",
    results: {
      y: g.add(
        x,
        g.add(
          g.add(g.contract("b h n e, h e d -> b n d", attended, out), scale),
          g.add(g.contract("b n m, m d -> b n d", active, down), bias),
        ),
      ),
    },
    wrt: { attended, out, active, down },
    rules: ["merge_sum_of_contractions"],
    forward: ["matmul", 2],
    gradient: ["matmul matmul matmul", 3],
  },
  {
    name: "three products added up, in other letters",
    results: {
      y: g.add(
        g.matmul(input("a1", 6, 3), input("b1", 3, 5)),
        g.add(
          g.contract("i j, k j -> i k", input("a2", 6, 4), input("b2", 5, 4)),
          g.matmul(input("a3", 6, 2), input("b3", 2, 5)),
        ),
      ),
    },
    wrt: { a1: input("a1", 6, 3), b2: input("b2", 5, 4) },
    rules: ["merge_sum_of_contractions"],
    forward: ["matmul", 3],
    gradient: ["matmul matmul", 2],
  },
  {
    name: "patch embedding",
    results: {
      y: g.add(
        g.contract("b n p, p d -> b n d", g.patchify(images, 4), patchKernel),
        input("patch/bias", 5),
      ),
    },
    wrt: { patchKernel },
    rules: ["split_contracted_axes"],
    forward: ["matmul", 2],
    gradient: ["matmul", 2],
  },
  {
    name: "patch embedding, by hand",
    results: {
      y: g.contract(
        "b n p, p d -> b n d",
        g.reshape(
          g.transpose(g.reshape(images, [2, 2, 4, 3, 4, 3]), [0, 1, 3, 2, 4, 5]),
          [2, 6, 48],
        ),
        patchKernel,
      ),
    },
    wrt: { patchKernel },
    rules: ["split_contracted_axes"],
    forward: ["matmul", 2],
    gradient: ["matmul", 2],
  },
];

/** Attention of heads whose queries and keys are normalised, before or after the heads are outermost. */
function qkNorm(
  name: string,
  { center, headsInside, apart }: {
    readonly center: boolean;
    readonly headsInside: boolean;
    /** Kernels without the rule, in a backward pass. */
    readonly apart: number;
  },
): FusionCase {
  const scales = { queryScale: input("query/scale", 4), keyScale: input("key/scale", 4) };
  const queries = input("queries", 4, 6, 2, 4);
  const keys = input("keys", 4, 5, 2, 4);
  const swap = (rows: Tensor) => g.transpose(rows, [0, 2, 1, 3]);
  const normed = (rows: Tensor, scale: Tensor) => {
    const norm = (given: Tensor) => g.layerNorm(given, { scale, center, epsilon: 1e-2 });
    return headsInside ? swap(norm(rows)) : norm(swap(rows));
  };
  const y = g.attention(
    normed(queries, scales.queryScale),
    normed(keys, scales.keyScale),
    swap(input("values", 4, 5, 2, 4)),
  );
  return {
    name,
    results: { y },
    wrt: { queries, keys, ...scales },
    rules: ["fold_qk_norm"],
    forward: ["attention", 3],
    // What flows back is brought into the order of the inputs' axes.
    gradient: ["attention attentionGrad rows rows", apart],
    both: ["attention attentionGrad rows rows", apart],
  };
}

const attentionCases: readonly FusionCase[] = [
  qkNorm("QK-norm and attention", { center: true, headsInside: true, apart: 8 }),
  qkNorm("root-mean-square QK-norm and attention, of rows in another order", {
    center: false,
    headsInside: false,
    apart: 10,
  }),
];

/** An Adam step's results (Kingma and Ba 2015, algorithm 1), without its warm-up. */
function adamStep(): Record<string, Tensor> {
  const [p, m, u] = [input("p", 40), input("m", 40), input("u", 40)];
  const slope = input("slope", 40);
  const first = g.add(g.mul(m, 0.9), g.mul(slope, 0.1));
  const second = g.add(g.mul(g.abs(u), 0.99), g.mul(g.square(slope), 0.01));
  const step = g.div(first, g.add(g.sqrt(second), 1e-3));
  return { p: g.sub(p, g.mul(step, 0.01)), m: first, u: second };
}

const otherCases: readonly FusionCase[] = [
  {
    name: "a parameter and its moments",
    results: adamStep(),
    wrt: {},
    rules: ["fuse_elementwise", "join_updates"],
    forward: ["rows", 3],
  },
];

/** What must stay apart. */
export const REFUSED_CASES: readonly RefusedCase[] = [
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
