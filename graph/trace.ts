/** From a function of tensors to a graph with named ends. */
import { type DType, DTYPES } from "./dtype.ts";
import { type Node, Tensor } from "./node.ts";
import { input } from "./ops/source.ts";
import { formatShape, type Shape } from "./shape.ts";
import { flattenTree, type MapTree, mapTree, type Tree } from "./tree.ts";

/** Element type and shape of a tensor that will be given when the program runs. */
export class TensorSpec<out D extends DType = DType, out S extends Shape = Shape> {
  readonly dtype: D;
  readonly shape: S;

  /** Use {@linkcode spec}. */
  constructor(dtype: D, shape: S) {
    this.dtype = dtype;
    this.shape = shape;
    Object.freeze(this);
  }

  /** Text such as `f32[batch, 784]`. */
  toString(): string {
    return `${this.dtype}${formatShape(this.shape)}`;
  }
}

/**
 * Element type and shape of a tensor that will be given when the program runs.
 *
 * ```ts
 * import { dim, spec } from "@fovea/fovea/graph";
 * const images = spec("f32", [dim("batch"), 28, 28, 1]);
 * ```
 *
 * @throws {TypeError} When the element type is none, or a size is not a whole number >= 0.
 */
export function spec<D extends DType, const S extends Shape>(
  dtype: D,
  shape: S,
): TensorSpec<D, Mutable<S>> {
  if (!DTYPES.includes(dtype)) {
    throw new TypeError(`Cannot specify element type "${dtype}": wanted ${DTYPES.join(", ")}`);
  }
  for (const size of shape) {
    if (typeof size !== "number" || (Number.isSafeInteger(size) && size >= 0)) continue;
    throw new TypeError(`Cannot specify shape ${formatShape(shape)}: ${size} is not a size`);
  }
  // A copy has the same elements; the type only loses its readonly.
  return new TensorSpec(dtype, Object.freeze([...shape]) as Mutable<S>);
}

type Mutable<S extends Shape> = { -readonly [Axis in keyof S]: S[Axis] };

/** Specs in any nesting. */
export type SpecTree = Tree<TensorSpec>;

/** Tensors in any nesting. */
export type TensorTree = Tree<Tensor>;

/** The structure of specs with a tensor for each. */
export type TensorsOf<Specs> = Specs extends TensorSpec<infer D, infer S> ? Tensor<D, S>
  : Specs extends readonly unknown[] | object
    ? { -readonly [Key in keyof Specs]: TensorsOf<Specs[Key]> }
  : Specs;

/** Whether the value is a tensor: a leaf of a {@linkcode TensorTree}. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

/** Whether the value is a spec: a leaf of a {@linkcode SpecTree}. */
export function isSpec(value: unknown): value is TensorSpec {
  return value instanceof TensorSpec;
}

/** A graph with named ends, and the structures whose leaves they are. */
export interface TracedGraph<In = unknown, Out = unknown> {
  /** Every input by its path, the unused ones too. */
  readonly inputs: ReadonlyMap<string, Node>;
  readonly outputs: ReadonlyMap<string, Node>;
  /** The function's argument as it was given to it. */
  readonly inputTree: In;
  /** The function's result. */
  readonly outputTree: Out;
}

/** Path of a bare tensor, which has no keys. */
const BARE_INPUT = "input";
const BARE_OUTPUT = "output";

/**
 * Calls `fn` once with a tensor for every spec, in the same structure, and keeps the graph that it
 * makes. An input's path joins the keys to it by slashes (`parameters/head/kernel`); a bare spec is
 * `input`, and a bare result `output`.
 *
 * @throws {TypeError} When `fn` returns something else than tensors in records and arrays.
 * @throws {GraphError} Of an op whose operands do not fit.
 */
export function trace<const Specs, Out>(
  specs: Specs,
  fn: (inputs: TensorsOf<Specs>) => Out,
): TracedGraph<TensorsOf<Specs>, Out> {
  const flat = flattenTree(specs, isSpec);
  const inputs = new Map<string, Node>();
  for (const [path, { dtype, shape }] of flat) {
    const name = path || BARE_INPUT;
    inputs.set(name, input(name, dtype, shape));
  }
  const given: MapTree<Specs, TensorSpec, Node> = mapTree(specs, isSpec, (_spec, path) => {
    const node = inputs.get(path || BARE_INPUT);
    if (node === undefined) throw new TypeError(`No input was made for "${path}"`);
    return node;
  });
  // Each node has the element type and shape of the spec in its place.
  const inputTree = given as unknown as TensorsOf<Specs>;
  const outputTree = fn(inputTree);
  const outputs = new Map(
    [...flattenTree(outputTree, isTensor)].map(([path, node]) => [path || BARE_OUTPUT, node]),
  );
  if (outputs.size === 0) throw new TypeError("trace: the function returned no tensor");
  return { inputs, outputs, inputTree, outputTree };
}
