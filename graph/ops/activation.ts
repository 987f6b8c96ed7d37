/** Activation functions with a gradient of their own: GELU, softplus and the logarithm of sigmoid. */
import type { DType } from "../dtype.ts";
import { makeNode, type Node, type Tensor } from "../node.ts";
import { type Attrs, defineOp, type OpRecord } from "../op.ts";
import { type Shape, staticSize } from "../shape.ts";
import { add, maximum, minimum, mul, sub } from "./binary.ts";
import { inArithmetic } from "./broadcasting.ts";
import { erf as erfOf } from "./special.ts";
import { at, inputAt, onlyOperand, requireDType } from "./support.ts";
import { abs, erf, exp, log1p, neg, sigmoid } from "./unary.ts";

interface ActivationRule<A extends Attrs> {
  readonly doc: string;
  readonly flops: number;
  readonly evaluate: (x: number, attrs: A) => number;
  readonly slope: (x: Node, node: Node) => Node;
  readonly decompose: (x: Node, node: Node) => Node;
}

function defineActivation<A extends Attrs>(name: string, rule: ActivationRule<A>): OpRecord<A> {
  return defineOp<A>({
    name,
    kind: "composite",
    doc: rule.doc,
    infer: (inputs) => {
      const { dtype, shape } = onlyOperand(name, inputs);
      requireDType(name, inputs, ["f32"]);
      return { dtype, shape };
    },
    vjp: (node, cotangent) => [mul(cotangent, rule.slope(inputAt(node, 0), node))],
    flops: (_inputs, output) => rule.flops * staticSize(output),
    reference: (inputs, _output, attrs) => at(inputs, 0).data.map((x) => rule.evaluate(x, attrs)),
    decompose: (node) => rule.decompose(inputAt(node, 0), node),
  });
}

/** How GELU is computed: by tanh (an approximation) or by the error function (exactly). */
export type GeluApproximation = "tanh" | "erf";

const CUBIC = 0.044715;
const ROOT_TWO_OVER_PI = Math.sqrt(2 / Math.PI);
const ROOT_HALF = Math.SQRT1_2;
const SQUARE_LIMIT = 1e4;

/**
 * The sigmoid that GELU by tanh and its gradient share: `(1 + tanh u) / 2 = sigmoid(2 u)`, which
 * keeps the digits of the left tail.
 */
function tanhGate(x: Node): Node {
  const cubic = mul(mul(x, x), mul(x, CUBIC));
  return sigmoid(mul(add(x, cubic), 2 * ROOT_TWO_OVER_PI));
}

/** The normal distribution's probability of less than x. */
function normalBelow(x: Node): Node {
  return mul(add(erf(mul(x, ROOT_HALF)), 1), 0.5);
}

function tanhSlope(x: Node): Node {
  const gate = tanhGate(x);
  // Where the square is cut off, gate * (1 - gate) is 0: so that it is not 0 times infinity.
  const square = minimum(mul(x, x), SQUARE_LIMIT);
  const inner = mul(add(mul(square, 3 * CUBIC), 1), 2 * ROOT_TWO_OVER_PI);
  const bend = mul(mul(mul(x, gate), sub(1, gate)), inner);
  return add(gate, bend);
}

function erfSlope(x: Node): Node {
  const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return add(normalBelow(x), mul(x, density));
}

/** GELU. */
export const geluRecord = defineActivation<{ readonly approximation: GeluApproximation }>("gelu", {
  doc:
    "x times the normal distribution's probability of less than x: x/2 (1 + erf(x/sqrt 2)), or " +
    "x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).",
  flops: 9,
  evaluate: (x, { approximation }) =>
    approximation === "erf"
      ? 0.5 * x * (1 + erfOf(x * ROOT_HALF))
      : x / (1 + Math.exp(-2 * ROOT_TWO_OVER_PI * (x + CUBIC * x ** 3))),
  slope: (x, node) => node.attrs["approximation"] === "erf" ? erfSlope(x) : tanhSlope(x),
  decompose: (x, node) =>
    node.attrs["approximation"] === "erf" ? mul(x, normalBelow(x)) : mul(x, tanhGate(x)),
});

/** The smooth maximum of x and 0. */
export const softplusRecord = defineActivation("softplus", {
  doc: "log(1 + exp(x)), computed as max(x, 0) + log1p(exp(-|x|)).",
  flops: 4,
  evaluate: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  slope: (x) => sigmoid(x),
  decompose: (x) => add(maximum(x, 0), log1p(exp(neg(abs(x))))),
});

/** The logarithm of the sigmoid. */
export const logSigmoidRecord = defineActivation("logSigmoid", {
  doc: "log(sigmoid(x)) = -softplus(-x).",
  flops: 5,
  evaluate: (x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x))),
  slope: (x) => sigmoid(neg(x)),
  decompose: (x) => neg(softplus(neg(x))),
});

function activation<A extends Attrs, D extends DType, S extends Shape>(
  record: OpRecord<A>,
  x: Tensor<D, S>,
  attrs: A,
): Tensor<D, S> {
  const node = inArithmetic([x], (operands) => makeNode(record, operands, attrs));
  return node as Tensor<D, S>;
}

/**
 * `x` times the normal distribution's probability of less than `x` (Hendrycks and Gimpel 2016):
 * exactly by `"erf"`, approximately by `"tanh"` (the default).
 */
export function gelu<D extends DType, S extends Shape>(
  x: Tensor<D, S>,
  approximation: GeluApproximation = "tanh",
): Tensor<D, S> {
  return activation(geluRecord, x, { approximation });
}

/** `log(1 + exp(x))`, without overflow. */
export function softplus<D extends DType, S extends Shape>(x: Tensor<D, S>): Tensor<D, S> {
  return activation(softplusRecord, x, {});
}

/** `log(sigmoid(x))`, without underflow. */
export function logSigmoid<D extends DType, S extends Shape>(x: Tensor<D, S>): Tensor<D, S> {
  return activation(logSigmoidRecord, x, {});
}
