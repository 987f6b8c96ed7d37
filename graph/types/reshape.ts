/** Shape rules that count elements: `reshape` and `patchify`. */
import type { Dim, Shape, SymbolicDim } from "../shape.ts";
import type {
  Divide,
  DivideText,
  Multiply,
  MultiplyText,
  Reverse,
  ToNumber,
  WholeText,
} from "./decimal.ts";
import type { Exact, HasWide, Wide } from "./dims.ts";
import type { DimText, Plain, ShapeMismatch, ShapeText } from "./mismatch.ts";

/**
 * `To`, where it has as many elements as `From`; one dim of `To` may be -1, which stands for what
 * is left. Symbolic dims cancel by name, numbers are multiplied out exactly.
 */
export type Reshape<From extends Shape, To extends Shape, Op extends string = "reshape"> =
  StripFront<From, To> extends [infer A extends Shape, infer B extends Shape]
    ? Compared<Elements<A>, Elements<B>> extends infer Left
      ? Left extends Dim ? Plain<Filled<To, Left>>
      : Left extends "same" ? Plain<To>
      : Unsettled<From, To> extends true ? Plain<Filled<To, Dim>>
      : ShapeMismatch<`${Op}: ${ReshapeText<From, To>}`>
    : never
    : never;

type ReshapeText<From extends Shape, To extends Shape> = `${ShapeText<From>} has ${CountText<
  Elements<From>
>} elements, ${ShapeText<To>} ${Elements<To> extends Product<infer _C, infer _N, infer Holes>
  ? Holes extends [0] ? "no whole number of rows for -1"
  : Holes extends [0, ...0[]] ? "more than one -1"
  : CountText<Elements<To>>
  : "a dim that is no size"}`;

/** Whether a mismatch is not certain: something is not known, or both have no elements at all. */
type Unsettled<From extends Shape, To extends Shape> = HasWide<From> extends true ? true
  : HasWide<To> extends true ? true
  : [0, 0] extends [From[number], To[number]] ? -1 extends To[number] ? false : true
  : false;

type Filled<To extends Shape, D> = -1 extends To[number]
  ? { [I in keyof To]: Exact<To[I]> extends Exact<-1> ? D : To[I] }
  : To;

/** Both without the dims at the front that are the same in both. */
type StripFront<A extends readonly unknown[], B extends readonly unknown[]> = A extends
  readonly [infer DimA, ...infer RestA]
  ? B extends readonly [infer DimB, ...infer RestB]
    ? Exact<DimA> extends Exact<DimB> ? StripFront<RestA, RestB> : StripBack<A, B>
  : [A, B]
  : [A, B];

type StripBack<A extends readonly unknown[], B extends readonly unknown[]> = A extends
  readonly [...infer RestA, infer DimA]
  ? B extends readonly [...infer RestB, infer DimB]
    ? Exact<DimA> extends Exact<DimB> ? StripBack<RestA, RestB> : [A, B]
  : [A, B]
  : [A, B];

/** An element count: digits with the lowest first, the symbols' names, and a 0 for each -1. */
interface Product<
  Coefficient extends string,
  Symbols extends readonly string[],
  Holes extends readonly 0[],
> {
  readonly product: [Coefficient, Symbols, Holes];
}

/** The product of a shape's dims; undefined where one is not known or is no size. */
type Elements<
  S extends readonly unknown[],
  Coefficient extends string = "1",
  Symbols extends readonly string[] = [],
  Holes extends readonly 0[] = [],
> = S extends readonly [infer Head, ...infer Rest]
  ? Head extends SymbolicDim<infer Name> ? string extends Name ? undefined
    : Factors<Name> extends [infer Digits extends string, infer More extends readonly string[]]
      ? Elements<Rest, MultiplyText<Coefficient, Digits>, [...Symbols, ...More], Holes>
    : undefined
  : Head extends -1 ? Elements<Rest, Coefficient, Symbols, [...Holes, 0]>
  : WholeText<Head> extends infer Digits extends string
    ? Elements<Rest, MultiplyText<Coefficient, Digits>, Symbols, Holes>
  : undefined
  : S extends readonly [] ? Product<Coefficient, Symbols, Holes>
  : undefined;

/** A symbol's name taken apart: `4*batch*tokens` is `["4", ["batch", "tokens"]]`. */
type Factors<Name extends string> = Name extends `${infer Head}*${infer Rest}`
  ? Head extends `${bigint}` ? [Head, Split<Rest>] : ["1", Split<Name>]
  : ["1", [Name]];

type Split<Text extends string, Done extends readonly string[] = []> = Text extends
  `${infer Head}*${infer Rest}` ? Split<Rest, [...Done, Head]> : [...Done, Text];

/** `"same"`, or the dim that a -1 stands for, or undefined. */
type Compared<A, B> = A extends Product<infer CoefficientA, infer SymbolsA, readonly []>
  ? B extends Product<infer CoefficientB, infer SymbolsB, infer Holes>
    ? Without<SymbolsA, SymbolsB> extends infer Left extends readonly string[]
      ? Holes extends readonly []
        ? [CoefficientA, Left] extends [CoefficientB, readonly []] ? "same" : undefined
      : Holes extends readonly [0]
        ? DivideText<Reverse<CoefficientA>, Reverse<CoefficientB>> extends
          infer Quotient extends string ? Times<Quotient, Left>
        : undefined
      : undefined
    : undefined
  : undefined
  : undefined;

/** The names that are left when each of `B` is taken once from `A`; undefined where one is not there. */
type Without<A extends readonly string[], B extends readonly string[]> = B extends
  readonly [infer Head, ...infer Rest extends readonly string[]]
  ? WithoutOne<A, Head> extends infer Left extends readonly string[] ? Without<Left, Rest>
  : undefined
  : A;

type WithoutOne<A extends readonly string[], Name, Passed extends readonly string[] = []> =
  A extends readonly [infer Head extends string, ...infer Rest extends readonly string[]]
    ? Head extends Name ? [...Passed, ...Rest] : WithoutOne<Rest, Name, [...Passed, Head]>
    : undefined;

/** A coefficient times names, as a dim. More names than one are not sorted here: their dim is wide. */
type Times<Coefficient extends string, Symbols extends readonly string[]> = Symbols extends
  readonly [] ? ToNumber<Coefficient>
  : Coefficient extends "0" ? 0
  : Symbols extends readonly [infer Name extends string]
    ? SymbolicDim<Coefficient extends "1" ? Name : `${Coefficient}*${Name}`>
  : SymbolicDim;

type CountText<P> = P extends
  Product<infer Coefficient, infer Symbols extends readonly string[], infer _Holes>
  ? Symbols extends readonly [] ? Reverse<Coefficient>
  : Coefficient extends "1" ? JoinNames<Symbols>
  : `${Reverse<Coefficient>}*${JoinNames<Symbols>}`
  : "an unknown number of";

type JoinNames<Symbols extends readonly string[]> = Symbols extends
  readonly [infer Head extends string, ...infer Rest extends readonly string[]]
  ? Rest extends readonly [] ? Head : `${Head}*${JoinNames<Rest>}`
  : "";

/**
 * `[batch, height, width, channels]` cut into square patches of side `P`:
 * `[batch, height / P * width / P, P * P * channels]`. `P` must divide both sides.
 */
export type Patchify<S extends Shape, P extends number, Op extends string = "patchify"> = S extends
  readonly [infer Batch, infer Height, infer Width, infer Channels]
  ? Quotient<Height, P> extends [infer Rows]
    ? Quotient<Width, P> extends [infer Columns]
      ? [Batch, TimesDims<Rows, Columns>, TimesDims<Multiply<P, P>, Channels>]
    : ShapeMismatch<`${Op}: width ${DimText<Width>} is not a multiple of ${P}`>
  : ShapeMismatch<`${Op}: height ${DimText<Height>} is not a multiple of ${P}`>
  : number extends S["length"] ? [Dim, Dim, Dim]
  : ShapeMismatch<`${Op}: wanted [batch, height, width, channels], got ${ShapeText<S>}`>;

/** `[D / P]`; undefined where there is a remainder. */
type Quotient<D, P extends number> = Wide<D> extends true ? [D extends number ? number : Dim]
  : D extends number ? Wide<P> extends true ? [number]
    : Divide<D, P> extends infer Q extends number ? [Q]
    : undefined
  : [Dim];

type TimesDims<A, B> = [A, B] extends [number, number] ? Multiply<A & number, B & number>
  : A extends number ? B extends SymbolicDim<infer Name> ? Scaled<A, Name> : Dim
  : B extends number ? A extends SymbolicDim<infer Name> ? Scaled<B, Name> : Dim
  : Dim;

type Scaled<N extends number, Name extends string> = WholeText<N> extends
  infer Digits extends string
  ? Factors<Name> extends ["1", readonly [Name]] ? Times<Digits, [Name]> : Dim
  : Dim;
