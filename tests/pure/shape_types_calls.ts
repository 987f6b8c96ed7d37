/**
 * The shape rules behind builders' signatures: what is inferred, and what is refused. This file is
 * only checked, never run: each line holds by being accepted, or by standing under
 * `@ts-expect-error`.
 */
import type { DType } from "../../graph/dtype.ts";
import type { Tensor } from "../../graph/node.ts";
import type { Dim, Shape, SymbolicDim } from "../../graph/shape.ts";
import type { Broadcast, ShapeOf, Valid } from "../../graph/shape_types.ts";
import type { Equal, Expect } from "./shape_types_cases.ts";
import {
  add,
  concat,
  contract,
  dim,
  gelu,
  input,
  matmul,
  mul,
  reduceSum,
  reshape,
  transpose,
} from "./shape_types_ops.ts";

type B = SymbolicDim<"batch">;

/** What a variable's type is, without `readonly`'s help. */
declare function shapeOf<S extends Shape>(x: Tensor<DType, S>): S;

export function calls(anything: Tensor, floats: Tensor<"f32">, count: number): unknown[] {
  const batch = dim("batch");
  const x = input("x", "f32", [batch, 197, 768]);
  const y = input("y", "f32", [batch, 196, 768]);
  const whole = input("whole", "i32", [batch, 197, 768]);
  const weight = input("w", "f32", [768, 3072]);
  const counted = input("counted", "f32", [count, 768]);
  const hidden = gelu(add(contract("b n d, d e -> b n e", x, weight), input("b", "f32", [3072])));
  const heads = transpose(reshape(x, [batch, 197, 12, 64]), [0, 2, 1, 3]);

  const exact: Tensor<"f32", [SymbolicDim<"batch">, 197, 3072]> = hidden;
  const shapes: [
    Expect<Equal<typeof x, Tensor<"f32", [B, 197, 768]>>>,
    Expect<Equal<typeof counted, Tensor<"f32", [number, 768]>>>,
    Expect<Equal<typeof heads, Tensor<"f32", [B, 12, 197, 64]>>>,
  ] = [true, true, true];

  const scaled = mul(x, 0.125);
  const joined = concat([x, y], 1);
  const total = reduceSum(x);
  const means = reduceSum(x, [1, -1], { keepDims: true });
  const free = add(anything, floats);
  const results: [
    Expect<Equal<typeof scaled, Tensor<"f32", [B, 197, 768]>>>,
    Expect<Equal<typeof joined, Tensor<"f32", [B, 393, 768]>>>,
    Expect<Equal<typeof total, Tensor<"f32", []>>>,
    Expect<Equal<typeof means, Tensor<"f32", [B, 1, 1]>>>,
    Expect<Equal<typeof free, Tensor<DType, Shape>>>,
  ] = [true, true, true, true, true];

  const wrong = [
    // @ts-expect-error -- 196 against 197
    add(x, y),
    // @ts-expect-error -- f32 against i32
    add(x, whole),
    // @ts-expect-error -- 196 against 197
    mul(x, y),
    // @ts-expect-error -- inner dims
    matmul(x, x),
    // @ts-expect-error -- e d is d e
    contract("b n d, e d -> b n e", x, weight),
    // @ts-expect-error -- no q
    contract("b n d, d e -> b n q", x, weight),
    // @ts-expect-error -- rank
    contract("n d, d e -> n e", x, weight),
    // @ts-expect-error -- element counts
    reshape(x, [batch, 196, 12, 64]),
    // @ts-expect-error -- axis 1 twice
    transpose(x, [0, 1, 1]),
    // @ts-expect-error -- ranks
    concat([x, weight], 1),
    // @ts-expect-error -- dtypes
    concat([x, whole], 1),
    // @ts-expect-error -- axis out of range
    reduceSum(x, 3),
    // @ts-expect-error -- axis out of range, in a list
    reduceSum(x, [0, 5], { keepDims: true }),
    // @ts-expect-error -- another result than declared
    shapeOf<[B, 197, 767]>(x),
  ];

  // One error is told once: the result of a wrong call has an unknown rank and fits everywhere.
  // @ts-expect-error -- only the inner call is wrong
  const after = add(add(x, y), weight);
  const unknown: [Expect<Equal<typeof after, Tensor<"f32", Dim[]>>>] = [true];

  const wide = [
    add(floats, x),
    add(x, floats),
    add(counted, weight.shape[0] === 768 ? counted : input("c", "f32", [count, 768])),
    matmul(floats, weight),
    contract("b n d, d e -> b n e", floats, weight),
    reshape(floats, [batch, 3]),
    transpose(floats, [0, 1]),
    concat([floats, x], 1),
    reduceSum(floats, 3),
    reduceSum(x, count),
  ];
  return [exact, shapes, scaled, results, wrong, unknown, wide];
}

/** A layer generic in its shape: equal shapes go together. */
export function shapeGeneric<S extends Shape>(x: Tensor<"f32", S>): Tensor<"f32", S> {
  return add(x, gelu(x));
}

/** A layer generic in one dim. */
export function dimGeneric<N extends Dim>(
  x: Tensor<"f32", [N, 768]>,
  weight: Tensor<"f32", [768, 10]>,
  bias: Tensor<"f32", [10]>,
): Tensor<"f32", [N, 10]> {
  return add(contract("n d, d e -> n e", add(x, x), weight), bias);
}

/** What a builder's body looks like: the rule's result is a `Shape` whatever it is. */
export function builder<D extends DType, A extends Shape, B extends Shape>(
  a: Tensor<D, A>,
  b: Tensor<NoInfer<D>, B> & Valid<Broadcast<A, B, "add">>,
): Tensor<D, ShapeOf<Broadcast<A, B, "add">>> {
  const node: Tensor = untyped(a, b);
  return node as Tensor<D, ShapeOf<Broadcast<A, B, "add">>>;
}
declare function untyped(...operands: readonly Tensor[]): Tensor;
