/**
 * Signatures of a few builders, by the pattern of graph/shape_types.ts, for the files that are only
 * type-checked.
 */
import type { DType } from "../../graph/dtype.ts";
import type { Tensor } from "../../graph/node.ts";
import type { Shape, SymbolicDim } from "../../graph/shape.ts";
import type {
  Axes,
  Broadcast,
  Concat,
  Contract,
  ContractSpec,
  MatMul,
  Plain,
  Reduce,
  Reshape,
  SameDType,
  ShapeOf,
  ShapesOf,
  Transpose,
  Valid,
} from "../../graph/shape_types.ts";

export declare function dim<const Name extends string>(name: Name): SymbolicDim<Name>;
export declare function input<const D extends DType, const S extends Shape>(
  name: string,
  dtype: D,
  shape: S,
): Tensor<D, Plain<S>>;
export declare function add<D extends DType, A extends Shape, B extends Shape>(
  a: Tensor<D, A>,
  b: Tensor<NoInfer<D>, B> & Valid<Broadcast<A, B, "add">>,
): Tensor<D, ShapeOf<Broadcast<A, B, "add">>>;
export declare function mul<D extends DType, A extends Shape, B extends Shape = []>(
  a: Tensor<D, A>,
  b: number | (Tensor<NoInfer<D>, B> & Valid<Broadcast<A, B, "mul">>),
): Tensor<D, ShapeOf<Broadcast<A, B, "mul">>>;
export declare function gelu<D extends DType, S extends Shape>(x: Tensor<D, S>): Tensor<D, S>;
export declare function matmul<D extends DType, A extends Shape, B extends Shape>(
  a: Tensor<D, A>,
  b: Tensor<NoInfer<D>, B> & Valid<MatMul<A, B>>,
): Tensor<D, ShapeOf<MatMul<A, B>>>;
export declare function contract<
  Spec extends string,
  D extends DType,
  A extends Shape,
  B extends Shape,
>(
  spec: Spec & Valid<ContractSpec<Spec>>,
  a: Tensor<D, A>,
  b: Tensor<NoInfer<D>, B> & Valid<Contract<Spec, A, B>>,
): Tensor<D, ShapeOf<Contract<Spec, A, B>>>;
export declare function reshape<D extends DType, S extends Shape, const To extends Shape>(
  x: Tensor<D, S>,
  shape: To & Valid<Reshape<S, To>>,
): Tensor<D, ShapeOf<Reshape<S, To>>>;
export declare function transpose<
  D extends DType,
  S extends Shape,
  const Perm extends readonly number[],
>(
  x: Tensor<D, S>,
  permutation: Perm & Valid<Transpose<S, Perm>>,
): Tensor<D, ShapeOf<Transpose<S, Perm>>>;
export declare function concat<
  const Ts extends readonly Tensor[],
  const Axis extends number,
>(
  tensors: Ts & Valid<Concat<ShapesOf<Ts>, Axis>> & Valid<SameDType<Ts, "concat">>,
  axis: Axis,
): Tensor<Ts[number]["dtype"], ShapeOf<Concat<ShapesOf<Ts>, Axis>>>;
export declare function reduceSum<
  D extends DType,
  S extends Shape,
  const Over extends Axes = undefined,
  const Keep extends boolean = false,
>(
  x: Tensor<D, S>,
  axes?: Over & Valid<Reduce<S, Over, Keep, "sum">>,
  options?: { readonly keepDims?: Keep },
): Tensor<D, ShapeOf<Reduce<S, Over, Keep, "sum">>>;
