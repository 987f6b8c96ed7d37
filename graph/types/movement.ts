/** Shape rules of operations that move elements without counting them: permute, cut, join, insert. */
import type { Dim, Shape } from "../shape.ts";
import type { Subtract } from "./decimal.ts";
import type {
  AddDims,
  AxisKey,
  AxisText,
  Exact,
  HasWide,
  IndexInto,
  Keys,
  Ordered,
  ReplaceAt,
  SplitAt,
  Unify,
  Wide,
  WideDims,
  WideRank,
} from "./dims.ts";
import type { Collect, DimText, Plain, ShapeMismatch, ShapeText } from "./mismatch.ts";

type Numbers = readonly number[];

/** The shape with axis `Perm[i]` of the operand as axis `i`. `Perm` holds every axis once. */
export type Transpose<S extends Shape, Perm extends Numbers, Op extends string = "transpose"> =
  WideRank<S> extends true
    ? WideRank<Perm> extends true ? Dim[] : { -readonly [I in keyof Perm]: Dim }
    : HasWide<Perm> extends true ? WideDims<S>
    : Perm["length"] extends S["length"]
      ? Exclude<Keys<S>, PermKeys<S, Perm>> extends never
        ? { -readonly [I in keyof Perm]: S[KeyOf<S, Perm[I]>] }
      : PermMismatch<S, Perm, Op>
    : PermMismatch<S, Perm, Op>;

type KeyOf<S extends Shape, Axis> = AxisKey<S, Axis> extends [infer Key extends keyof S] ? Key
  : never;

type PermKeys<S extends Shape, Perm extends Numbers> = {
  [I in keyof Perm]: KeyOf<S, Perm[I]>;
}[number];

type PermMismatch<S, Perm, Op extends string> = ShapeMismatch<
  `${Op}: ${ShapeText<Perm>} does not name each axis of ${ShapeText<S>} once`
>;

/** The shape with the parts `Starts[i]` (in it) to `Ends[i]` (not in it) of each axis `i`. */
export type Slice<
  S extends Shape,
  Starts extends Numbers,
  Ends extends Shape,
  Op extends string = "slice",
> = WideRank<S> extends true ? Dim[]
  : true extends WideRank<Starts> | WideRank<Ends> ? WideDims<S>
  : [Starts["length"], Ends["length"]] extends [S["length"], S["length"]] ? Collect<
      {
        -readonly [I in keyof S]: Cut<
          S[I],
          Starts[I & keyof Starts],
          Ends[I & keyof Ends],
          `${Op}: axis ${I & string}`
        >;
      }
    >
  : ShapeMismatch<
    `${Op}: wanted a start and an end for each axis of ${ShapeText<S>}, got ${ShapeText<
      Starts
    >} and ${ShapeText<Ends>}`
  >;

/** The shape with the part `Start` (in it) to `End` (not in it) of one axis. */
export type SliceAxis<
  S extends Shape,
  Axis extends number,
  Start extends number,
  End extends Dim,
  Op extends string = "slice",
> = AxisKey<S, Axis> extends [infer Key extends string] ? string extends Key ? WideDims<S>
  : Cut<S[Key & keyof S], Start, End, `${Op}: axis ${Key}`> extends infer D
    ? D extends ShapeMismatch ? D : ReplaceAt<S, Key, D>
  : never
  : ShapeMismatch<`${Op}: ${AxisText<S, Axis>}`>;

/** The size of a part of an axis, or what is wrong with it. */
type Cut<D, Start, End, Place extends string> = Exact<[Start, End]> extends Exact<[0, D]> ? D
  : true extends Wide<D> | Wide<Start> | Wide<End>
    ? [D, End] extends [number, number] ? number : Dim
  : CutAt<D, IndexInto<D, Start>, IndexInto<D, End>, Place>;

type CutAt<D, Start, End, Place extends string> = Ordered<0, Start> extends false
  ? CutMismatch<D, Start, End, Place>
  : Ordered<Start, End> extends false ? CutMismatch<D, Start, End, Place>
  : Ordered<End, D> extends false ? CutMismatch<D, Start, End, Place>
  : [Start, End] extends [number, number] ? Subtract<End & number, Start & number>
  : Start extends 0 ? End
  : Dim;

type CutMismatch<D, Start, End, Place extends string> = ShapeMismatch<
  `${Place} has size ${DimText<D>}, which has no part from ${DimText<Start>} to ${DimText<End>}`
>;

/** The shape with `Low[i]` elements put in front of, and `High[i]` behind, each axis `i`. */
export type Pad<
  S extends Shape,
  Low extends Numbers,
  High extends Numbers,
  Op extends string = "pad",
> = WideRank<S> extends true ? Dim[]
  : true extends WideRank<Low> | WideRank<High> ? WideDims<S>
  : [Low["length"], High["length"]] extends [S["length"], S["length"]] ? Collect<
      {
        -readonly [I in keyof S]: Padded<S[I], Low[I & keyof Low], High[I & keyof High]> extends
          [infer D] ? D
          : ShapeMismatch<
            `${Op}: ${DimText<S[I]>} at axis ${I & string} cannot grow: it is a symbol`
          >;
      }
    >
  : ShapeMismatch<
    `${Op}: wanted a width for each axis of ${ShapeText<S>}, got ${ShapeText<Low>} and ${ShapeText<
      High
    >}`
  >;

type Padded<D, Low, High> = AddDims<D, Low> extends [infer Sum] ? AddDims<Sum, High> : undefined;

/** The shapes joined along an axis, in which they may differ. */
export type Concat<
  Shapes extends readonly Shape[],
  Axis extends number,
  Op extends string = "concat",
> = Shapes extends readonly [infer First extends Shape, ...infer Rest extends readonly Shape[]]
  ? AxisKey<First, Axis> extends [infer Key extends string] ? Joined<First, Rest, Key, Op>
  : ShapeMismatch<`${Op}: ${AxisText<First, Axis>}`>
  : Shapes extends readonly [] ? ShapeMismatch<`${Op}: wanted at least one operand`>
  : WideDims<Shapes[number]>;

type Joined<S extends Shape, Rest extends readonly Shape[], Key extends string, Op extends string> =
  Rest extends readonly [infer Next extends Shape, ...infer Others extends readonly Shape[]]
    ? JoinTwo<S, Next, Key, Op> extends infer Result
      ? Result extends Shape ? Joined<Result, Others, Key, Op> : Result
    : never
    : string extends Key ? WideDims<S>
    : Plain<S>;

type JoinTwo<A extends Shape, B extends Shape, Key extends string, Op extends string> = true extends
  WideRank<A> | WideRank<B> ? Dim[]
  : A["length"] extends B["length"] ? string extends Key ? WideDims<A> : Collect<
      {
        -readonly [I in keyof A]: I extends Key
          ? AddDims<A[I], B[I & keyof B]> extends [infer D] ? D : ShapeMismatch<
            `${Op}: ${DimText<A[I]>} and ${DimText<B[I & keyof B]>} at axis ${
              & I
              & string} have no sum`
          >
          : Unify<A[I], B[I & keyof B]> extends [infer D] ? D
          : ShapeMismatch<
            `${Op}: ${ShapeText<A>} and ${ShapeText<B>} differ at axis ${I & string}`
          >;
      }
    >
  : ShapeMismatch<`${Op}: ${ShapeText<A>} and ${ShapeText<B>} differ in rank`>;

/** The shape with a new axis of size 1 before `Axis`; a negative one counts from the result's end. */
export type Expand<S extends Shape, Axis extends number, Op extends string = "expand"> =
  WideRank<S> extends true ? Dim[]
    : AxisKey<[...S, 1], Axis> extends [infer Key extends string]
      ? string extends Key ? WideDims<[...S, 1]>
      : SplitAt<S, Key> extends
        [infer Before extends readonly unknown[], infer After extends readonly unknown[]]
        ? [...Before, 1, ...After]
      : never
    : ShapeMismatch<`${Op}: ${AxisText<[...S, 1], Axis>}`>;

/** The shape without an axis, which must have size 1. */
export type Squeeze<S extends Shape, Axis extends number, Op extends string = "squeeze"> =
  AxisKey<S, Axis> extends [infer Key extends string] ? string extends Key ? Dim[]
    : SplitAt<S, Key> extends
      [infer Before extends readonly unknown[], readonly [infer D, ...infer After]]
      ? Unify<D, 1> extends undefined
        ? ShapeMismatch<`${Op}: axis ${Axis} of ${ShapeText<S>} has size ${DimText<D>}, wanted 1`>
      : [...Before, ...After]
    : never
    : ShapeMismatch<`${Op}: ${AxisText<S, Axis>}`>;

/** The shape with the axis replaced by the axes of the indices that pick from it. */
export type Take<
  S extends Shape,
  Indices extends Shape,
  Axis extends number,
  Op extends string = "take",
> = AxisKey<S, Axis> extends [infer Key extends string] ? string extends Key ? Dim[]
  : SplitAt<S, Key> extends
    [infer Before extends readonly unknown[], readonly [unknown, ...infer After]]
    ? [...Before, ...Indices, ...After]
  : never
  : ShapeMismatch<`${Op}: ${AxisText<S, Axis>}`>;
