/** What a shape rule gives when it fails, how that reaches the caller, and how shapes read in it. */
import type { DType } from "../dtype.ts";
import type { Dim, Shape, SymbolicDim } from "../shape.ts";

declare const mismatch: unique symbol;

/**
 * What a shape rule gives when the operands do not fit. No value has this type, so a parameter that
 * asks for it is an error whose text holds the message.
 */
export interface ShapeMismatch<out Message extends string = string> {
  readonly [mismatch]: Message;
}

/** `unknown`, which asks nothing more of a parameter, unless the rule's result is a mismatch. */
export type Valid<Result> = [Result] extends [never] ? unknown
  : [Result] extends [ShapeMismatch] ? Result
  : unknown;

/**
 * A rule's result that may be a type parameter as a whole. In the box TypeScript sees, without knowing
 * the shape, that it is no mismatch.
 */
export interface Fits<out S extends Shape> {
  readonly fits: S;
}

/**
 * The shape in a rule's result. After a mismatch the rank is unknown, so that one error is told once.
 * (`infer S extends Shape` rather than `Result extends Shape`, which waits for dims that are type
 * parameters.)
 */
export type ShapeOf<Result> = Result extends Fits<infer S> ? S
  : Result extends infer S extends Shape ? S
  : Dim[];

/** The shape without `readonly`, which const type parameters add: the one form results are kept in. */
export type Plain<S extends Shape> = { -readonly [I in keyof S]: S[I] };

/** The shapes of a tuple of tensors. */
export type ShapesOf<Tensors extends readonly { readonly shape: Shape }[]> = {
  -readonly [I in keyof Tensors]: Tensors[I]["shape"];
};

/** The one dtype of a tuple of tensors, or the mismatch of one that differs from the first's. */
export type SameDType<
  Tensors extends readonly { readonly dtype: DType }[],
  Op extends string,
> = Tensors extends readonly [
  { readonly dtype: infer First extends DType },
  ...infer Rest extends readonly { readonly dtype: DType }[],
] ? DTypeOfAll<First, Rest, Op>
  : Tensors[number]["dtype"];

type DTypeOfAll<
  First extends DType,
  Rest extends readonly { readonly dtype: DType }[],
  Op extends string,
> = Rest extends readonly [
  { readonly dtype: infer Next extends DType },
  ...infer Others extends readonly { readonly dtype: DType }[],
] ? [Next] extends [First] ? DTypeOfAll<First, Others, Op>
  : [First] extends [Next] ? DTypeOfAll<First, Others, Op>
  : ShapeMismatch<`${Op}: dtypes ${First} and ${Next} differ`>
  : First;

/** A rule's tuple of dims, or the mismatches that stand in it. */
export type Collect<Dims extends readonly unknown[]> =
  [Extract<Dims[number], ShapeMismatch>] extends [never] ? Dims
    : Extract<Dims[number], ShapeMismatch>;

/** Text of a dim in a message: `197`, `batch`, or `?` where it is not known. */
export type DimText<D> = D extends number ? number extends D ? "?" : `${D}`
  : D extends SymbolicDim<infer Name> ? string extends Name ? "?" : Name
  : "?";

/** Text of a shape in a message: `[batch, 197, 768]`. */
export type ShapeText<S> = S extends readonly unknown[]
  ? number extends S["length"] ? "[...]" : `[${JoinedDims<S>}]`
  : "[...]";

type JoinedDims<S extends readonly unknown[], Text extends string = ""> = S extends
  readonly [infer Head, ...infer Rest]
  ? JoinedDims<Rest, Text extends "" ? DimText<Head> : `${Text}, ${DimText<Head>}`>
  : Text;
