/**
 * The gradients of a norm of rows, as named ops: with y = x normalised and h = cotangent * scale,
 * dx = (h - mean(h) - y mean(h y)) / deviation (without centring, mean(h) is left out), dscale sums
 * cotangent * y over all rows, dbias the cotangent. They keep their names until they are decomposed,
 * so that what flows back through a norm is known wherever it came from.
 */
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type TensorType } from "../node.ts";
import { defineOp, type ReferenceTensor } from "../op.ts";
import { sameDim, sameShape, type StaticShape, staticSize } from "../shape.ts";
import { add, mul, sub } from "./binary.ts";
import { mean, sum } from "./reduce.ts";
import { at, inputAt, type OperandType, range, requireDType, textsOf } from "./support.ts";
import { rsqrt } from "./unary.ts";

/** Which norm. */
export type NormKind = {
  /** Added to the variance. */
  readonly epsilon: number;
  /** Whether the mean is taken off. */
  readonly center: boolean;
};

/** The norm that a node's attributes describe. */
export function normKindOf(node: Node): NormKind {
  return { epsilon: Number(node.attrs["epsilon"]), center: node.attrs["center"] === true };
}

/** A line normalised in f64, and one over its deviation. */
export function normalizedLine(line: readonly number[], { epsilon, center }: NormKind) {
  const middle = center ? average(line) : 0;
  const spread = Math.sqrt(average(line.map((value) => (value - middle) ** 2)) + epsilon);
  return { normalized: line.map((value) => (value - middle) / spread), inverse: 1 / spread };
}

function average(line: readonly number[]): number {
  return line.reduce((total, value) => total + value, 0) / line.length;
}

/** The same nodes whoever asks, so that forward and backward share them. */
export function normalize(x: Node, { epsilon, center }: NormKind) {
  const centered = center ? sub(x, mean(x, -1, { keepDims: true })) : x;
  const variance = mean(mul(centered, centered), -1, { keepDims: true });
  const inverse = rsqrt(add(variance, epsilon));
  return { normalized: mul(centered, inverse), inverse };
}

/** The rows of the last axis. */
function rowsOf({ data, shape }: ReferenceTensor): number[][] {
  const columns = shape.at(-1) ?? 1;
  return range(columns === 0 ? 0 : data.length / columns)
    .map((row) => [...data.slice(row * columns, (row + 1) * columns)]);
}

/** The sums of the rows' columns. */
function columnSums(rows: readonly (readonly number[])[], columns: number): Float64Array {
  const sums = new Float64Array(columns);
  for (const row of rows) row.forEach((value, column) => sums[column] = at(sums, column) + value);
  return sums;
}

/** Checks that `x` and `cotangent` are one type, and gives it. */
function rowsType(op: string, inputs: readonly OperandType[], wanted: number): TensorType {
  requireDType(op, inputs, ["f32"]);
  const { dtype, shape } = at(inputs, 0);
  const others = inputs.slice(1, Math.min(wanted, 2));
  if (inputs.length !== wanted || shape.length === 0) {
    throw new ShapeError(op, `wanted ${wanted} operands, the first with rows`, textsOf(inputs));
  }
  if (others.some((other) => !sameShape(other.shape, shape))) {
    throw new ShapeError(op, "the cotangent is not of x's shape", textsOf(inputs));
  }
  return { dtype, shape };
}

function vectorType(op: string, inputs: readonly OperandType[], wanted: number): TensorType {
  const { dtype, shape } = rowsType(op, inputs, wanted);
  return { dtype, shape: [at(shape, shape.length - 1)] };
}

/** The cotangent of x. */
export const layerNormGradInputRecord = defineOp<NormKind & { readonly hasScale: boolean }>({
  name: "layerNormGradInput",
  kind: "composite",
  doc: "The cotangent of a norm's x, given (x, the cotangent of its result, the scale if any).",
  infer: (inputs, { hasScale }) => {
    const type = rowsType("layerNormGradInput", inputs, hasScale ? 3 : 2);
    const scale = inputs[2];
    const fits = scale === undefined ||
      (scale.shape.length === 1 &&
        sameDim(at(scale.shape, 0), at(type.shape, -1 + type.shape.length)));
    if (!fits) {
      throw new ShapeError(
        "layerNormGradInput",
        "scale is no vector of the last axis' size",
        textsOf(inputs),
      );
    }
    return type;
  },
  vjp: "decompose",
  flops: (_inputs, output) => 10 * staticSize(output),
  reference: (inputs, _output, kind) => {
    const cotangents = rowsOf(at(inputs, 1));
    const scale = inputs[2]?.data;
    return Float64Array.from(
      rowsOf(at(inputs, 0)).flatMap((row, index) => {
        const { normalized, inverse } = normalizedLine(row, kind);
        const scaled = at(cotangents, index).map((value, column) => value * (scale?.[column] ?? 1));
        const along = average(scaled.map((value, column) => value * at(normalized, column)));
        const middle = kind.center ? average(scaled) : 0;
        return scaled.map((value, column) =>
          (value - middle - at(normalized, column) * along) * inverse
        );
      }),
    );
  },
  decompose: (node) => {
    const [x, cotangent, scale] = [inputAt(node, 0), inputAt(node, 1), node.inputs[2]];
    const kind = normKindOf(node);
    const { normalized, inverse } = normalize(x, kind);
    const scaled = scale === undefined ? cotangent : mul(cotangent, scale);
    const along = mul(normalized, mean(mul(scaled, normalized), -1, { keepDims: true }));
    const straight = kind.center ? sub(scaled, mean(scaled, -1, { keepDims: true })) : scaled;
    return mul(sub(straight, along), inverse);
  },
});

/** The cotangent of the scale. */
export const layerNormGradScaleRecord = defineOp<NormKind>({
  name: "layerNormGradScale",
  kind: "composite",
  doc: "The cotangent of a norm's scale, given (x, the cotangent of its result).",
  infer: (inputs) => vectorType("layerNormGradScale", inputs, 2),
  vjp: "decompose",
  flops: (inputs) => 6 * sizeOfFirst(inputs),
  reference: (inputs, output, kind) => {
    const cotangents = rowsOf(at(inputs, 1));
    const products = rowsOf(at(inputs, 0)).map((row, index) =>
      normalizedLine(row, kind).normalized.map((value, column) =>
        value * at(at(cotangents, index), column)
      )
    );
    return columnSums(products, at(output.shape, 0));
  },
  decompose: (node) => {
    const { normalized } = normalize(inputAt(node, 0), normKindOf(node));
    return sumOfRows(mul(inputAt(node, 1), normalized));
  },
});

/** The cotangent of the bias. */
export const layerNormGradBiasRecord = defineOp<Record<never, never>>({
  name: "layerNormGradBias",
  kind: "composite",
  doc: "The cotangent of a norm's bias, given the cotangent of its result.",
  infer: (inputs) => vectorType("layerNormGradBias", inputs, 1),
  vjp: "decompose",
  flops: (inputs) => sizeOfFirst(inputs),
  reference: (inputs, output) => columnSums(rowsOf(at(inputs, 0)), at(output.shape, 0)),
  decompose: (node) => sumOfRows(inputAt(node, 0)),
});

function sizeOfFirst(inputs: readonly StaticShape[]): number {
  return staticSize(inputs[0] ?? []);
}

function sumOfRows(x: Node): Node {
  return sum(x, range(x.shape.length - 1));
}

/** The cotangent of the norm's `x` [.., d]; `scale` is [d]. */
export function layerNormGradInput(
  x: Node,
  cotangent: Node,
  scale: Node | undefined,
  kind: NormKind,
): Node {
  const operands = scale === undefined ? [x, cotangent] : [x, cotangent, scale];
  return makeNode(layerNormGradInputRecord, operands, { ...kind, hasScale: scale !== undefined });
}

/** The cotangent of the norm's scale, [d], given that of its result, [.., d]. */
export function layerNormGradScale(x: Node, cotangent: Node, kind: NormKind): Node {
  return makeNode(layerNormGradScaleRecord, [x, cotangent], kind);
}

/** The cotangent of the norm's bias, [d], given that of its result, [.., d]. */
export function layerNormGradBias(cotangent: Node): Node {
  return makeNode(layerNormGradBiasRecord, [cotangent], {});
}
