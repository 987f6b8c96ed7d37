/** Products that become one, and attention with what goes into it. */
import * as g from "../../graph/mod.ts";
import type { Tensor } from "../../graph/mod.ts";
import { bias, type FusionCase, input, scale, x } from "./fusion_case.ts";
import { widened } from "./half_graphs.ts";

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

/** Products that become one, or read what is there. */
export const productCases: readonly FusionCase[] = [
  {
    name: "a product of half floats, one of them transposed",
    results: {
      y: g.tanh(
        g.contract(
          "b n d, e d -> b n e",
          widened("h", "f16", 4, 6, 8),
          widened("w", "bf16", 12, 8),
        ),
      ),
    },
    wrt: { x: g.input("h", "f16", [4, 6, 8]), w: g.input("w", "bf16", [12, 8]) },
    rules: ["widen_on_load"],
    forward: ["matmul", 3],
    gradient: ["matmul matmul matmul", 5],
    tolerance: 4e-3,
  },
  {
    name: "queries, keys and values of one input",
    results: {
      query: g.contract(toHeads, x, q),
      key: g.contract(toHeads, x, k),
      value: g.contract(toHeads, x, v),
    },
    wrt: { x, q, k, v },
    rules: ["merge_contractions_of_shared_operand", "merge_sum_of_contractions"],
    told: ["merge_contractions_of_shared_operand", "merge_sum_of_contractions"],
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
    wrt: { patchKernel, images },
    rules: ["split_contracted_axes"],
    forward: ["matmul", 2],
    gradient: ["matmul matmul rows", 4],
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

const attentionOperands = {
  q: input("attention/q", 2, 3, 6, 4),
  k: input("attention/k", 2, 3, 5, 4),
  v: input("attention/v", 2, 3, 5, 7),
};
const attendedRows = g.attention(attentionOperands.q, attentionOperands.k, attentionOperands.v);

/** Attention in its forms, and with the norms of queries and keys. */
export const attentionCases: readonly FusionCase[] = [
  {
    name: "attention over half floats",
    results: {
      y: g.attention(
        widened("hq", "bf16", 2, 3, 12, 8),
        widened("hk", "f16", 2, 3, 12, 8),
        widened("hv", "bf16", 2, 3, 12, 8),
      ),
    },
    wrt: { q: g.input("hq", "bf16", [2, 3, 12, 8]), k: g.input("hk", "f16", [2, 3, 12, 8]) },
    rules: ["widen_on_load"],
    forward: ["attention", 4],
    gradient: ["attention attentionGrad rows rows", 7],
    tolerance: 4e-3,
  },
  {
    name: "attention",
    results: { y: attendedRows },
    wrt: attentionOperands,
    rules: ["attention_kernel", "attention_gradient_kernel"],
    told: ["attention_kernel", "attention_gradient_kernel"],
    forward: ["attention", 3],
    gradient: ["attention attentionGrad", 8],
    both: ["attention attentionGrad", 8],
  },
  {
    name: "attention in plain products",
    results: { y: attendedRows },
    wrt: attentionOperands,
    rules: ["plain_attention"],
    attention: "plain",
    forward: ["matmul matmul rows", 1],
    gradient: ["matmul matmul matmul matmul matmul rows rows", 2],
    both: ["matmul matmul matmul matmul matmul matmul rows rows", 2],
  },
  qkNorm("QK-norm and attention", { center: true, headsInside: true, apart: 8 }),
  qkNorm("root-mean-square QK-norm and attention, of rows in another order", {
    center: false,
    headsInside: false,
    apart: 10,
  }),
];
