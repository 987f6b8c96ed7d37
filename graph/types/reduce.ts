/** Shape rule of reductions over axes, and the parts of a shape that norms ask for. */
import type { Dim, Shape } from "../shape.ts";
import type { AxisKey, AxisText, HasWide, WideDims, WideRank } from "./dims.ts";
import type { ShapeMismatch, ShapeText } from "./mismatch.ts";

/** Axes as a reduction takes them: one, several, or all. */
export type Axes = number | readonly number[] | undefined;

/** The shape without the reduced axes, or with 1 in their place where `KeepDims` is true. */
export type Reduce<
  S extends Shape,
  Over extends Axes,
  KeepDims extends boolean | undefined = false,
  Op extends string = "reduce",
> = [Over] extends [undefined] ? WideRank<S> extends true ? Dim[]
  : ReduceKeys<S, Extract<keyof S, `${number}`>, KeepDims>
  : WideRank<S> extends true ? Dim[]
  : undefined extends Over ? WideReduce<S, KeepDims>
  : AxisList<Over> extends infer List extends readonly number[]
    ? HasWide<List> extends true ? WideReduce<S, KeepDims>
    : CheckedKeys<S, List, Op> extends infer Checked
      ? Checked extends [infer Keys] ? ReduceKeys<S, Keys & string, KeepDims> : Checked
    : never
  : never;

type AxisList<Over> = Over extends number ? [Over] : Over extends readonly number[] ? Over : never;

type WideReduce<S extends Shape, KeepDims> = KeepDims extends true ? WideDims<S> : Dim[];

/** The union of the axes' keys, or what is wrong with an axis. */
type CheckedKeys<
  S extends Shape,
  List extends readonly number[],
  Op extends string,
  Seen extends string = never,
> = List extends readonly [infer Axis extends number, ...infer Rest extends readonly number[]]
  ? AxisKey<S, Axis> extends [infer Key extends string]
    ? Key extends Seen ? ShapeMismatch<`${Op}: axis ${Axis} of ${ShapeText<S>} is named twice`>
    : CheckedKeys<S, Rest, Op, Seen | Key>
  : ShapeMismatch<`${Op}: ${AxisText<S, Axis>}`>
  : [Seen];

type ReduceKeys<S extends Shape, Keys extends string, KeepDims> = KeepDims extends true
  ? { -readonly [I in keyof S]: I extends Keys ? 1 : S[I] }
  : Dropped<S, Keys>;

type Dropped<
  S extends readonly unknown[],
  Keys extends string,
  Passed extends 0[] = [],
  Done extends readonly unknown[] = [],
> = S extends readonly [infer Head, ...infer Rest] ? Dropped<
    Rest,
    Keys,
    [...Passed, 0],
    `${Passed["length"]}` extends Keys ? Done : [...Done, Head]
  >
  : Done;

/** The last dim; `Dim` where the rank is not known. */
export type LastDim<S extends Shape> = S extends readonly [...Shape, infer Last] ? Last : Dim;

/** The dims before the last; of unknown rank where the rank is not known. */
export type LeadingDims<S extends Shape> = S extends readonly [...infer Lead, unknown] ? Lead
  : Dim[];
