/**
 * The shape rules one by one. This file is only checked, never run: each line holds by being
 * accepted.
 */
import type { Dim, Shape, SymbolicDim } from "../../graph/shape.ts";
import type {
  Add,
  Broadcast,
  BroadcastTo,
  Compare,
  Concat,
  Contract,
  ContractSpec,
  Divide,
  Expand,
  LastDim,
  LeadingDims,
  MatMul,
  Multiply,
  Pad,
  Patchify,
  Reduce,
  Reshape,
  SameShape,
  ShapeMismatch,
  ShapeOf,
  Slice,
  SliceAxis,
  Squeeze,
  Subtract,
  Take,
  Transpose,
} from "../../graph/shape_types.ts";

/** Whether the two are the same type. */
export type Equal<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2)
  ? true
  : false;

/** An error unless the type is `true`. */
export type Expect<T extends true> = T;
type Gives<Rule, S> = Equal<ShapeOf<Rule>, S>;
type IsMismatch<T> = [T] extends [ShapeMismatch] ? true : false;
type MessageOf<T> = T extends ShapeMismatch<infer Message> ? Message : never;
type B = SymbolicDim<"batch">;
type N = SymbolicDim<"tokens">;

export type DecimalCases = [
  Expect<Equal<Add<197, 768>, 965>>,
  Expect<Equal<Add<999, 1>, 1000>>,
  Expect<Equal<Add<1, 999999999999>, 1000000000000>>,
  Expect<Equal<Add<0, 5>, 5>>,
  Expect<Equal<Add<number, 5>, number>>,
  Expect<Equal<Add<-3, 5>, number>>,
  Expect<Equal<Add<2.5, 5>, number>>,
  Expect<Equal<Add<2 | 3, 5>, 7 | 8>>,
  Expect<Equal<Subtract<1000, 1>, 999>>,
  Expect<Equal<Subtract<1000, 999>, 1>>,
  Expect<Equal<Subtract<7, 7>, 0>>,
  Expect<Equal<Subtract<1, 1000>, -999>>,
  Expect<Equal<Multiply<197, 768>, 151296>>,
  Expect<Equal<Multiply<999999, 999999>, 999998000001>>,
  Expect<Equal<Multiply<1000000, 1000000>, 1000000000000>>,
  Expect<Equal<Multiply<1, 64>, 64>>,
  Expect<Equal<Multiply<64, 1>, 64>>,
  Expect<Equal<Multiply<0, 768>, 0>>,
  Expect<Equal<Multiply<number, 0>, number>>,
  Expect<Equal<Divide<151296, 768>, 197>>,
  Expect<Equal<Divide<999998000001, 999999>, 999999>>,
  Expect<Equal<Divide<1000, 10>, 100>>,
  Expect<Equal<Divide<0, 7>, 0>>,
  Expect<Equal<Divide<225, 16>, undefined>>,
  Expect<Equal<Divide<5, 0>, undefined>>,
  Expect<Equal<Compare<9, 10>, "less">>,
  Expect<Equal<Compare<10, 9>, "greater">>,
  Expect<Equal<Compare<10, 10>, "equal">>,
  Expect<Equal<Compare<number, 10>, undefined>>,
];

export type BroadcastCases = [
  Expect<Gives<Broadcast<[2, 3], [2, 3]>, [2, 3]>>,
  Expect<Gives<Broadcast<[2, 3], [3]>, [2, 3]>>,
  Expect<Gives<Broadcast<[3], [2, 3]>, [2, 3]>>,
  Expect<Gives<Broadcast<[], [2, 3]>, [2, 3]>>,
  Expect<Gives<Broadcast<[], []>, []>>,
  Expect<Gives<Broadcast<readonly [3], readonly [2, 3]>, [2, 3]>>,
  Expect<Gives<Broadcast<[2, 1, 4], [3, 1]>, [2, 3, 4]>>,
  Expect<Gives<Broadcast<[B, 197, 768], [1, 197, 768]>, [B, 197, 768]>>,
  Expect<Gives<Broadcast<[1, 768], [B, 768]>, [B, 768]>>,
  Expect<Gives<Broadcast<[0, 3], [1, 3]>, [0, 3]>>,
  Expect<Gives<Broadcast<[number, 3], [5, 3]>, [5, 3]>>,
  Expect<Gives<Broadcast<[number, 3], [1, 3]>, [number, 3]>>,
  Expect<Gives<Broadcast<[number, 3], [B, 3]>, [B, 3]>>,
  Expect<Gives<Broadcast<[number], [number]>, [number]>>,
  Expect<Gives<Broadcast<[Dim], [number]>, [Dim]>>,
  Expect<Gives<Broadcast<[1 | 5], [7]>, [7]>>,
  Expect<Gives<Broadcast<[SymbolicDim], [B]>, [B]>>,
  Expect<Gives<Broadcast<Shape, [5, 3]>, Dim[]>>,
  Expect<Gives<Broadcast<[5, 3], Dim[]>, Dim[]>>,
  Expect<Gives<Broadcast<Shape, Shape>, Shape>>,
  Expect<Gives<Broadcast<[...Dim[], 768], [5, 768]>, [...Dim[], 768]>>,
  Expect<Equal<ShapeOf<Broadcast<[2] | [3], [3]>>, Dim[] | [3]>>,
  Expect<Equal<IsMismatch<Broadcast<[2] | [3], [3]>>, false>>,
  Expect<
    Equal<
      MessageOf<Broadcast<[B, 196, 768], [B, 197, 768], "add">>,
      "add: 196 and 197 do not broadcast, in [batch, 196, 768] and [batch, 197, 768]"
    >
  >,
  Expect<IsMismatch<Broadcast<[B], [N]>>>,
  Expect<IsMismatch<Broadcast<[B], [7]>>>,
  Expect<IsMismatch<Broadcast<[0], [3]>>>,
  Expect<IsMismatch<Broadcast<[...Dim[], 768], [5, 767]>>>,
  Expect<Equal<BroadcastTo<[1, 768], [B, 197, 768]>, [B, 197, 768]>>,
  Expect<Equal<BroadcastTo<[], readonly [2, 3]>, [2, 3]>>,
  Expect<Equal<BroadcastTo<Shape, [2, 3]>, [2, 3]>>,
  Expect<Equal<BroadcastTo<[number], [2, 3]>, [2, 3]>>,
  Expect<IsMismatch<BroadcastTo<[2, 3], [3]>>>,
  Expect<
    Equal<MessageOf<BroadcastTo<[3], [1]>>, "broadcast: [3] does not broadcast to [1]">
  >,
  Expect<Gives<SameShape<[B, 3], [B, 3]>, [B, 3]>>,
  Expect<Gives<SameShape<[B, number], [number, 3]>, [B, 3]>>,
  Expect<Gives<SameShape<[B, 3], Shape>, [B, 3]>>,
  Expect<Gives<SameShape<Shape, [B, 3]>, [B, 3]>>,
  Expect<IsMismatch<SameShape<[B, 3], [1, 3]>>>,
  Expect<
    Equal<
      MessageOf<SameShape<[3], [B, 3], "select">>,
      "select: [3] and [batch, 3] are not the same shape"
    >
  >,
];

export type MatMulCases = [
  Expect<Equal<MatMul<[2, 3], [3, 4]>, [2, 4]>>,
  Expect<Equal<MatMul<[B, 197, 768], [768, 3072]>, [B, 197, 3072]>>,
  Expect<Equal<MatMul<[B, 12, 197, 64], [1, 12, 64, 197]>, [B, 12, 197, 197]>>,
  Expect<Equal<MatMul<[2, N], [N, 4]>, [2, 4]>>,
  Expect<Equal<MatMul<[2, number], [3, 4]>, [2, 4]>>,
  Expect<Equal<MatMul<Shape, [3, 4]>, [...Dim[], Dim, 4]>>,
  Expect<Equal<MatMul<[5, 2, 3], Shape>, [...Dim[], 2, Dim]>>,
  Expect<Equal<MatMul<Shape, Shape>, Dim[]>>,
  Expect<
    Equal<
      MessageOf<MatMul<[2, 3], [4, 5]>>,
      "matmul: inner dims 3 and 4 differ, in [2, 3] and [4, 5]"
    >
  >,
  Expect<Equal<MessageOf<MatMul<[3], [3, 4]>>, "matmul: wanted at least 2 dims, got [3]">>,
  Expect<Equal<MessageOf<MatMul<Shape, [4]>>, "matmul: wanted at least 2 dims, got [4]">>,
  Expect<IsMismatch<MatMul<[2, 2, 3], [5, 3, 4]>>>,
  Expect<IsMismatch<MatMul<[2, B], [N, 4]>>>,
];

export type ContractCases = [
  Expect<Equal<Contract<"b n d, d e -> b n e", [B, 197, 768], [768, 10]>, [B, 197, 10]>>,
  Expect<Equal<Contract<"b h q d,b h k d->b h q k", [B, 2, 3, 4], [B, 2, 5, 4]>, [B, 2, 3, 5]>>,
  Expect<Equal<Contract<"  b   d ,  d->b  ", [B, 4], [4]>, [B]>>,
  Expect<Equal<Contract<"b d,\n\td -> b", [B, 4], [4]>, [B]>>,
  Expect<Equal<Contract<"d, d ->", [4], [4]>, []>>,
  Expect<Equal<Contract<", d -> d", [], [4]>, [4]>>,
  Expect<Equal<Contract<"i, j -> j i", [2], [3]>, [3, 2]>>,
  Expect<Equal<Contract<"b n, n -> b", [number, number], [7]>, [number]>>,
  Expect<Equal<Contract<"b n, n -> n", [number, number], [7]>, [7]>>,
  Expect<Equal<Contract<"b d, d e -> b e", Shape, [4, 5]>, [Dim, 5]>>,
  Expect<Equal<Contract<string, [2, 3], [4, 5]>, Dim[]>>,
  Expect<
    Equal<
      MessageOf<Contract<"b n d, d e -> b n e", [B, 197, 768], [767, 10]>>,
      'contract "b n d, d e -> b n e": d is 768 in the first operand and 767 in the second'
    >
  >,
  Expect<
    Equal<
      MessageOf<Contract<"b d, d e -> b e", [B, 197, 768], [768, 10]>>,
      'contract "b d, d e -> b e": [batch, 197, 768] has 3 dims for the 2 names "b d"'
    >
  >,
  Expect<IsMismatch<Contract<"b d, d e -> b e", [B, 4], [4]>>>,
  Expect<IsMismatch<Contract<"b d, b d -> b", [B, 4], [N, 4]>>>,
  Expect<Equal<ContractSpec<"a b, b -> a">, "a b, b -> a">>,
  Expect<Equal<ContractSpec<string>, string>>,
  Expect<
    Equal<
      MessageOf<ContractSpec<"a b, b -> c">>,
      'contract "a b, b -> c": c of the result is in neither operand'
    >
  >,
  Expect<
    Equal<
      MessageOf<ContractSpec<"a a, b -> b">>,
      'contract "a a, b -> b": a stands twice in the first operand'
    >
  >,
  Expect<
    Equal<
      MessageOf<ContractSpec<"a b -> b">>,
      'contract "a b -> b": wanted two operands and a result, as "b n d, d e -> b n e"'
    >
  >,
  Expect<IsMismatch<ContractSpec<"a, b, c -> a b c">>>,
  Expect<IsMismatch<ContractSpec<"a, b b -> a">>>,
  Expect<IsMismatch<ContractSpec<"a, b -> a a">>>,
  Expect<IsMismatch<ContractSpec<"a, b">>>,
  Expect<IsMismatch<ContractSpec<"">>>,
];

export type ReshapeCases = [
  Expect<Equal<Reshape<[197, 768], [151296]>, [151296]>>,
  Expect<Equal<Reshape<[B, 197, 768], readonly [B, 197, 12, 64]>, [B, 197, 12, 64]>>,
  Expect<Equal<Reshape<[B, 12, 64], [64, 12, B]>, [64, 12, B]>>,
  Expect<Equal<Reshape<[999999, 1000000], [1000000, 999999]>, [1000000, 999999]>>,
  Expect<Equal<Reshape<[SymbolicDim<"12*batch">, 64], [B, 768]>, [B, 768]>>,
  Expect<
    Equal<Reshape<[B, N, 4], [SymbolicDim<"4*batch*tokens">]>, [
      SymbolicDim<"4*batch*tokens">,
    ]>
  >,
  Expect<Equal<Reshape<[], [1, 1]>, [1, 1]>>,
  Expect<Equal<Reshape<[1], []>, []>>,
  Expect<Equal<Reshape<[0, 3], [0, 5]>, [0, 5]>>,
  Expect<Equal<Reshape<[number, 6], [number, 4]>, [number, 4]>>,
  Expect<Equal<Reshape<Shape, [2, 3]>, [2, 3]>>,
  Expect<Equal<Reshape<[2, 3], Shape>, Dim[]>>,
  Expect<Equal<Reshape<[2 | 3, 4], [8]>, [8]>>,
  Expect<Equal<Reshape<[197, 768], [-1, 64]>, [2364, 64]>>,
  Expect<Equal<Reshape<[B, 197, 768], [-1, 768]>, [SymbolicDim<"197*batch">, 768]>>,
  Expect<Equal<Reshape<[B, 197, 768], [B, -1]>, [B, 151296]>>,
  Expect<Equal<Reshape<[2, B, 3], [6, -1]>, [6, B]>>,
  Expect<Equal<Reshape<[B, N], [-1]>, [SymbolicDim]>>,
  Expect<Equal<Reshape<[number, 6], [-1, 4]>, [Dim, 4]>>,
  Expect<
    Equal<
      MessageOf<Reshape<[B, 197, 768], [B, 196, 768]>>,
      "reshape: [batch, 197, 768] has 151296*batch elements, [batch, 196, 768] 150528*batch"
    >
  >,
  Expect<
    Equal<
      MessageOf<Reshape<[2, 3], [-1, 4]>>,
      "reshape: [2, 3] has 6 elements, [-1, 4] no whole number of rows for -1"
    >
  >,
  Expect<
    Equal<
      MessageOf<Reshape<[2, 3], [-1, -1]>>,
      "reshape: [2, 3] has 6 elements, [-1, -1] more than one -1"
    >
  >,
  Expect<IsMismatch<Reshape<[2, 3], [-2, -3]>>>,
  Expect<IsMismatch<Reshape<[2, 3], [2.5, 3]>>>,
  Expect<IsMismatch<Reshape<[B, 2], [N, 2]>>>,
  Expect<IsMismatch<Reshape<[B, 2], [B, B, 2]>>>,
  Expect<IsMismatch<Reshape<[0, 3], [3]>>>,
  Expect<Equal<Patchify<[B, 224, 224, 3], 16>, [B, 196, 768]>>,
  Expect<Equal<Patchify<[B, 28, 28, 1], 7>, [B, 16, 49]>>,
  Expect<Equal<Patchify<[B, 224, 224, N], 16>, [B, 196, SymbolicDim<"256*tokens">]>>,
  Expect<Equal<Patchify<[number, number, 224, 3], 16>, [number, number, 768]>>,
  Expect<Equal<Patchify<[B, 224, 224, 3], number>, [B, number, number]>>,
  Expect<Equal<Patchify<Shape, 16>, [Dim, Dim, Dim]>>,
  Expect<
    Equal<
      MessageOf<Patchify<[B, 225, 224, 3], 16>>,
      "patchify: height 225 is not a multiple of 16"
    >
  >,
  Expect<IsMismatch<Patchify<[B, 224, 225, 3], 16>>>,
  Expect<IsMismatch<Patchify<[224, 224, 3], 16>>>,
];

export type MovementCases = [
  Expect<Equal<Transpose<[B, 197, 12, 64], readonly [0, 2, 1, 3]>, [B, 12, 197, 64]>>,
  Expect<Equal<Transpose<[B, 2, 3], [0, -1, -2]>, [B, 3, 2]>>,
  Expect<Equal<Transpose<[B, 2, 3], undefined>, [3, 2, B]>>,
  Expect<Equal<Transpose<[], []>, []>>,
  Expect<Equal<Transpose<[2, 3], number[]>, [Dim, Dim]>>,
  Expect<Equal<Transpose<[2, 3], [number, number]>, [Dim, Dim]>>,
  Expect<Equal<Transpose<Shape, [1, 0]>, [Dim, Dim]>>,
  Expect<
    Equal<
      MessageOf<Transpose<[B, 2, 3], [0, 1, 1]>>,
      "transpose: [0, 1, 1] does not name each axis of [batch, 2, 3] once"
    >
  >,
  Expect<IsMismatch<Transpose<[2, 3], [0]>>>,
  Expect<IsMismatch<Transpose<[2, 3], [0, 2]>>>,
  Expect<IsMismatch<Transpose<[2, 3], [1, -1]>>>,
  Expect<Equal<Concat<[[B, 1, 768], [B, 196, 768]], 1>, [B, 197, 768]>>,
  Expect<Equal<Concat<[[2], [3], [4]], -1>, [9]>>,
  Expect<Equal<Concat<[[B, 3]], 0>, [B, 3]>>,
  Expect<Equal<Concat<[[number, 3], [5, 3]], 0>, [number, 3]>>,
  Expect<Equal<Concat<[[5, number], [5, 3]], 0>, [10, 3]>>,
  Expect<Equal<Concat<[Shape, [5, 3]], 0>, Dim[]>>,
  Expect<Equal<Concat<[[5, 3], [5, 3]], number>, [Dim, Dim]>>,
  Expect<Equal<Concat<[5, 3][], 0>, [Dim, Dim]>>,
  Expect<
    Equal<
      MessageOf<Concat<[[B, 1, 768], [B, 196, 767]], 1>>,
      "concat: [batch, 1, 768] and [batch, 196, 767] differ at axis 2"
    >
  >,
  Expect<
    Equal<
      MessageOf<Concat<[[B, 3], [5, 3]], 0>>,
      "concat: batch and 5 at axis 0 have no sum"
    >
  >,
  Expect<IsMismatch<Concat<[[2, 3], [3]], 0>>>,
  Expect<IsMismatch<Concat<[[2, 3], [2, 3]], 2>>>,
  Expect<IsMismatch<Concat<[[2, 3], [2, 3]], -3>>>,
  Expect<IsMismatch<Concat<[], 0>>>,
  Expect<Equal<Slice<[B, 197, 768], [0, 1, 0], [B, 197, 64]>, [B, 196, 64]>>,
  Expect<Equal<Slice<[10, 10], [-3, 0], [10, -2]>, [3, 8]>>,
  Expect<Equal<Slice<[10, 10], [0, 0], [10, 9], [2, 4]>, [5, 3]>>,
  Expect<Equal<Slice<[10, 10], number[], [5, 5]>, [Dim, Dim]>>,
  Expect<Equal<Slice<[10, number], [2, 2], [5, 5]>, [3, number]>>,
  Expect<IsMismatch<Slice<[10, 10], [0, 0], [10, 11]>>>,
  Expect<IsMismatch<Slice<[10, 10], [0], [10]>>>,
  Expect<Equal<SliceAxis<[B, 197, 768], 1, 1, 197>, [B, 196, 768]>>,
  Expect<Equal<SliceAxis<[B, 197, 768], 1, 1>, [B, 196, 768]>>,
  Expect<Equal<SliceAxis<[B, 197, 768], -1, -64>, [B, 197, 64]>>,
  Expect<Equal<SliceAxis<[B, 197, 768], 0, 0>, [B, 197, 768]>>,
  Expect<Equal<SliceAxis<[B, 10], 1, 0, 0>, [B, 0]>>,
  Expect<Equal<SliceAxis<[B, 10], 1, 0, 10, 3>, [B, 4]>>,
  Expect<Equal<SliceAxis<[B, 10], 1, number>, [B, number]>>,
  Expect<Equal<SliceAxis<[B, 10], number, 0, 5>, [Dim, Dim]>>,
  Expect<
    Equal<
      MessageOf<SliceAxis<[B, 197], 1, 100, 198>>,
      "slice: axis 1 has size 197, which has no part from 100 to 198"
    >
  >,
  Expect<
    Equal<
      MessageOf<SliceAxis<[B, 197], 0, 0, 1>>,
      "slice: axis 0 has size batch: a symbolic axis can only be taken whole"
    >
  >,
  Expect<IsMismatch<SliceAxis<[B, 197], 1, 5, 4>>>,
  Expect<IsMismatch<SliceAxis<[B, 197], 1, -198>>>,
  Expect<
    Equal<
      MessageOf<SliceAxis<[B, 197], 2, 0, 1>>,
      "slice: axis 2 is out of range for [batch, 197]: wanted -2 to 1"
    >
  >,
  Expect<Equal<Pad<[B, 5], [0, 1], [0, 2]>, [B, 8]>>,
  Expect<Equal<Pad<[number, 5], [3, 1], undefined>, [number, 6]>>,
  Expect<Equal<Pad<[2, 5], number[], undefined>, [Dim, Dim]>>,
  Expect<
    Equal<
      MessageOf<Pad<[B, 5], [1, 0], [0, 0]>>,
      "pad: axis 0 has size batch: a symbolic axis cannot grow"
    >
  >,
  Expect<IsMismatch<Pad<[B, 5], [1], [0, 0]>>>,
  Expect<Equal<Expand<[B, 3], 0>, [1, B, 3]>>,
  Expect<Equal<Expand<[B, 3], -1>, [B, 3, 1]>>,
  Expect<Equal<Expand<[], 0>, [1]>>,
  Expect<IsMismatch<Expand<[B, 3], 3>>>,
  Expect<Equal<Squeeze<[B, 1, 3], 1>, [B, 3]>>,
  Expect<Equal<Squeeze<[B, number], -1>, [B]>>,
  Expect<Equal<Squeeze<[B, 1], number>, Dim[]>>,
  Expect<
    Equal<
      MessageOf<Squeeze<[B, 3], 1>>,
      "squeeze: axis 1 of [batch, 3] has size 3, wanted 1"
    >
  >,
  Expect<IsMismatch<Squeeze<[B, 1], 0>>>,
  Expect<Equal<Take<[1000, 64], [B, 197], 0>, [B, 197, 64]>>,
  Expect<Equal<Take<[B, 197, 64], [], 1>, [B, 64]>>,
  Expect<Equal<Take<[2, 3], Shape, 0>, [...Dim[], 3]>>,
  Expect<IsMismatch<Take<[2, 3], [4], 2>>>,
];

export type ReduceCases = [
  Expect<Equal<Reduce<[B, 197, 768], -1>, [B, 197]>>,
  Expect<Equal<Reduce<[B, 197, 768], [1, 2], true>, [B, 1, 1]>>,
  Expect<Equal<Reduce<[B, 197, 768], readonly [0, -1]>, [197]>>,
  Expect<Equal<Reduce<[B, 197, 768], undefined>, []>>,
  Expect<Equal<Reduce<[B, 197], undefined, true>, [1, 1]>>,
  Expect<Equal<Reduce<[B, 197], []>, [B, 197]>>,
  Expect<Equal<Reduce<[B, 197], 0, boolean>, [197] | [1, 197]>>,
  Expect<Equal<Reduce<[B, 197], number>, Dim[]>>,
  Expect<Equal<Reduce<[B, 197], number[], true>, [Dim, Dim]>>,
  Expect<Equal<Reduce<Shape, 0>, Dim[]>>,
  Expect<
    Equal<
      MessageOf<Reduce<[B, 197], 2, false, "sum">>,
      "sum: axis 2 is out of range for [batch, 197]: wanted -2 to 1"
    >
  >,
  Expect<
    Equal<
      MessageOf<Reduce<[B, 197], [1, -1], false, "sum">>,
      "sum: axis -1 of [batch, 197] is named twice"
    >
  >,
  Expect<Equal<MessageOf<Reduce<[], 0>>, "reduce: axis 0 is out of range for a scalar">>,
  Expect<Equal<LastDim<[B, 768]>, 768>>,
  Expect<Equal<LastDim<Shape>, Dim>>,
  Expect<Equal<LeadingDims<[B, 197, 768]>, [B, 197]>>,
  Expect<Equal<LeadingDims<Shape>, Dim[]>>,
];
