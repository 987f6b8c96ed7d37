/** Shape rules of attention and of its gradient. */
import { ShapeError } from "../errors.ts";
import type { TensorType } from "../node.ts";
import { type Dim, formatShape, sameDim, sameShape, type Shape } from "../shape.ts";
import {
  at,
  operandsOf,
  type OperandType,
  requireDType,
  requireSameDType,
  textsOf,
} from "./support.ts";

/** The one attribute of all of them. */
export type ScaleAttrs = { readonly scale: number };

/** The result of attention over (q, k, v). */
export function checkAttention(op: string, inputs: readonly OperandType[]): TensorType {
  const [, , v] = operandsOf(op, inputs, 3);
  const rows = checkScores(op, inputs);
  return { dtype: "f32", shape: [...rows, at(v.shape, v.shape.length - 1)] };
}

/** The result of the log-sum-exp over (q, k): q's shape without its columns. */
export function checkLogSumExp(op: string, inputs: readonly OperandType[]): TensorType {
  operandsOf(op, inputs, 2);
  return { dtype: "f32", shape: checkScores(op, inputs) };
}

/** The result of a gradient over (q, k, v, out, logSumExp, outCotangent): the wanted operand's type. */
export function checkAttentionGradient(
  op: string,
  inputs: readonly OperandType[],
  wanted: number,
): TensorType {
  const [, , v, out, logSumExp, cotangent] = operandsOf(op, inputs, 6);
  const rows = checkScores(op, inputs.slice(0, 3));
  requireDType(op, inputs, ["f32"]);
  const columns = last(v.shape, 1);
  const fits = [out, cotangent].every((operand) => sameShape(operand.shape, [...rows, columns])) &&
    sameShape(logSumExp.shape, rows);
  if (!fits) {
    throw new ShapeError(
      op,
      `wanted out and its cotangent of shape ${
        formatShape([...rows, columns])
      }, and logSumExp of ` +
        formatShape(rows),
      textsOf(inputs),
    );
  }
  return { dtype: "f32", shape: at(inputs, wanted).shape };
}

/** Checks q, k and, where it is given, v, and returns q's shape without its columns. */
function checkScores(op: string, inputs: readonly OperandType[]): Shape {
  requireSameDType(op, inputs);
  requireDType(op, inputs, ["f32"]);
  const fail = (problem: string): never => {
    throw new ShapeError(op, problem, textsOf(inputs));
  };
  const [q, k, v] = inputs.map((operand) => operand.shape);
  if (q === undefined || k === undefined || inputs.some(({ shape }) => shape.length < 2)) {
    return fail("an operand is not a stack of matrices: wanted [.., rows, columns]");
  }
  if (!sameBatch(q, k) || (v !== undefined && !sameBatch(k, v))) {
    return fail("batch axes differ: wanted the same ones in front of every operand's last two");
  }
  if (!sameDim(last(q, 1), last(k, 1))) {
    return fail(`columns of q and k, ${last(q, 1)} and ${last(k, 1)}, disagree`);
  }
  if (v !== undefined && !sameDim(last(k, 2), last(v, 2))) {
    return fail(`rows of k and v, ${last(k, 2)} and ${last(v, 2)}, disagree`);
  }
  return q.slice(0, -1);
}

function last(shape: Shape, fromEnd: number): Dim {
  return at(shape, shape.length - fromEnd);
}

function sameBatch(a: Shape, b: Shape): boolean {
  return sameShape(a.slice(0, -2), b.slice(0, -2));
}
