/**
 * Splits long reductions that have few results, such as a loss or a gradient's norm, into two steps:
 * partial results side by side, then their reduction. How many parts there are depends on the shape
 * alone, never on the thread count.
 */
import type { Node } from "../../graph/node.ts";
import { max, min, reshape, sum } from "../../graph/ops/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { numbersAttr, operandOf } from "../lower/attributes.ts";
import { type GraphModule, rewriteModule } from "../module.ts";
import { isReduction } from "../schedule/ops.ts";

/** Reductions with at least this many results are parallel as they are. */
const ENOUGH_RESULTS = 16;
/** Reductions of fewer elements are not worth a second kernel. */
const LONG = 16384;
/** Partial results to aim at. */
const PARTS = 64;

const BUILDERS = { sum, max, min } as const;

/** The module with long reductions split. */
export function splitReductions(module: GraphModule): GraphModule {
  return rewriteModule(module, splitReduction);
}

function splitReduction(node: Node): Node {
  const { name } = node.op;
  if (!isReduction(node) || (name !== "sum" && name !== "max" && name !== "min")) return node;
  const input = operandOf(node, 0);
  const shape = staticShape(input.shape);
  const results = staticSize(staticShape(node.shape));
  const length = staticSize(shape) / Math.max(results, 1);
  const axes = numbersAttr(node, "axes");
  const first = shape.length - axes.length;
  const trailing = axes.every((axis) => axis >= first);
  if (!trailing || results === 0 || results >= ENOUGH_RESULTS || length < LONG) return node;
  const parts = divisorNear(length, PARTS);
  if (parts === 1) return node;
  const kept = shape.slice(0, first);
  const build = BUILDERS[name];
  const partial = build(reshape(input, [...kept, parts, length / parts]), kept.length + 1);
  return build(partial, kept.length);
}

/** The divisor of `length` that is nearest to `wanted` from above, or else the largest below it. */
function divisorNear(length: number, wanted: number): number {
  for (let parts = wanted; parts <= wanted * 8; parts++) if (length % parts === 0) return parts;
  for (let parts = wanted - 1; parts > 1; parts--) if (length % parts === 0) return parts;
  return 1;
}
