/**
 * Shape rules as types: what shape an operation gives, or a {@linkcode ShapeMismatch} whose message
 * TypeScript shows under the operand that does not fit. Types only; the same rules run at trace time
 * in each op's `infer`, for what is not known here.
 *
 * A dim is a literal (`197`), a symbol (`SymbolicDim<"batch">`), or *wide*: `number`, `Dim`, a union.
 * A rank may be unknown too (`Dim[]`, `readonly Dim[]`, `[...Dim[], 768]`). What is wide passes every
 * check, and the result is wide exactly where it has to be. Results are never `readonly`, so that
 * `Tensor<"f32", [197, 768]>` is how users write them.
 *
 * # How a builder uses them
 *
 * Write the rule twice, in `Valid<Rule>` beside the type of the operand to blame, and in
 * `ShapeOf<Rule>` as the result's shape; TypeScript works it out once. `Valid` is `unknown` when all
 * is well, and `X & unknown` is `X`, so `B` is inferred as if it were not there:
 *
 * ```ts ignore
 * export function add<D extends DType, A extends Shape, B extends Shape>(
 *   a: Tensor<D, A>,
 *   b: Tensor<NoInfer<D>, B> & Valid<Broadcast<A, B, "add">>,
 * ): Tensor<D, ShapeOf<Broadcast<A, B, "add">>> {
 *   return makeNode(addOp, [a, b], {}) as Tensor<D, ShapeOf<Broadcast<A, B, "add">>>;
 * }
 * ```
 *
 * 1. The rule's last argument is the op's name, for the message; its default is the rule's own name.
 * 2. `NoInfer<D>` on every operand but the first. Without it two dtypes become the union `D`, and
 *    pass. For a list of operands there is {@linkcode SameDType}.
 * 3. Blame the last operand that the rule needs: the other tensor, or the shape, axis, permutation.
 *    An error stands under the first parameter that does not fit.
 * 4. What the caller writes out has a `const` type parameter: `const To extends Shape`,
 *    `const Axis extends number`, `const Perm extends readonly number[]`. Sources that put the
 *    caller's array in the result take the `readonly` off: `Tensor<D, Plain<S>>`.
 * 5. A parameter that may be left out gives its type parameter a default: `const Over extends Axes =
 *    undefined, const Keep extends boolean = false` for `axes?: Over & Valid<...>` and
 *    `options?: { readonly keepDims?: Keep }`. A number in place of a tensor, likewise: with
 *    `B extends Shape = []`, `b: number | (Tensor<NoInfer<D>, B> & Valid<...>)`.
 * 6. A list of tensors: `const Ts extends readonly Tensor[]`, `tensors: Ts & Valid<Concat<ShapesOf<Ts>,
 *    Axis>> & Valid<SameDType<Ts, "concat">>`, and `Ts[number]["dtype"]` as the result's dtype.
 * 7. `contract` blames its spec on its own: `spec: Spec & Valid<ContractSpec<Spec>>`.
 * 8. One operand in, same shape out: `(x: Tensor<D, S>): Tensor<D, S>`, no rule.
 *
 * A rule's result is for `Valid` and `ShapeOf` alone; a rule on a rule's result takes its `ShapeOf`.
 *
 * Inside a function that is generic in a whole shape (`S extends Shape`) a rule cannot be worked out,
 * and TypeScript refuses the operand; only equal shapes pass there (`add(x, gelu(x))`). A function
 * generic in a dim (`N extends Dim`, `Tensor<D, [N, 768]>`) works where `N` meets `N` or no dim at
 * all (`[N, 768]` and `[768]`). Other layers take `Tensor<D>` or `number` dims, and are checked at
 * trace time.
 */
export type { Add, Compare, Divide, Multiply, Subtract } from "./types/decimal.ts";
export type {
  Plain,
  SameDType,
  ShapeMismatch,
  ShapeOf,
  ShapesOf,
  Valid,
} from "./types/mismatch.ts";
export type { Broadcast, BroadcastTo, SameShape } from "./types/broadcast.ts";
export type { Contract, ContractSpec, MatMul } from "./types/contract.ts";
export type { Patchify, Reshape } from "./types/reshape.ts";
export type {
  Concat,
  Expand,
  Pad,
  Slice,
  SliceAxis,
  Squeeze,
  Take,
  Transpose,
} from "./types/movement.ts";
export type { Axes, LastDim, LeadingDims, Reduce } from "./types/reduce.ts";
