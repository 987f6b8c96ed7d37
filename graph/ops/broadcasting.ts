/** How operands are brought to one element type and one shape before an elementwise op. */
import { type DType, isFloat, isHalf } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { makeNode, type Node, Tensor } from "../node.ts";
import type { Attrs, OpRecord } from "../op.ts";
import { type Dim, formatShape, sameDim, sameShape, type Shape } from "../shape.ts";
import type { BroadcastTo, ShapeOf, Valid } from "../shape_types.ts";
import { cast } from "./convert.ts";
import { broadcast } from "./movement.ts";
import { constant } from "./source.ts";
import { type Literal, type Operand, range, requireSameDType, textsOf } from "./support.ts";

/**
 * The shape that both broadcast to: aligned at the last axis, sizes equal or one of them 1.
 *
 * @throws {ShapeError} When they do not fit; the message lists all `operands`.
 */
export function broadcastShapes(op: string, operands: readonly Tensor[]): Shape {
  return operands.map((operand) => operand.shape).reduce((a, b) => {
    const rank = Math.max(a.length, b.length);
    return range(rank).map((axis) => {
      const left = a[axis - rank + a.length] ?? 1;
      const right = b[axis - rank + b.length] ?? 1;
      const size = joinDims(left, right);
      if (size !== undefined) return size;
      throw new ShapeError(
        op,
        `sizes ${left} and ${right} disagree at axis ${axis - rank} of ` +
          `${formatShape(a)} and ${formatShape(b)}: wanted equal sizes, or 1`,
        textsOf(operands),
      );
    });
  });
}

function joinDims(a: Dim, b: Dim): Dim | undefined {
  if (sameDim(a, b) || b === 1) return a;
  return a === 1 ? b : undefined;
}

/**
 * `x` repeated to `shape`, aligned at the last axis as NumPy does.
 *
 * @throws {ShapeError} When it does not fit.
 */
export function broadcastTo<D extends DType, S extends Shape, const To extends Shape>(
  x: Tensor<D, S>,
  shape: To & Valid<BroadcastTo<S, To>>,
): Tensor<D, ShapeOf<BroadcastTo<S, To>>> {
  // The op's infer checks at run time what the rule says of the types.
  return broadcastNode(x, shape) as Tensor<D, ShapeOf<BroadcastTo<S, To>>>;
}

function broadcastNode(x: Tensor, shape: Shape): Node {
  if (sameShape(x.shape, shape)) return x;
  const shift = shape.length - x.shape.length;
  if (shift < 0) {
    throw new ShapeError(
      "broadcast",
      `cannot lower the rank to ${formatShape(shape)}`,
      textsOf([x]),
    );
  }
  return broadcast(x, shape, range(x.shape.length).map((axis) => axis + shift));
}

/**
 * The operands as tensors of one element type: literals take the tensors' type.
 *
 * @throws {DTypeError} When the tensors' types differ or cannot hold a literal.
 * @throws {TypeError} When all are literals.
 */
export function resolve(op: string, operands: readonly Operand[]): Node[] {
  const tensors = operands.filter((operand) => operand instanceof Tensor);
  const first = tensors[0];
  if (first === undefined) throw new TypeError(`${op}: all operands are literals: wanted a tensor`);
  requireSameDType(op, tensors);
  return operands.map((operand) =>
    operand instanceof Tensor ? operand : literal(op, operand, first.dtype, tensors)
  );
}

function literal(op: string, value: Literal, dtype: DType, tensors: readonly Tensor[]): Node {
  const wantsBoolean = dtype === "bool";
  const fits = typeof value === "boolean"
    ? wantsBoolean
    : isFloat(dtype) || fitsWhole(value, dtype);
  if (!fits) {
    throw new DTypeError(op, `${dtype} cannot hold the literal ${value}`, textsOf(tensors));
  }
  return constant(value, { dtype });
}

function fitsWhole(value: number, dtype: DType): boolean {
  if (dtype === "i32") return (value | 0) === value;
  return dtype === "u32" && value >>> 0 === value;
}

/**
 * Runs `build` on operands of a type that has arithmetic: f16 and bf16 are cast to f32, and a result
 * of type f32 back.
 */
export function inArithmetic(operands: readonly Node[], build: (operands: Node[]) => Node): Node {
  const storage = operands.map((operand) => operand.dtype).find(isHalf);
  if (storage === undefined) return build([...operands]);
  const result = build(
    operands.map((operand) => operand.dtype === storage ? cast(operand, "f32") : operand),
  );
  return result.dtype === "f32" ? cast(result, storage) : result;
}

/** An elementwise node over operands brought to one element type and one shape. */
export function elementwise<A extends Attrs>(
  record: OpRecord<A>,
  operands: readonly Operand[],
  attrs: A,
): Node {
  const tensors = resolve(record.name, operands);
  return inArithmetic(tensors, (ready) => broadcasted(record, ready, attrs));
}

/** An elementwise node over operands brought to one shape. */
export function broadcasted<A extends Attrs>(
  record: OpRecord<A>,
  operands: readonly Node[],
  attrs: A,
): Node {
  const shape = broadcastShapes(record.name, operands);
  return makeNode(record, operands.map((operand) => broadcastNode(operand, shape)), attrs);
}
