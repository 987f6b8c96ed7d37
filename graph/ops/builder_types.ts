/** Types of builders that several ops share; graph/shape_types.ts says how the rules are used. */
import type { DType } from "../dtype.ts";
import type { Tensor } from "../node.ts";
import type { Dim, Shape } from "../shape.ts";
import type { Axes, Broadcast, Reduce, ShapeMismatch, ShapeOf, Valid } from "../shape_types.ts";
import type { Exact } from "../types/dims.ts";
import type { Literal } from "./support.ts";

/** Asks nothing more of an operand, unless its element type cannot be the other's. */
export type SameDTypeAs<D extends DType, E extends DType, Op extends string> = Exact<D> extends
  Exact<E> ? unknown
  : [E] extends [D] ? unknown
  : [D] extends [E] ? unknown
  : ShapeMismatch<`${Op}: element types ${D} and ${E} differ`>;

/** The narrower of two element types, one of which includes the other. */
export type JointDType<D extends DType, E extends DType> = Exact<D> extends Exact<E> ? D
  : [E] extends [D] ? E
  : D;

/** A shape of the same rank, with nothing known of its sizes. */
export type SameRank<S extends Shape> = { -readonly [Axis in keyof S]: Dim };

/** A function of one tensor, element by element. */
export type UnaryBuilder = <D extends DType, S extends Shape>(x: Tensor<D, S>) => Tensor<D, S>;

/** A function of two tensors, element by element, with NumPy broadcasting; one may be a literal. */
export interface ArithmeticBuilder<Op extends string> {
  <D extends DType, S extends Shape>(a: Literal, b: Tensor<D, S>): Tensor<D, S>;
  <D extends DType, A extends Shape, E extends DType = D, B extends Shape = []>(
    a: Tensor<D, A>,
    b: Literal | (Tensor<E, B> & SameDTypeAs<D, E, Op> & Valid<Broadcast<A, B, Op>>),
  ): Tensor<JointDType<D, E>, ShapeOf<Broadcast<A, B, Op>>>;
}

/** A comparison of two tensors, element by element, with NumPy broadcasting; one may be a literal. */
export interface ComparisonBuilder<Op extends string> {
  <D extends DType, S extends Shape>(a: Literal, b: Tensor<D, S>): Tensor<"bool", S>;
  <D extends DType, A extends Shape, E extends DType = D, B extends Shape = []>(
    a: Tensor<D, A>,
    b: Literal | (Tensor<E, B> & SameDTypeAs<D, E, Op> & Valid<Broadcast<A, B, Op>>),
  ): Tensor<"bool", ShapeOf<Broadcast<A, B, Op>>>;
}

/** Options of the folding builders. */
export interface ReduceOptions<Keep extends boolean = boolean> {
  /** Whether the folded axes stay, with size 1. */
  readonly keepDims?: Keep;
}

/** A function that folds axes away: one, several, or all by default. */
export type ReduceBuilder<Op extends string> = <
  D extends DType,
  S extends Shape,
  const Over extends Axes = undefined,
  const Keep extends boolean = false,
>(
  x: Tensor<D, S>,
  axes?: Over & Valid<Reduce<S, Over, Keep, Op>>,
  options?: ReduceOptions<Keep>,
) => Tensor<D, ShapeOf<Reduce<S, Over, Keep, Op>>>;
