/** What a case of the table of ops is, and the numbers it is given. */
import type { DType } from "../../graph/dtype.ts";
import type { Tensor } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { threefry2x32 } from "../../graph/ops/threefry.ts";
import {
  bindDim,
  type DimBindings,
  type Shape,
  type StaticShape,
  staticSize,
} from "../../graph/shape.ts";

/** Which numbers an operand holds. Whole-number types and bools take theirs from the type. */
export type Domain =
  /** -2 to 2. */
  | "any"
  /** 0.2 to 3. */
  | "positive"
  /** -0.9 to 0.9. */
  | "unit"
  /** 0.3 to 2 with either sign. */
  | "nonzero"
  /** 0 to 1. */
  | "fraction"
  /** -30 to 30. */
  | "wide"
  /** Whole numbers -2 to 6: places in a short axis, some of them outside. */
  | "places";

/** An operand: what it is and which numbers it holds. */
export interface CaseInput {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly domain: Domain;
}

/** An op, or a few, applied to operands of given shapes. */
export interface OpCase {
  readonly name: string;
  readonly inputs: readonly CaseInput[];
  /** Builds the result of one tensor for each input, in order. */
  readonly build: (...inputs: Tensor[]) => Tensor;
  /** Whether a finite difference at these inputs tells the gradient. */
  readonly differentiable: boolean;
  /** Error that an f32 backend may make, absolute or relative, whichever is larger. */
  readonly tolerance: number;
  /** Sizes of the symbolic dims. */
  readonly bindings: DimBindings;
}

/** An operand of f32. */
export function floats(shape: Shape, domain: Domain = "any"): CaseInput {
  return { dtype: "f32", shape, domain };
}

/** An operand of another element type. */
export function typed(dtype: DType, shape: Shape, domain: Domain = "any"): CaseInput {
  return { dtype, shape, domain };
}

/** What a case may say beside its inputs and how it is built. */
export type CaseOptions = Partial<Pick<OpCase, "differentiable" | "tolerance" | "bindings">>;

/** A case; unless told otherwise it is differentiable and its tolerance is 1e-5. */
export function opCase(
  name: string,
  inputs: readonly CaseInput[],
  build: OpCase["build"],
  options: CaseOptions = {},
): OpCase {
  const { differentiable = true, tolerance = 1e-5, bindings = {} } = options;
  return { name, inputs, build, differentiable, tolerance, bindings };
}

/** The case's operands, the same ones at every call with the same seed. They are exact in f32. */
export function caseValues(opCase: OpCase, seed = 1): ReferenceTensor[] {
  return opCase.inputs.map((input, index) => {
    const shape = input.shape.map((size) => bindDim(size, opCase.bindings));
    return randomTensor(input.dtype, shape, input.domain, seed, index);
  });
}

/** A tensor of numbers from the domain, which depend on the seed and the stream alone. */
export function randomTensor(
  dtype: DType,
  shape: StaticShape,
  domain: Domain,
  seed: number,
  stream: number,
): ReferenceTensor {
  const data = Float64Array.from({ length: staticSize(shape) }, (_, index) => {
    const [first, second] = threefry2x32(seed, stream, 0, index);
    return draw(dtype, domain, first, second);
  });
  return { dtype, shape, data };
}

function draw(dtype: DType, domain: Domain, first: number, second: number): number {
  const fraction = (first + 0.5) / 2 ** 32;
  if (dtype === "bool") return second & 1;
  if (domain === "places") return Math.floor(fraction * 9) - 2;
  if (dtype === "i32") return (first >> (second & 31)) | 0;
  if (dtype === "u32") return first >>> (second & 31);
  return Math.fround(drawFloat(domain, fraction, second));
}

function drawFloat(domain: Domain, fraction: number, bits: number): number {
  switch (domain) {
    case "any":
      return 4 * fraction - 2;
    case "positive":
      return 0.2 + 2.8 * fraction;
    case "unit":
      return 1.8 * fraction - 0.9;
    case "nonzero":
      return (bits & 1 ? 1 : -1) * (0.3 + 1.7 * fraction);
    case "fraction":
      return fraction;
    case "wide":
      return 60 * fraction - 30;
    case "places":
      return Math.floor(fraction * 9) - 2;
  }
}
