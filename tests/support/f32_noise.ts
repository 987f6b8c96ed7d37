/** How far f32 rounding may take a graph's results from what they are in f64. */
import type { Node } from "../../graph/node.ts";
import { topologicalOrder } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { staticShape } from "../../graph/shape.ts";

/**
 * The values of all that the outputs need, computed in f64, where each result that f32 cannot hold
 * becomes one of the two f32 next to it, by chance. Its distance from the reference is what the
 * graph makes of rounding, cancellation and steep functions included.
 *
 * @param inputs Value of each input by its path.
 */
export function evaluateWithNoise(
  outputs: Iterable<Node>,
  inputs: ReadonlyMap<string, ReferenceTensor>,
  seed: number,
): Map<Node, Float64Array> {
  let state = seed + 1;
  const coin = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >= 2 ** 31;
  };
  const values = new Map<Node, ReferenceTensor>();
  for (const node of topologicalOrder(outputs)) {
    const { dtype } = node;
    const shape = staticShape(node.shape);
    const given = inputs.get(String(node.attrs["path"]));
    const operands = node.inputs.map((input) => values.get(input) ?? { dtype, shape, data: NONE });
    const data = node.op.name === "input"
      ? given?.data ?? NONE
      : node.op.reference(operands, { dtype, shape }, node.attrs);
    const rounded = dtype === "f32" ? data.map((value) => neighbour(value, coin)) : data;
    values.set(node, { dtype, shape, data: rounded });
  }
  return new Map([...values].map(([node, { data }]) => [node, data]));
}

const NONE = new Float64Array();

/** The value where f32 holds it, or else the f32 below or above in magnitude. */
function neighbour(value: number, coin: () => boolean): number {
  const near = Math.fround(value);
  if (Object.is(near, value) || !Number.isFinite(near)) return near;
  return coin() ? near : Math.fround(near + Math.sign(value - near) * Math.abs(near) * 2 ** -23);
}
