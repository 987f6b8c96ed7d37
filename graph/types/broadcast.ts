/** Shape rules of elementwise operations and of broadcasting. */
import type { Dim, Shape } from "../shape.ts";
import type { Exact, Stretch, Unify } from "./dims.ts";
import type { DimText, Fits, ShapeMismatch, ShapeText } from "./mismatch.ts";

/**
 * The shape of two shapes broadcast together, as NumPy does: aligned at the right, a dim of 1
 * stretches, a missing dim is 1. Symbolic dims are equal when their names are.
 */
export type Broadcast<A extends Shape, B extends Shape, Op extends string = "broadcast"> =
  Exact<A> extends Exact<B> ? Fits<A>
    : BroadcastLoop<A, B> extends infer Result
      ? Result extends Clash<infer Left, infer Right>
        ? ShapeMismatch<`${Op}: ${BroadcastText<A, B, Left, Right>}`>
      : Result
    : never;

/** Two dims that do not go together. */
interface Clash<A, B> {
  readonly clash: [A, B];
}

type BroadcastText<A, B, Left, Right> = `${DimText<Left>} and ${DimText<
  Right
>} do not broadcast, in ${ShapeText<A>} and ${ShapeText<B>}`;

type BroadcastLoop<
  A extends readonly unknown[],
  B extends readonly unknown[],
  Done extends readonly unknown[] = [],
> = A extends readonly [...infer RestA, infer DimA]
  ? B extends readonly [...infer RestB, infer DimB]
    ? Stretch<DimA, DimB> extends [infer D] ? BroadcastLoop<RestA, RestB, [D, ...Done]>
    : Clash<DimA, DimB>
  : B extends readonly [] ? [...A, ...Done]
  : [...Dim[], ...Done]
  : A extends readonly [] ? [...B, ...Done]
  : [...Dim[], ...Done];

/** `To`, where `S` broadcasts to just that. */
export type BroadcastTo<S extends Shape, To extends Shape, Op extends string = "broadcast"> =
  FitsInto<S, To> extends true ? { -readonly [I in keyof To]: To[I] }
    : ShapeMismatch<`${Op}: ${ShapeText<S>} does not broadcast to ${ShapeText<To>}`>;

type FitsInto<S extends readonly unknown[], To extends readonly unknown[]> = S extends
  readonly [...infer RestS, infer DimS]
  ? To extends readonly [...infer RestTo, infer DimTo]
    ? Exact<DimS> extends Exact<DimTo> | Exact<1> ? FitsInto<RestS, RestTo>
    : Unify<DimS, DimTo> extends undefined ? false
    : FitsInto<RestS, RestTo>
  : To extends readonly [] ? false
  : true
  : true;

/** The shape of two operands that must agree dim by dim, without broadcasting. */
export type SameShape<A extends Shape, B extends Shape, Op extends string = "sameShape"> =
  Exact<A> extends Exact<B> ? Fits<A>
    : SameLoop<A, B> extends infer Result
      ? Result extends undefined
        ? ShapeMismatch<`${Op}: ${ShapeText<A>} and ${ShapeText<B>} are not the same shape`>
      : Result
    : never;

type SameLoop<
  A extends readonly unknown[],
  B extends readonly unknown[],
  Done extends readonly unknown[] = [],
> = A extends readonly [...infer RestA, infer DimA]
  ? B extends readonly [...infer RestB, infer DimB]
    ? Unify<DimA, DimB> extends [infer D] ? SameLoop<RestA, RestB, [D, ...Done]> : undefined
  : B extends readonly [] ? undefined
  : [...A, ...Done]
  : A extends readonly []
    ? B extends readonly [] ? Done : B extends readonly [...infer _, unknown] ? undefined
    : Done
  : B extends readonly [] ? Done
  : [...B, ...Done];
