/**
 * Rules for single dims and for axes. A dim is *wide* when its type holds more than one size:
 * `number`, `Dim`, a symbol of unknown name, a union. A wide dim passes every check.
 *
 * Every answer comes in a tuple, `[answer]`, so that a dim that is itself a type parameter does not
 * put off the test whether there is an answer.
 */
import type { Dim, Shape, SymbolicDim } from "../shape.ts";
import type { Add, Compare, Subtract } from "./decimal.ts";
import type { ShapeText } from "./mismatch.ts";

/**
 * A type that only the very same type is assignable to. A function holds it, since TypeScript would
 * take a union of plain properties for a discriminated one and compare it member by member.
 */
export interface Exact<in out T> {
  readonly exactly: (value: T) => T;
}

/** Whether a dim's type holds more than one size. */
export type Wide<D> = number extends D ? true
  : SymbolicDim extends D ? true
  : IsUnion<D>;

type IsUnion<D, Whole = D> = [D] extends [never] ? true
  : (D extends unknown ? [Whole] extends [D] ? false : true : never) extends false ? false
  : true;

/** Whether a shape's rank is not known. */
export type WideRank<S extends readonly unknown[]> = number extends S["length"] ? true : false;

/** Whether a shape has a wide dim or an unknown rank. */
export type HasWide<S extends readonly unknown[]> = S extends readonly [infer Head, ...infer Rest]
  ? Wide<Head> extends false ? HasWide<Rest> : true
  : S extends readonly [] ? false
  : true;

/** `[dim]` where both are, or may be, the same size; undefined where they differ. */
export type Unify<A, B> = Exact<A> extends Exact<B> ? [A]
  : Wide<A> extends true ? Wide<B> extends true ? [A | B] : [B]
  : Wide<B> extends true ? [A]
  : undefined;

/** `[dim]` of two dims broadcast together; undefined where they differ and neither is 1. */
export type Stretch<A, B> = Exact<B> extends Exact<A> | Exact<1> ? [A]
  : Exact<A> extends Exact<1> ? [B]
  : Unify<A, B>;

/** `[dim]` of the sum; undefined where it has no name, as `batch + 1`. */
export type AddDims<A, B> = Exact<B> extends Exact<0> ? [A]
  : Exact<A> extends Exact<0> ? [B]
  : [A, B] extends [number, number] ? [Add<A & number, B & number>]
  : Wide<A> extends true ? [Dim]
  : Wide<B> extends true ? [Dim]
  : undefined;

/** Whether `0 <= From <= To`, as far as it is known. */
export type Ordered<From, To> = [From, To] extends [number, number]
  ? `${From & number}` extends `-${string}` ? false
  : Compare<From & number, To & number> extends "greater" ? false
  : true
  : true;

/** An index into an axis, where a negative one counts from the end; `Dim` where it is not known. */
export type IndexInto<D, Index> = Index extends number ? number extends Index ? number
  : `${Index}` extends `-${infer Back extends number}`
    ? D extends number ? number extends D ? number : Subtract<D, Back> : Dim
  : Index
  : Index;

/**
 * An axis as a key of the shape, in a tuple: `["2"]`. `undefined` where the shape has no such axis,
 * and `[string]` where it cannot be known.
 */
export type AxisKey<S extends readonly unknown[], Axis> = WideRank<S> extends true ? [string]
  : Axis extends number ? Wide<Axis> extends true ? [string]
    : `${Axis}` extends `-${infer Back}` ? KeyFromBack<S, Back>
    : `${Axis}` extends keyof S ? [`${Axis}`]
    : undefined
  : undefined;

type KeyFromBack<S extends readonly unknown[], Back extends string, Passed extends 0[] = []> =
  `${Passed["length"]}` extends Back ? [`${S["length"]}`]
    : S extends readonly [...infer Rest, unknown] ? KeyFromBack<Rest, Back, [...Passed, 0]>
    : undefined;

/** Text of an axis that is out of range. */
export type AxisText<S extends readonly unknown[], Axis extends number> = S extends
  readonly [unknown, ...infer Rest]
  ? `axis ${Axis} is out of range for ${ShapeText<S>}: wanted -${S["length"] & number} to ${
    & Rest["length"]
    & number}`
  : `axis ${Axis} is out of range for a scalar`;

/** `[dims before the key, dims from the key on]`. */
export type SplitAt<
  S extends readonly unknown[],
  Key extends string,
  Before extends readonly unknown[] = [],
> = `${Before["length"]}` extends Key ? [Before, S]
  : S extends readonly [infer Head, ...infer Rest] ? SplitAt<Rest, Key, [...Before, Head]>
  : [Before, S];

/** The shape with another dim at the key. */
export type ReplaceAt<S extends Shape, Key, D> = {
  -readonly [I in keyof S]: I extends Key ? D : S[I];
};

/** The shape's rank, with nothing known of its dims. */
export type WideDims<S extends Shape> = { -readonly [I in keyof S]: Dim };

/** The keys of a tuple's elements: `"0" | "1"`. */
export type Keys<T extends readonly unknown[]> = Extract<keyof T, `${number}`>;
