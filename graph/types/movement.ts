/** Shape rules of operations that move elements without counting them: permute, cut, join, insert. */
import type { Dim, Shape } from "../shape.ts";
import type { StepsIn, Subtract } from "./decimal.ts";
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

/**
 * The shape with axis `Perm[i]` of the operand as axis `i`. `Perm` holds every axis once; undefined
 * turns all axes round.
 */
export type Transpose<
  S extends Shape,
  Perm extends Numbers | undefined,
  Op extends string = "transpose",
> = Perm extends Numbers
  ? WideRank<S> extends true
    ? WideRank<Perm> extends true ? Dim[] : { -readonly [I in keyof Perm]: Dim }
  : HasWide<Perm> extends true ? WideDims<S>
  : Perm["length"] extends S["length"]
    ? Exclude<Keys<S>, PermKeys<S, Perm>> extends never
      ? { -readonly [I in keyof Perm]: S[KeyOf<S, Perm[I]>] }
    : PermMismatch<S, Perm, Op>
  : PermMismatch<S, Perm, Op>
  : Backwards<S>;

type Backwards<S extends readonly unknown[], Done extends readonly unknown[] = []> = S extends
  readonly [infer Head, ...infer Rest] ? Backwards<Rest, [Head, ...Done]>
  : S extends readonly [] ? Done
  : Dim[];

type KeyOf<S extends Shape, Axis> = AxisKey<S, Axis> extends [infer Key extends keyof S] ? Key
  : never;

type PermKeys<S extends Shape, Perm extends Numbers> = {
  [I in keyof Perm]: KeyOf<S, Perm[I]>;
}[number];

type PermMismatch<S, Perm, Op extends string> = ShapeMismatch<
  `${Op}: ${ShapeText<Perm>} does not name each axis of ${ShapeText<S>} once`
>;

/**
 * The shape with the part `Starts[i]` (in it) to `Ends[i]` (not in it) of each axis `i`, in steps of
 * `Steps[i]`. Negative places count from the end; a symbolic axis can only be taken whole.
 */
export type Slice<
  S extends Shape,
  Starts extends Numbers,
  Ends extends Shape,
  Steps extends Numbers | undefined = undefined,
  Op extends string = "slice",
> = WideRank<S> extends true ? Dim[]
  : true extends WideRank<Starts> | WideRank<Ends> | WideRank<Filled<Steps, S>> ? WideDims<S>
  : [Starts["length"], Ends["length"], Filled<Steps, S>["length"]] extends
    [S["length"], S["length"], S["length"]] ? Collect<
      {
        -readonly [I in keyof S]: Cut<
          S[I],
          Starts[I & keyof Starts],
          Ends[I & keyof Ends],
          undefined extends Steps ? 1 : Steps[I & keyof Steps],
          `${Op}: axis ${I & string}`
        >;
      }
    >
  : ShapeMismatch<
    `${Op}: wanted a start, an end and a step for each axis of ${ShapeText<S>}, got ${ShapeText<
      Starts
    >} and ${ShapeText<Ends>}`
  >;

/** The list, or where there is none a list as long as `S`. */
type Filled<List extends Numbers | undefined, S extends Shape> = List extends Numbers ? List : S;

/** The shape with the part `Start` (in it) to `End` (not in it; undefined for the end) of one axis. */
export type SliceAxis<
  S extends Shape,
  Axis extends number,
  Start extends number,
  End extends Dim | undefined = undefined,
  Step extends number = 1,
  Op extends string = "slice",
> = AxisKey<S, Axis> extends [infer Key extends string] ? string extends Key ? WideDims<S>
  : CutTo<S[Key & keyof S], Start, End, Step, `${Op}: axis ${Key}`> extends infer D
    ? D extends ShapeMismatch ? D : ReplaceAt<S, Key, D>
  : never
  : ShapeMismatch<`${Op}: ${AxisText<S, Axis>}`>;

type CutTo<D, Start, End, Step, Place extends string> = [End] extends [undefined]
  ? Cut<D, Start, D, Step, Place>
  : undefined extends End ? D extends number ? number : Dim
  : Cut<D, Start, End, Step, Place>;

/** The size of a part of an axis, or what is wrong with it. */
type Cut<D, Start, End, Step, Place extends string> = Exact<[Start, End, Step]> extends
  Exact<[0, D, 1]> ? D
  : true extends Wide<D> | Wide<Start> | Wide<End> | Wide<Step>
    ? [D, End] extends [number, number] ? number : Dim
  : [D, End] extends [number, number]
    ? CutAt<D & number, IndexInto<D, Start>, IndexInto<D, End>, Step & number, Place>
  : ShapeMismatch<`${Place} has size ${DimText<D>}: a symbolic axis can only be taken whole`>;

type CutAt<D extends number, Start, End, Step extends number, Place extends string> =
  [Ordered<Start, End>, Ordered<End, D>] extends [true, true]
    ? StepsIn<Subtract<End & number, Start & number>, Step>
    : ShapeMismatch<
      `${Place} has size ${DimText<D>}, which has no part from ${DimText<Start>} to ${DimText<End>}`
    >;

/**
 * The shape with `Low[i]` elements put in front of, and `High[i]` behind, each axis `i`; undefined puts
 * none. A symbolic axis cannot grow.
 */
export type Pad<
  S extends Shape,
  Low extends Numbers | undefined,
  High extends Numbers | undefined,
  Op extends string = "pad",
> = WideRank<S> extends true ? Dim[]
  : true extends WideRank<Filled<Low, S>> | WideRank<Filled<High, S>> ? WideDims<S>
  : [Filled<Low, S>["length"], Filled<High, S>["length"]] extends [S["length"], S["length"]]
    ? Collect<
      {
        -readonly [I in keyof S]: Padded<S[I], Margin<Low, I>, Margin<High, I>> extends [infer D]
          ? D
          : ShapeMismatch<
            `${Op}: axis ${I & string} has size ${DimText<
              S[I]
            >}: a symbolic axis cannot grow`
          >;
      }
    >
  : ShapeMismatch<
    `${Op}: wanted a width for each axis of ${ShapeText<S>}, got ${ShapeText<Low>} and ${ShapeText<
      High
    >}`
  >;

type Margin<List extends Numbers | undefined, I> = List extends Numbers ? List[I & keyof List] : 0;

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
export type Expand<S extends Shape, Axis extends number, Op extends string = "expandDims"> =
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
  Op extends string = "gather",
> = AxisKey<S, Axis> extends [infer Key extends string] ? string extends Key ? Dim[]
  : SplitAt<S, Key> extends
    [infer Before extends readonly unknown[], readonly [unknown, ...infer After]]
    ? [...Before, ...Indices, ...After]
  : never
  : ShapeMismatch<`${Op}: ${AxisText<S, Axis>}`>;
