/** Graphs of attention alone. */
import { roundToStorage } from "../../backends/reference/storage.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import { type DType, isHalf } from "../../graph/dtype.ts";
import type { Node } from "../../graph/mod.ts";
import { staticShape } from "../../graph/shape.ts";
import { assert } from "./assert.ts";
import { moduleOf } from "./lowered.ts";
import { randomTensor } from "./op_case.ts";
import { relativeError } from "./random_graphs.ts";
import type { RunGraph } from "./random_suite.ts";

/** Two heads' attention of rows that are inputs, and the gradients of all three operands. */
export function attentionWithGradients(
  batch: number,
  tokens: number,
  depth: number,
): Record<string, Node> {
  const input = (name: string) => g.input(name, "f32", [batch, 2, tokens, depth]);
  const [q, k, v] = [input("q"), input("k"), input("v")];
  const y = g.attention(q, k, v);
  return { y, ...gradients(g.sum(g.sin(y)), { q, k, v }) };
}

function stored(data: Float64Array, dtype: DType): Float64Array {
  return isHalf(dtype) ? data.map((value) => roundToStorage(value, dtype)) : data;
}

/** Checks what a device gives for a graph against the reference. */
export async function checkRun(
  run: RunGraph,
  nodes: Record<string, Node>,
  tolerance: number,
): Promise<void> {
  const { inputs, outputs } = moduleOf(nodes);
  const values = new Map([...inputs].map(([path, { dtype, shape }], at) => {
    const sizes = staticShape(shape);
    const { data } = randomTensor(dtype, sizes, "unit", 3, at);
    return [path, { dtype, shape: sizes, data: stored(data, dtype) }];
  }));
  const found = await run({ inputs, outputs, values });
  const wanted = evaluateGraph(outputs.values(), values);
  for (const [path, node] of outputs) {
    const error = relativeError(found.get(path) ?? [], wanted.get(node)?.data ?? []);
    assert(error <= tolerance, `${path} is off by ${error}`);
  }
}
