/** What every backend must get right: each op of the table, forward and gradient. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { isFloat } from "../../graph/dtype.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import type { DimBindings } from "../../graph/shape.ts";
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
  const tolerance = kind === "gradient" ? Math.max(opCase.tolerance, 1e-6) : opCase.tolerance;
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

function casesOf(opCase: OpCase): ConformanceCase[] {
  const nodes = opCase.inputs.map(({ dtype, shape }, at) => g.input(`x${at}`, dtype, shape));
  const inputs = new Map(nodes.map((node, at) => [`x${at}`, node]));
  const values = new Map(caseValues(opCase).map((value, at) => [`x${at}`, value]));
  const y: Node = opCase.build(...nodes);
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
