/**
 * One record per op: everything about it that knows no device. Its type and shape rule, its
 * gradient, its cost, what it means in plain f64 arithmetic, and how it decomposes.
 */
import type { DType } from "./dtype.ts";
import type { Node, TensorType } from "./node.ts";
import type { Dim, Shape, StaticShape } from "./shape.ts";

/** What an attribute of an op may hold. */
export type AttrValue =
  | string
  | number
  | boolean
  | Dim
  | readonly number[]
  | readonly string[]
  | Shape
  | Float32Array
  | Int32Array
  | Uint32Array
  | Uint8Array
  | undefined;

/** An op's attributes: what it needs to know beside its operands. */
export type Attrs = Readonly<Record<string, AttrValue>>;

/** A tensor as the reference sees it: numbers in f64 (whole ones exact), row-major. */
export interface ReferenceTensor {
  readonly dtype: DType;
  readonly shape: StaticShape;
  readonly data: Float64Array;
}

/** The gradient of an op: given its node and the cotangent of its result, one for each input. */
export type VectorJacobianProduct = (
  node: Node,
  cotangent: Node,
) => readonly (Node | undefined)[];

/** Says why an op has no gradient, where it has none. */
export interface NotDifferentiable {
  /** Ends the sentence "op has no gradient: …". */
  readonly because: string;
  /** Zero almost everywhere: the gradient is silently zero, as of a comparison or a rounding. */
  readonly zero: boolean;
}

/** How the compiler treats an op. */
export type OpKind =
  /** Has no operands: inputs, constants, counters. */
  | "source"
  /** One scalar expression an element. */
  | "elementwise"
  /** Changes where elements stand, not what they are. */
  | "movement"
  /** Folds axes away. */
  | "reduce"
  /** Sums products over shared axes. */
  | "contract"
  /** A template of its own in each backend. */
  | "attention"
  /** Reads or adds at computed places. */
  | "indexed"
  /** Rewritten into the others before scheduling. */
  | "composite";

/** Everything about an op that knows no device. */
export interface OpRecord<A extends Attrs = Attrs> {
  /** The field's name for it. */
  readonly name: string;
  readonly kind: OpKind;
  /** One or two sentences and the formula. */
  readonly doc: string;
  /** The result's type; throws a {@linkcode GraphError} subclass when the operands do not fit. */
  readonly infer: (
    inputs: readonly (TensorType & { label?: string | undefined })[],
    attrs: A,
  ) => TensorType;
  /**
   * Reverse-mode rule, in graph ops, so that it can be differentiated again. `"decompose"`: the
   * gradient of the decomposition.
   */
  readonly vjp: VectorJacobianProduct | NotDifferentiable | "decompose";
  /** Floating-point operations for these types; a multiply-add counts two. */
  readonly flops: (inputs: readonly StaticShape[], output: StaticShape, attrs: A) => number;
  /** Plain evaluation in f64. The inputs are not to be changed. */
  readonly reference: (
    inputs: readonly ReferenceTensor[],
    output: { readonly dtype: DType; readonly shape: StaticShape },
    attrs: A,
  ) => Float64Array;
  /** The same thing in simpler ops: what a composite becomes before scheduling, if not earlier. */
  readonly decompose?: (node: Node) => Node;
}

const records = new Map<string, OpRecord>();

/**
 * Registers an op. Adding one is this call in its family's file and, when it survives
 * decomposition, a row in the lowering table.
 *
 * @throws {TypeError} When the name is taken, or a composite has no decomposition.
 */
export function defineOp<A extends Attrs>(record: OpRecord<A>): OpRecord<A> {
  const key = `${record.kind}/${record.name}`;
  if (records.has(key)) throw new TypeError(`Op "${key}" is defined twice`);
  if (record.kind === "composite" && record.decompose === undefined) {
    throw new TypeError(`Op "${record.name}" is composite: it needs a decomposition`);
  }
  // Stored without its attribute type; makeNode pairs each record with attributes of that type.
  records.set(key, record as unknown as OpRecord);
  return record;
}

/**
 * Every op defined so far, by kind and name, such as `elementwise/max`: the larger of two and the
 * largest along an axis (`reduce/max`) share their name.
 */
export function allOps(): ReadonlyMap<string, OpRecord> {
  return records;
}
