/** What the builders' types let through and what they refuse; each refusal is an error at run time too. */
import {
  add,
  argmax,
  attention,
  cast,
  concat,
  constant,
  contract,
  type Dim,
  dim,
  equal,
  expandDims,
  full,
  gather,
  gelu,
  layerNorm,
  less,
  matmul,
  mean,
  mul,
  patchify,
  reshape,
  select,
  type Shape,
  slice,
  softmaxCrossEntropy,
  spec,
  squeeze,
  sub,
  sum,
  type SymbolicDim,
  type Tensor,
  trace,
  transpose,
  zeros,
} from "../../graph/mod.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";

type Batch = SymbolicDim<"batch">;

const SPECS = {
  x: spec("f32", [dim("batch"), 197, 768]),
  w: spec("f32", [768, 10]),
  labels: spec("i32", [10]),
  small: [spec("f32", [10]), spec("f32", [3, 5])],
} as const;

Deno.test("results have exact types", () => {
  trace(SPECS, ({ x, w, labels, small: [bias, c] }) => {
    const y: Tensor<"f32", [Batch, 197, 10]> = add(contract("b n d, d e -> b n e", x, w), bias);
    const z: Tensor<"f32", [Batch, 10]> = mean(y, 1);
    const kept: Tensor<"f32", [Batch, 1, 10]> = mean(y, -2, { keepDims: true });
    const negative: Tensor<"bool", [Batch, 10]> = less(z, 0);
    const turned: Tensor<"f32", [10, 768]> = transpose(w);
    const same: Tensor<"f32", [10, 768]> = transpose(w, [1, 0]);
    const total: Tensor<"f32", []> = sum(select(negative, z, 0));
    const logits: Tensor<"f32", [Batch, 197, 10]> = matmul(gelu(layerNorm(x)), w);
    const joined: Tensor<"f32", [6, 5]> = concat([c, c], 0);
    const part: Tensor<"f32", [2, 5]> = slice(c, [0, 0], [2, 5]);
    const losses: Tensor<"f32", [Batch]> = softmaxCrossEntropy(z, z);
    const rows: Tensor<"f32", [10, 10]> = gather(w, labels);
    const wider: Tensor<"f32", [3, 1, 5]> = expandDims(c, 1);
    const narrower: Tensor<"f32", [3, 5]> = squeeze(wider, 1);
    const half: Tensor<"f16", [3, 5]> = sub(1, cast(c, "f16"));
    const attended: Tensor<"f32", [Batch, 197, 768]> = attention(x, x, x);
    const best: Tensor<"i32", [Batch]> = argmax(z);
    const list: Tensor<"f32", [3]> = constant([1, 2, 3]);
    const scalar: Tensor<"bool", []> = constant(true);
    const counts: Tensor<"i32", [2, 2]> = full(1, [2, 2], "i32");
    const image: Tensor<"f32", [Batch, 196, 768]> = patchify(
      zeros([dim("batch"), 224, 224, 3]),
      16,
    );
    const rest: Tensor<"f32", [Batch, 1970]> = reshape(y, [dim("batch"), -1]);
    const exact = [kept, same, logits, joined, part, losses, rows, narrower, half, attended];
    return [y, turned, total, best, list, scalar, counts, image, rest, ...exact];
  });
});

Deno.test("what is not known passes", () => {
  trace(SPECS, ({ x, w }) => {
    const wide: Tensor = x;
    const wideShape: Tensor<"f32"> = w;
    const narrow: Tensor<"f32", [768]> = zeros([768]);
    const sums: Tensor[] = [add(wide, x), add(x, wide), mul(narrow, wide), matmul(x, wideShape)];
    return sums;
  });
});

function residual<S extends Shape>(x: Tensor<"f32", S>): Tensor<"f32", S> {
  return add(x, gelu(x));
}

function scaled<N extends Dim>(x: Tensor<"f32", [N, 768]>): Tensor<"f32", [N, 768]> {
  return add(x, mul(gelu(x), 2));
}

Deno.test("layers may be generic in a shape or a dim", () => {
  const result: Tensor<"f32", [2, 768]> = scaled(residual(zeros([2, 768])));
  assertEquals(result.shape, [2, 768]);
});

Deno.test("wrong shapes and element types do not compile", () => {
  trace(SPECS, ({ x, w, labels, small: [bias, c] }) => {
    // @ts-expect-error 197 and 768 do not broadcast
    assertThrows(() => add(x, w));
    // @ts-expect-error f32 and i32
    assertThrows(() => add(bias, labels));
    // @ts-expect-error 5 and 10 do not broadcast
    assertThrows(() => equal(c, bias));
    // @ts-expect-error inner sizes
    assertThrows(() => matmul(w, w));
    // @ts-expect-error d is 768 and 10
    assertThrows(() => contract("b n d, e d -> b n e", x, w));
    // @ts-expect-error z is nowhere
    assertThrows(() => contract("b n d, d e -> b n z", x, w));
    // @ts-expect-error 15 elements
    assertThrows(() => reshape(c, [4, 4]));
    // @ts-expect-error an axis twice
    assertThrows(() => transpose(c, [0, 0]));
    // @ts-expect-error 5 and 10 columns
    assertThrows(() => concat([c, w], 0));
    // @ts-expect-error 4 of 3 rows
    assertThrows(() => slice(c, [0, 0], [4, 5]));
    // @ts-expect-error no such axis
    assertThrows(() => sum(c, 2));
    // @ts-expect-error axis 0 has size 3
    assertThrows(() => squeeze(c, 0));
    // @ts-expect-error shapes differ
    assertThrows(() => softmaxCrossEntropy(c, w));
    // @ts-expect-error 5 is not a multiple of 2
    assertThrows(() => patchify(zeros([1, 5, 4, 1]), 2));
    return x;
  });
});
