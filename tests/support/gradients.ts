/** Gradients checked against central differences in f64, along random directions. */
import { evaluate } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { isFloat } from "../../graph/dtype.ts";
import { add, input, mul, sum, zeros } from "../../graph/mod.ts";
import type { Node } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { bindDim } from "../../graph/shape.ts";
import { caseValues, type OpCase, randomTensor } from "./op_case.ts";

const STEP = 1e-4;
/** The gradient rules hold constants rounded to f32, and the difference is off by `STEP^2`. */
const TOLERANCE = 2e-6;

/** A case's inputs as nodes, its float ones, and values for all inputs of the graphs made of them. */
interface Setting {
  readonly opCase: OpCase;
  readonly inputs: readonly Node[];
  readonly floats: readonly Node[];
  readonly values: Map<string, ReferenceTensor>;
}

function settingOf(opCase: OpCase): Setting {
  const inputs = opCase.inputs.map(({ dtype, shape }, index) => input(`${index}`, dtype, shape));
  const values = new Map(caseValues(opCase).map((value, index) => [`${index}`, value]));
  return { opCase, inputs, floats: inputs.filter(({ dtype }) => isFloat(dtype)), values };
}

/** An input like `node`, with random values. */
function randomLike(setting: Setting, name: string, node: Node, stream: number): Node {
  const shape = node.shape.map((size) => bindDim(size, setting.opCase.bindings));
  setting.values.set(name, randomTensor("f32", shape, "any", 7, stream));
  return input(name, "f32", node.shape);
}

/** `sum(a * b)` over all elements of the pairs. */
function inner(as: readonly Node[], bs: readonly Node[]): Node {
  return as.map((a, index) => sum(mul(a, bs[index] ?? a)))
    .reduce((total, part) => add(total, part), zeros([]));
}

function valueOf(setting: Setting, scalar: Node, moved = setting.values): number {
  return evaluate(scalar, moved, setting.opCase.bindings).data[0] ?? NaN;
}

/** The float inputs moved by `step` along the directions' values. */
function movedBy(setting: Setting, directions: readonly Node[], step: number) {
  const moved = new Map(setting.values);
  setting.floats.forEach((node, index) => {
    const path = String(node.attrs["path"]);
    const value = setting.values.get(path);
    const along = setting.values.get(String(directions[index]?.attrs["path"]))?.data;
    if (value === undefined || along === undefined) throw new TypeError(`No values of "${path}"`);
    moved.set(path, { ...value, data: value.data.map((x, at) => x + step * (along[at] ?? NaN)) });
  });
  return moved;
}

/** Compares the gradient of a scalar with its central difference along the directions. */
function compare(setting: Setting, what: string, scalar: Node, directions: readonly Node[]): void {
  const slopes = gradients(scalar, setting.floats);
  const claimed = valueOf(setting, inner(slopes, directions));
  const ahead = valueOf(setting, scalar, movedBy(setting, directions, STEP));
  const behind = valueOf(setting, scalar, movedBy(setting, directions, -STEP));
  const measured = (ahead - behind) / (2 * STEP);
  const scale = Math.max(1, Math.abs(claimed), Math.abs(measured));
  if (Math.abs(claimed - measured) <= TOLERANCE * scale) return;
  throw new Error(`${setting.opCase.name}: ${what} is ${claimed}, by differences ${measured}`);
}

/**
 * Checks the case's gradient, and the gradient of that, by random directions.
 *
 * @throws {Error} When one does not agree with the difference.
 */
export function checkGradients(opCase: OpCase): void {
  const setting = settingOf(opCase);
  const result = opCase.build(...setting.inputs);
  const cotangent = randomLike(setting, "cotangent", result, 100);
  const scalar = inner([result], [cotangent]);
  const directions = (round: string, stream: number) =>
    setting.floats.map((node, index) =>
      randomLike(setting, `${round}/${index}`, node, stream + index)
    );
  compare(setting, "the gradient", scalar, directions("first", 200));
  const slopes = gradients(scalar, setting.floats);
  const slope = inner(slopes, directions("second", 300));
  compare(setting, "the second derivative", slope, directions("third", 400));
}
