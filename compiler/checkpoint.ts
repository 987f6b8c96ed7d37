/** Recomputation by hand: what a function computes is not kept for the gradient. */
import { type Node, recordNodes, Tensor } from "../graph/node.ts";
import { checkpointResult } from "../graph/ops/checkpoint.ts";
import { isTensor } from "../graph/trace.ts";
import { flattenTree, mapTree } from "../graph/tree.ts";

/**
 * The same function, whose intermediates a gradient does not keep: when the backward pass reaches its
 * results, it computes them again from the arguments (and from what the function takes from around
 * it), which are kept. Values and gradients are the same; memory is traded for FLOPs.
 *
 * The function may return tensors in records and arrays, be called many times, hold further
 * checkpoints, and be differentiated more than once. Without a gradient it makes no difference.
 *
 * Chen, Xu, Zhang, Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost".
 *
 * ```ts
 * import { checkpoint, grad } from "@fovea/fovea/compiler";
 * import { sin, sum, type Tensor, trace, spec } from "@fovea/fovea/graph";
 *
 * const block = checkpoint((x: Tensor) => sin(sin(x)));
 * trace({ x: spec("f32", [8]) }, ({ x }) => grad((x: Tensor) => sum(block(block(x))))(x));
 * ```
 *
 * @throws {TypeError} When called: the function returns something else than tensors in records and
 *   arrays.
 */
export function checkpoint<Args extends readonly unknown[], Out>(
  fn: (...args: Args) => Out,
): (...args: Args) => Out {
  return (...args) => {
    const { result, made } = recordNodes(() => fn(...args));
    const given = tensorsIn(args);
    const isInside = (node: Node) => made.has(node) && !given.has(node);
    const results = [...new Set(flattenTree(result, isTensor).values())].filter(isInside);
    const region = { results, borders: bordersOf(results, isInside) };
    const marked = mapTree(result, isTensor, (leaf): Tensor => {
      const index = results.indexOf(leaf);
      return index < 0 ? leaf : checkpointResult(region, index);
    });
    // Each leaf was replaced by a tensor of its own element type and shape.
    return marked as unknown as Out;
  };
}

/** All tensors in the arguments, which may hold other things too. */
function tensorsIn(value: unknown, found = new Set<Node>()): ReadonlySet<Node> {
  if (value instanceof Tensor) found.add(value);
  else if (Array.isArray(value)) { for (const part of value) tensorsIn(part, found); }
  else if (typeof value === "object" && value !== null) tensorsIn(Object.values(value), found);
  return found;
}

/** What the insides of a region read from outside of it, in the order of the first use. */
function bordersOf(results: readonly Node[], isInside: (node: Node) => boolean): Node[] {
  const borders = new Set<Node>();
  const seen = new Set<Node>(results);
  // The loop goes on over what it adds.
  for (const node of seen) {
    for (const input of node.inputs) (isInside(input) ? seen : borders).add(input);
  }
  return [...borders];
}
