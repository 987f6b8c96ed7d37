/** What the op families share: operand checks, and the index arithmetic of the reference. */
import type { DType } from "../dtype.ts";
import { DTypeError, type OperandText, ShapeError } from "../errors.ts";
import type { Node, Tensor, TensorType } from "../node.ts";
import type { NotDifferentiable, ReferenceTensor } from "../op.ts";
import { type Shape, type StaticShape, staticSize } from "../shape.ts";

/** A number or truth value that stands for a scalar of the other operand's element type. */
export type Literal = number | boolean;

/** What a builder takes where a tensor or a literal may stand. */
export type Operand = Tensor | Literal;

/** An operand as an op's type rule sees it. */
export type OperandType = TensorType & Partial<Pick<Node, "label" | "op" | "origin">>;

/** One axis or several; negative ones count from the end. */
export type Axes = number | readonly number[];

/** The element types that loops compute in. */
export const COMPUTED: readonly DType[] = ["f32", "i32", "u32", "bool"];

/** The element types that have an order and arithmetic. */
export const NUMBERS: readonly DType[] = ["f32", "i32", "u32"];

/** The gradient entry of ops on whole numbers and truth values. */
export const DISCRETE: NotDifferentiable = {
  because: "its result is a whole number or a truth value",
  zero: true,
};

/** The operands as an error message shows them. */
export function textsOf(inputs: readonly OperandType[]): OperandText[] {
  return inputs.map(({ label, op, origin, dtype, shape }) => {
    const made = op === undefined ? undefined : { op: op.name, site: origin?.() };
    return { name: label, made, dtype, shape };
  });
}

/** A node's input that its op is known to have. */
export function inputAt(node: Node, index: number): Node {
  const input = node.inputs[index];
  if (input === undefined) throw new TypeError(`${node} has no input ${index}`);
  return input;
}

/**
 * The only operand.
 *
 * @throws {ShapeError} When there is another number of them.
 */
export function onlyOperand(op: string, inputs: readonly OperandType[]): OperandType {
  return operandsOf(op, inputs, 1)[0];
}

interface OperandTuples {
  1: [OperandType];
  2: [OperandType, OperandType];
  3: [OperandType, OperandType, OperandType];
  4: [OperandType, OperandType, OperandType, OperandType];
  6: [OperandType, OperandType, OperandType, OperandType, OperandType, OperandType];
}

/**
 * The operands, when there are as many as wanted.
 *
 * @throws {ShapeError} When there are not.
 */
export function operandsOf<N extends keyof OperandTuples>(
  op: string,
  inputs: readonly OperandType[],
  count: N,
): OperandTuples[N] {
  if (inputs.length !== count) {
    throw new ShapeError(
      op,
      `${inputs.length} operands were given, wanted ${count}`,
      textsOf(inputs),
    );
  }
  // The length was compared just above.
  return [...inputs] as OperandTuples[N];
}

/**
 * Checks that each operand's element type is one of those allowed.
 *
 * @throws {DTypeError} When one is not.
 */
export function requireDType(
  op: string,
  inputs: readonly OperandType[],
  allowed: readonly DType[],
): void {
  const odd = inputs.find((input) => !allowed.includes(input.dtype));
  if (odd === undefined) return;
  throw new DTypeError(op, `does not take ${odd.dtype}: wanted ${oneOf(allowed)}`, textsOf(inputs));
}

/**
 * Checks that all operands have one element type.
 *
 * @throws {DTypeError} When they differ.
 */
export function requireSameDType(op: string, inputs: readonly OperandType[]): void {
  const names = [...new Set(inputs.map((input) => input.dtype))];
  if (names.length < 2) return;
  throw new DTypeError(
    op,
    `element types ${names.join(" and ")} differ: cast one of them`,
    textsOf(inputs),
  );
}

/** Text such as `f32, i32 or u32`. */
export function oneOf(names: readonly string[]): string {
  if (names.length < 2) return names.join();
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

/**
 * The axis counted from the front.
 *
 * @throws {ShapeError} When the operand has no such axis.
 */
export function axisOf(op: string, axis: number, operand: OperandType): number {
  const rank = operand.shape.length;
  const index = axis < 0 ? axis + rank : axis;
  if (Number.isInteger(index) && index >= 0 && index < rank) return index;
  const wanted = rank === 0 ? "a scalar has no axes" : `wanted ${-rank} to ${rank - 1}`;
  throw new ShapeError(op, `axis ${axis} is out of range: ${wanted}`, textsOf([operand]));
}

/**
 * The axes counted from the front, sorted; all of them when none are named.
 *
 * @throws {ShapeError} When one is out of range or named twice.
 */
export function axesOf(op: string, axes: Axes | undefined, operand: OperandType): number[] {
  if (axes === undefined) return operand.shape.map((_, axis) => axis);
  const list = typeof axes === "number" ? [axes] : axes;
  const found = list.map((axis) => axisOf(op, axis, operand)).sort((a, b) => a - b);
  const twice = found.find((axis, at) => found[at + 1] === axis);
  if (twice === undefined) return found;
  throw new ShapeError(op, `axis ${twice} is named twice`, textsOf([operand]));
}

/** The shape without the given axes. */
export function withoutAxes(shape: Shape, axes: readonly number[]): Shape {
  return shape.filter((_, axis) => !axes.includes(axis));
}

/** The shape with the given axes set to size 1. */
export function withOnes(shape: Shape, axes: readonly number[]): Shape {
  return shape.map((size, axis) => axes.includes(axis) ? 1 : size);
}

/** The whole numbers from 0 to `count - 1`. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** Element `index` of the list, which must be there. */
export function at<T>(list: ArrayLike<T>, index: number): T {
  const value = list[index];
  if (value === undefined) throw new RangeError(`No element ${index} among ${list.length}`);
  return value;
}

/** Steps between neighbours along each axis of a row-major array. */
export function rowMajorStrides(shape: StaticShape): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    strides[axis] = at(strides, axis + 1) * at(shape, axis + 1);
  }
  return strides;
}

/**
 * Where the elements of a strided view stand: for every index of `shape`, in row-major order,
 * `base + sum(index * strides)`. All movement and folding in the reference is built of these.
 */
export function stridedOffsets(
  shape: StaticShape,
  strides: readonly number[],
  base = 0,
): Int32Array {
  let offsets = Int32Array.of(base);
  shape.forEach((size, axis) => {
    const step = at(strides, axis);
    const longer = new Int32Array(offsets.length * size);
    offsets.forEach((offset, outer) => {
      for (let index = 0; index < size; index++) {
        longer[outer * size + index] = offset + index * step;
      }
    });
    offsets = longer;
  });
  return offsets;
}

/** The elements of `input` at the offsets. */
export function pick(input: ReferenceTensor, offsets: Int32Array): Float64Array {
  return Float64Array.from(offsets, (offset) => at(input.data, offset));
}

/** The exact value as the element type holds it: whole numbers wrap; floats stay f64. */
export function wrap(dtype: DType, value: number): number {
  if (dtype === "i32") return value | 0;
  if (dtype === "u32") return value >>> 0;
  if (dtype === "bool") return value === 0 ? 0 : 1;
  return value;
}

/** The number of elements of the output, as the cost of an op that does one thing for each. */
export function oncePerElement(_inputs: readonly StaticShape[], output: StaticShape): number {
  return staticSize(output);
}

/** The cost of an op that only moves things. */
export function noFlops(): number {
  return 0;
}
