/** Sums of products over shared axes: einsum of two operands, and matmul in terms of it. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import { type Dim, sameDim, type Shape, type StaticShape, staticSize } from "../shape.ts";
import type {
  Contract,
  ContractSpec as ContractPattern,
  MatMul,
  ShapeOf,
  Valid,
} from "../shape_types.ts";
import { inArithmetic } from "./broadcasting.ts";
import type { JointDType, SameDTypeAs } from "./builder_types.ts";
import { reshape } from "./movement.ts";
import { sum } from "./reduce.ts";
import {
  at,
  inputAt,
  operandsOf,
  type OperandType,
  requireDType,
  requireSameDType,
  rowMajorStrides,
  stridedOffsets,
  textsOf,
} from "./support.ts";

/** The letters of a canonical spec such as `abc,cd->abd`. */
export interface ContractSpec {
  readonly left: readonly string[];
  readonly right: readonly string[];
  readonly output: readonly string[];
}

/** Reads a canonical spec: one letter an axis, no spaces. */
export function parseSpec(spec: string): ContractSpec {
  const match = /^([A-Za-z]*),([A-Za-z]*)->([A-Za-z]*)$/.exec(spec);
  if (match === null) {
    throw new TypeError(`contract: spec "${spec}" is not canonical: wanted such as "abc,cd->abd"`);
  }
  const [, left = "", right = "", output = ""] = match;
  return { left: [...left], right: [...right], output: [...output] };
}

/** The letters that are summed over, in the left operand's order. */
export function contractedLetters({ left, output }: ContractSpec): string[] {
  return left.filter((letter) => !output.includes(letter));
}

type SpecAttrs = { readonly spec: string };

/** Sums of products. */
export const contractRecord = defineOp<SpecAttrs>({
  name: "contract",
  kind: "contract",
  doc:
    "Einsum of two operands: the products of a and b, summed over the letters that are in both " +
    "and not in the output. A letter in both and in the output is a batch axis. Every letter is in " +
    "two of the three.",
  infer: (inputs, { spec }) => {
    const [a, b] = operandsOf("contract", inputs, 2);
    requireSameDType("contract", inputs);
    requireDType("contract", inputs, ["f32"]);
    const parsed = parseSpec(spec);
    checkSpec(spec, parsed, inputs);
    const sizes = letterSizes(spec, parsed, a, b);
    return { dtype: "f32", shape: parsed.output.map((letter) => sizeOf(sizes, letter)) };
  },
  vjp: (node, cotangent) => {
    const { left, right, output } = parseSpec(node.attrs["spec"] as string);
    const [a, b] = [inputAt(node, 0), inputAt(node, 1)];
    return [
      contractLetters({ left: output, right, output: left }, cotangent, b),
      contractLetters({ left, right: output, output: right }, a, cotangent),
    ];
  },
  flops: (inputs, output, { spec }) => {
    const parsed = parseSpec(spec);
    const depth = contractedLetters(parsed)
      .map((letter) => at(at(inputs, 0), parsed.left.indexOf(letter)))
      .reduce((product, size) => product * size, 1);
    return 2 * depth * staticSize(output);
  },
  reference: (inputs, output, { spec }) => {
    const parsed = parseSpec(spec);
    const [a, b] = [at(inputs, 0), at(inputs, 1)];
    const folded = contractedLetters(parsed);
    const depths = folded.map((letter) => at(a.shape, parsed.left.indexOf(letter)));
    const startsA = letterOffsets(output.shape, parsed.output, parsed.left, a.shape);
    const startsB = letterOffsets(output.shape, parsed.output, parsed.right, b.shape);
    const stepsA = letterOffsets(depths, folded, parsed.left, a.shape);
    const stepsB = letterOffsets(depths, folded, parsed.right, b.shape);
    const linesA = linesOf(a.data, startsA, stepsA);
    const linesB = linesOf(b.data, startsB, stepsB);
    return Float64Array.from(linesA, (line, index) => dot(line, at(linesB, index)));
  },
});

/** For each start the numbers at all steps from there, side by side; equal starts share theirs. */
function linesOf(data: Float64Array, starts: Int32Array, steps: Int32Array): Float64Array[] {
  const known = new Map<number, Float64Array>();
  const found: Float64Array[] = [];
  for (const start of starts) {
    const line = known.get(start) ?? Float64Array.from(steps, (step) => at(data, start + step));
    known.set(start, line);
    found.push(line);
  }
  return found;
}

/** Two sums side by side: a processor adds to one of them while the other waits for its sum. */
function dot(a: Float64Array, b: Float64Array): number {
  let [even, odd] = [0, 0];
  for (let k = 1; k < a.length; k += 2) {
    even += (a[k - 1] ?? NaN) * (b[k - 1] ?? NaN);
    odd += (a[k] ?? NaN) * (b[k] ?? NaN);
  }
  const last = a.length - 1;
  return a.length % 2 === 0 ? even + odd : even + odd + (a[last] ?? NaN) * (b[last] ?? NaN);
}

/** For every index over `letters`, where an operand's element stands; 0 for letters it lacks. */
function letterOffsets(
  sizes: StaticShape,
  letters: readonly string[],
  own: readonly string[],
  shape: StaticShape,
): Int32Array {
  const strides = rowMajorStrides(shape);
  return stridedOffsets(sizes, letters.map((letter) => strides[own.indexOf(letter)] ?? 0));
}

function checkSpec(spec: string, parsed: ContractSpec, operands: readonly OperandType[]): void {
  const { left, right, output } = parsed;
  for (const letters of [left, right, output]) {
    const twice = letters.find((letter, index) => letters.indexOf(letter) !== index);
    if (twice === undefined) continue;
    throw new ShapeError("contract", `"${twice}" stands twice in "${spec}"`, textsOf(operands));
  }
  const alone = [...left, ...right, ...output].find((letter) =>
    [left, right, output].filter((letters) => letters.includes(letter)).length < 2
  );
  if (alone === undefined) return;
  throw new ShapeError("contract", `"${alone}" stands once in "${spec}"`, textsOf(operands));
}

function letterSizes(
  spec: string,
  { left, right }: ContractSpec,
  a: OperandType,
  b: OperandType,
): ReadonlyMap<string, Dim> {
  const sizes = new Map<string, Dim>();
  for (const [letters, operand] of [[left, a], [right, b]] as const) {
    if (letters.length !== operand.shape.length) {
      throw new ShapeError(
        "contract",
        `"${letters.join(" ")}" in "${spec}" names ${letters.length} axes, the operand has ` +
          `${operand.shape.length}`,
        textsOf([a, b]),
      );
    }
    letters.forEach((letter, axis) => {
      const size = at(operand.shape, axis);
      const known = sizes.get(letter);
      if (known !== undefined && !sameDim(known, size)) {
        throw new ShapeError(
          "contract",
          `"${letter}" in "${spec}" has sizes ${known} and ${size}, which disagree`,
          textsOf([a, b]),
        );
      }
      sizes.set(letter, size);
    });
  }
  return sizes;
}

function sizeOf(sizes: ReadonlyMap<string, Dim>, letter: string): Dim {
  const size = sizes.get(letter);
  if (size === undefined) throw new TypeError(`contract: "${letter}" is on no operand`);
  return size;
}

const LETTERS = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"];

/** The node for axis names of any kind, each in two of the three lists. */
export function contractLetters(spec: ContractSpec, a: Node, b: Node): Node {
  const names = [...new Set([...spec.left, ...spec.right, ...spec.output])];
  const letters = (list: readonly string[]) =>
    list.map((name) => at(LETTERS, names.indexOf(name))).join("");
  const text = `${letters(spec.left)},${letters(spec.right)}->${letters(spec.output)}`;
  return makeNode(contractRecord, [a, b], { spec: text });
}

function parsePattern(pattern: string, operands: readonly Tensor[]): ContractSpec {
  const name = "[A-Za-z_][A-Za-z0-9_]*";
  const list = `\\s*((?:${name}(?:\\s+${name})*)?)\\s*`;
  const match = new RegExp(`^${list},${list}->${list}$`).exec(pattern);
  if (match === null) {
    throw new ShapeError(
      "contract",
      `cannot read "${pattern}": wanted names of axes as in "b n d, d e -> b n e"`,
      textsOf(operands),
    );
  }
  const names = (text = "") => text.split(/\s+/).filter((part) => part !== "");
  return { left: names(match[1]), right: names(match[2]), output: names(match[3]) };
}

/** Sums away the axes whose names are on this operand alone. */
function sumLonely(x: Node, names: readonly string[], others: readonly string[]) {
  const lonely = names.flatMap((name, axis) => others.includes(name) ? [] : [axis]);
  return {
    tensor: sum(x, lonely),
    names: names.filter((_, axis) => !lonely.includes(axis)),
  };
}

function checkPattern(pattern: string, spec: ContractSpec, a: Tensor, b: Tensor): void {
  const { left, right, output } = spec;
  for (const names of [left, right, output]) {
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice === undefined) continue;
    throw new ShapeError(
      "contract",
      `"${twice}" stands twice in a part of "${pattern}"`,
      textsOf([a, b]),
    );
  }
  const unknown = output.find((name) => !left.includes(name) && !right.includes(name));
  if (unknown !== undefined) {
    throw new ShapeError(
      "contract",
      `"${unknown}" of the output is on no operand in "${pattern}"`,
      textsOf([a, b]),
    );
  }
  letterSizes(pattern, spec, a, b);
}

/**
 * Einsum of two operands over named axes: `contract("b n d, d e -> b n e", x, w)`. A name that is
 * not in the output is summed over; one in both operands and in the output is a batch axis. f16 and
 * bf16 operands are multiplied and summed in f32.
 *
 * @throws {ShapeError} When the pattern cannot be read, a name stands twice in one operand, or sizes
 *   of one name disagree.
 * @throws {DTypeError} When the element types differ or are not floats.
 */
export function contract<
  const Pattern extends string,
  D extends DType,
  A extends Shape,
  E extends DType,
  B extends Shape,
>(
  pattern: Pattern & Valid<ContractPattern<Pattern>>,
  a: Tensor<D, A>,
  b: Tensor<E, B> & SameDTypeAs<D, E, "contract"> & Valid<Contract<Pattern, A, B>>,
): Tensor<JointDType<D, E>, ShapeOf<Contract<Pattern, A, B>>>;
export function contract(pattern: string, a: Tensor, b: Tensor): Node {
  const spec = parsePattern(pattern, [a, b]);
  requireSameDType("contract", [a, b]);
  requireDType("contract", [a, b], ["f32", "f16", "bf16"]);
  checkPattern(pattern, spec, a, b);
  return inArithmetic([a, b], (operands) => {
    const left = sumLonely(at(operands, 0), spec.left, [...spec.right, ...spec.output]);
    const right = sumLonely(at(operands, 1), spec.right, [...spec.left, ...spec.output]);
    const names = { left: left.names, right: right.names, output: spec.output };
    return contractLetters(names, left.tensor, right.tensor);
  });
}

/**
 * Matrix product over stacks of matrices: [.., m, k] and [.., k, n] give [.., m, n]. The axes in front
 * are batch axes and broadcast. f16 and bf16 operands are multiplied and summed in f32.
 *
 * @throws {ShapeError} When the sizes disagree, or an operand is a scalar or a vector.
 * @throws {DTypeError} When the element types differ or are not floats.
 */
export function matmul<D extends DType, A extends Shape, E extends DType, B extends Shape>(
  a: Tensor<D, A>,
  b: Tensor<E, B> & SameDTypeAs<D, E, "matmul"> & Valid<MatMul<A, B>>,
): Tensor<JointDType<D, E>, ShapeOf<MatMul<A, B>>>;
export function matmul(a: Tensor, b: Tensor): Node {
  if (a.shape.length < 2 || b.shape.length < 2) {
    throw new ShapeError("matmul", "an operand has fewer than 2 axes", textsOf([a, b]));
  }
  requireSameDType("matmul", [a, b]);
  requireDType("matmul", [a, b], ["f32", "f16", "bf16"]);
  const [depthA, depthB] = [at(a.shape, a.shape.length - 1), at(b.shape, b.shape.length - 2)];
  if (!sameDim(depthA, depthB)) {
    throw new ShapeError("matmul", `inner sizes ${depthA} and ${depthB} disagree`, textsOf([a, b]));
  }
  const batch = matmulBatch(a, b);
  return inArithmetic([a, b], (operands) => {
    const product = contractLetters(
      {
        left: [...batch.left.names, "m", "k"],
        right: [...batch.right.names, "k", "n"],
        output: [...batch.output, "m", "n"],
      },
      reshape(at(operands, 0), [...batch.left.shape, ...a.shape.slice(-2)]),
      reshape(at(operands, 1), [...batch.right.shape, ...b.shape.slice(-2)]),
    );
    return reshape(product, [...batch.shape, ...product.shape.slice(-2)]);
  });
}

/** An operand's batch axes that take part: those of size 1 that would stretch are left out. */
interface BatchSide {
  readonly names: string[];
  readonly shape: Dim[];
}

function matmulBatch(a: Tensor, b: Tensor) {
  const [left, right] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const rank = Math.max(left.length, right.length);
  const sides = { left: newSide(), right: newSide() };
  const shape: Dim[] = [];
  const output: string[] = [];
  for (let place = -rank; place < 0; place++) {
    const [sizeA, sizeB] = [left[left.length + place], right[right.length + place]];
    const size = stretched(sizeA ?? 1, sizeB ?? 1);
    if (size === undefined) {
      throw new ShapeError("matmul", `batch sizes ${sizeA} and ${sizeB} disagree`, textsOf([a, b]));
    }
    shape.push(size);
    if (size === 1) continue;
    const name = `b${-place}`;
    output.push(name);
    for (const [own, side] of [[sizeA, sides.left], [sizeB, sides.right]] as const) {
      if (own === undefined || own === 1) continue;
      side.names.push(name);
      side.shape.push(own);
    }
  }
  return { ...sides, shape, output };
}

function newSide(): BatchSide {
  return { names: [], shape: [] };
}

function stretched(a: Dim, b: Dim): Dim | undefined {
  if (sameDim(a, b) || b === 1) return a;
  return a === 1 ? b : undefined;
}
