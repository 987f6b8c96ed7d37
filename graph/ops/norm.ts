/** Layer normalisation (Ba, Kiros and Hinton 2016), and without centring, the root-mean-square one. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { defineOp } from "../op.ts";
import { sameDim, type Shape, staticSize } from "../shape.ts";
import { add, mul } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import {
  layerNormGradBias,
  layerNormGradInput,
  layerNormGradScale,
  normalize,
  normalizedLine,
  normKindOf,
} from "./norm_gradient.ts";
import { alongAxis } from "./softmax.ts";
import {
  at,
  inputAt,
  type OperandType,
  requireDType,
  requireSameDType,
  textsOf,
} from "./support.ts";

type LayerNormAttrs = {
  readonly axis: number;
  readonly epsilon: number;
  readonly center: boolean;
  readonly hasScale: boolean;
  readonly hasBias: boolean;
};

/** Layer normalisation over the last axis. */
export const layerNormRecord = defineOp<LayerNormAttrs>({
  name: "layerNorm",
  kind: "composite",
  doc: "(x - mean(x)) / sqrt(variance(x) + epsilon) along the last axis, times scale, plus bias; " +
    "without centring, x / sqrt(mean(x^2) + epsilon).",
  infer: (inputs, { axis, hasScale, hasBias }) => {
    const wanted = 1 + Number(hasScale) + Number(hasBias);
    if (inputs.length !== wanted) {
      throw new ShapeError("layerNorm", `wanted ${wanted} operands`, textsOf(inputs));
    }
    requireSameDType("layerNorm", inputs);
    requireDType("layerNorm", inputs, ["f32"]);
    const { dtype, shape } = at(inputs, 0);
    checkVectors(inputs, axis);
    return { dtype, shape };
  },
  vjp: (node, cotangent) => {
    const { x, scale, bias } = layerNormParts(node);
    const kind = normKindOf(node);
    return [
      layerNormGradInput(x, cotangent, scale, kind),
      ...(scale === undefined ? [] : [layerNormGradScale(x, cotangent, kind)]),
      ...(bias === undefined ? [] : [layerNormGradBias(cotangent)]),
    ];
  },
  flops: (_inputs, output) => 8 * staticSize(output),
  reference: (inputs, _output, { axis, epsilon, center, hasScale, hasBias }) => {
    const scale = hasScale ? at(inputs, 1).data : undefined;
    const bias = hasBias ? at(inputs, hasScale ? 2 : 1).data : undefined;
    return alongAxis(
      at(inputs, 0),
      axis,
      (line) =>
        normalizedLine(line, { epsilon, center }).normalized.map((value, index) =>
          value * (scale?.[index] ?? 1) + (bias?.[index] ?? 0)
        ),
    );
  },
  decompose: (node) => {
    const { x, scale, bias } = layerNormParts(node);
    const { normalized } = normalize(x, normKindOf(node));
    const scaled = scale === undefined ? normalized : mul(normalized, scale);
    return bias === undefined ? scaled : add(scaled, bias);
  },
});

function checkVectors(inputs: readonly OperandType[], axis: number): void {
  const [x, ...vectors] = inputs;
  const size = x?.shape[axis];
  if (size === undefined || axis + 1 !== x?.shape.length) {
    throw new ShapeError("layerNorm", "only the last axis can be normalised", textsOf(inputs));
  }
  const odd = vectors.find(({ shape }) => shape.length !== 1 || !sameDim(at(shape, 0), size));
  if (odd === undefined) return;
  throw new ShapeError(
    "layerNorm",
    `scale and bias are not vectors of the last axis' size ${size}`,
    textsOf(inputs),
  );
}

function layerNormParts(node: Node) {
  const hasScale = node.attrs["hasScale"] === true;
  const hasBias = node.attrs["hasBias"] === true;
  return {
    x: inputAt(node, 0),
    scale: hasScale ? inputAt(node, 1) : undefined,
    bias: hasBias ? inputAt(node, hasScale ? 2 : 1) : undefined,
  };
}

/** What {@linkcode layerNorm} does beside normalising. */
export interface LayerNormOptions {
  /** Factor of every column; a vector of the last axis' size. */
  readonly scale?: Tensor | undefined;
  /** Added to every column; a vector of the last axis' size. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance. Default 1e-6. */
  readonly epsilon?: number;
  /** Whether the mean is taken off; false gives the root-mean-square norm. Default true. */
  readonly center?: boolean;
}

/**
 * `(x - mean) / sqrt(variance + epsilon) * scale + bias` along the last axis (Ba et al. 2016); with
 * `center: false`, `x / sqrt(mean(x^2) + epsilon) * scale + bias` (Zhang and Sennrich 2019).
 *
 * @throws {ShapeError} When scale or bias are not vectors of the last axis' size.
 * @throws {DTypeError} When the element types differ or are not floats.
 */
export function layerNorm<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  options: LayerNormOptions = {},
): Tensor<D, S> {
  const { scale, bias, epsilon = 1e-6, center = true } = options;
  const operands = [x, scale, bias].filter((operand) => operand !== undefined);
  requireSameDType("layerNorm", operands);
  const attrs = {
    axis: x.shape.length - 1,
    epsilon,
    center,
    hasScale: scale !== undefined,
    hasBias: bias !== undefined,
  };
  const node = inArithmetic(operands, (ready) => makeNode(layerNormRecord, ready, attrs));
  return node as Tensor<D, S>;
}
