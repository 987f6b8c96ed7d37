/** What every backend must get right: each op of the table, forward and gradient. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { isFloat } from "../../graph/dtype.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import type { DimBindings } from "../../graph/shape.ts";
import { evaluateWithNoise } from "./f32_noise.ts";
import { caseValues, OP_CASES, type OpCase } from "./op_cases.ts";

/** A graph with values for its inputs, and what its outputs should be. */
export interface ConformanceCase {
  readonly name: string;
  readonly inputs: ReadonlyMap<string, Node>;
  readonly outputs: ReadonlyMap<string, Node>;
  readonly values: ReadonlyMap<string, ReferenceTensor>;
  readonly expected: ReadonlyMap<string, ReferenceTensor>;
  readonly bindings: DimBindings;
  /** Error allowed, relative to the largest magnitude of the output (at least 1). */
  readonly tolerance: number;
}

function withExpected(
  opCase: OpCase,
  kind: string,
  inputs: ReadonlyMap<string, Node>,
  outputs: ReadonlyMap<string, Node>,
  values: ReadonlyMap<string, ReferenceTensor>,
): ConformanceCase {
  const found = evaluateGraph(outputs.values(), values, opCase.bindings);
  const expected = new Map<string, ReferenceTensor>();
  for (const [path, node] of outputs) {
    const value = found.get(node);
    if (value !== undefined) expected.set(path, value);
  }
  const { bindings } = opCase;
  // A gradient's cotangents are themselves rounded, even where the op only moves them.
  const tolerance = kind !== "forward" ? Math.max(opCase.tolerance, 1e-6) : opCase.tolerance;
  return {
    name: `${opCase.name} ${kind}`,
    inputs,
    outputs,
    values,
    expected,
    bindings,
    tolerance,
  };
}

/** The case's operands and their values, by their names. */
function operandsOf(opCase: OpCase) {
  const nodes = opCase.inputs.map(({ dtype, shape }, at) => g.input(`x${at}`, dtype, shape));
  const inputs: ReadonlyMap<string, Node> = new Map(nodes.map((node, at) => [`x${at}`, node]));
  const values = new Map(caseValues(opCase).map((value, at) => [`x${at}`, value]));
  return [inputs, values] as const;
}

function casesOf(opCase: OpCase): ConformanceCase[] {
  const [inputs, values] = operandsOf(opCase);
  const y: Node = opCase.build(...inputs.values());
  const cases = [withExpected(opCase, "forward", inputs, new Map([["y", y]]), values)];
  const floats = Object.fromEntries([...inputs].filter(([, node]) => isFloat(node.dtype)));
  if (opCase.differentiable && isFloat(y.dtype) && Object.keys(floats).length > 0) {
    // The sine makes every element's cotangent different.
    const loss = g.sum(g.sin(g.cast(y, "f32")));
    const outputs = new Map(Object.entries(gradients(loss, floats)));
    cases.push(withExpected(opCase, "gradient", inputs, outputs, values));
  }
  return cases;
}

/** The gradient of the sum of sines of the case's gradient; undefined where there is none. */
function secondOf(opCase: OpCase): ConformanceCase | undefined {
  const [nodes, values] = operandsOf(opCase);
  const floats = Object.fromEntries([...nodes].filter(([, node]) => isFloat(node.dtype)));
  const y: Node = opCase.build(...nodes.values());
  if (!opCase.differentiable || !isFloat(y.dtype) || Object.keys(floats).length === 0) return;
  const slopes = Object.values(gradients(g.sum(g.sin(g.cast(y, "f32"))), floats));
  const loss = slopes.map((slope) => g.sum(g.sin(g.cast(slope, "f32"))))
    .reduce((total, sum) => g.add(total, sum));
  const outputs = new Map(Object.entries(gradients(loss, floats)));
  const second = withExpected(opCase, "gradient's gradient", nodes, outputs, values);
  // Rounding in the gradient is magnified by how steep its own gradient is: as much as it is seen to be.
  const noise = Object.keys(opCase.bindings).length > 0
    ? undefined
    : evaluateWithNoise(outputs.values(), values, 1);
  const errors = [...outputs].map(([path, node]) =>
    errorAgainst(noise?.get(node) ?? [], second.expected.get(path)?.data ?? [])
  );
  const magnified = noise === undefined ? 0 : Math.max(...errors);
  return { ...second, tolerance: second.tolerance + MARGIN * magnified };
}

/** Kernels round at other places than the graph's nodes do, and more often. */
const MARGIN = 30;

/** The gradients of gradients of every op of the table that has one. */
export function secondOrderCases(): ConformanceCase[] {
  return OP_CASES.flatMap((opCase) => secondOf(opCase) ?? []);
}

/** Every op of the table at every shape in it, forward and, where there is one, gradient. */
export function conformanceCases(): ConformanceCase[] {
  return OP_CASES.flatMap(casesOf);
}

/** Largest difference, relative to the largest finite magnitude, which counts as at least `least`. */
export function errorAgainst(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  least = 1,
): number {
  if (actual.length !== expected.length) return Infinity;
  let scale = least;
  for (let at = 0; at < expected.length; at++) {
    const size = Math.abs(expected[at] ?? NaN);
    if (Number.isFinite(size)) scale = Math.max(scale, size);
  }
  let worst = 0;
  for (let at = 0; at < expected.length; at++) {
    const [found, wanted] = [actual[at] ?? NaN, expected[at] ?? NaN];
    if (Object.is(found, wanted) || found === wanted) continue;
    const error = Math.abs(found - wanted) / scale;
    if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}
