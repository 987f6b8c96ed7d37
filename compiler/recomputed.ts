/** What a graph computes a second time, and what that costs. */
import { makeNode, type Node, withProvenance } from "../graph/node.ts";
import { isRecompute } from "../graph/ops/checkpoint.ts";
import { staticShape } from "../graph/shape.ts";
import type { GraphModule } from "./module.ts";
import type { RecomputedRegion, RecomputedReport } from "./program.ts";
import { isView, liveOrder } from "./schedule/access.ts";

/** Floating-point operations of one op. Its shapes must be bound. */
export function flopsOf(node: Node): number {
  const inputs = node.inputs.map((input) => staticShape(input.shape));
  return node.op.flops(inputs, staticShape(node.shape), node.attrs);
}

/**
 * What the module computes twice: the nodes that would be another node of it if nothing waited to be
 * recomputed. All dims must be bound.
 */
export function recomputedIn(module: GraphModule): RecomputedReport {
  const nodes = liveOrder([...module.inputs.values(), ...module.outputs.values()]);
  const copies = copiesAmong(nodes);
  if (copies.size === 0) return { flops: 0, fraction: 0, regions: [] };
  const live = new Set(nodes);
  const found = new Map<string, { ops: number; flops: number }>();
  let flops = 0;
  let total = 0;
  for (const node of nodes) {
    const cost = flopsOf(node);
    total += cost;
    const copy = copies.get(node);
    if (copy === undefined || copy.original === node || !live.has(copy.original)) continue;
    flops += cost;
    const known = found.get(copy.region) ?? { ops: 0, flops: 0 };
    found.set(copy.region, { ops: known.ops + (isView(node) ? 0 : 1), flops: known.flops + cost });
  }
  const regions = [...found].map(([name, costs]): RecomputedRegion => ({ name, ...costs }));
  return { flops, fraction: flops / (total - flops), regions };
}

/**
 * Every node that something recomputed leads to, with what it would be if nothing was: where that is
 * a node of the graph too, this one is its copy.
 */
function copiesAmong(nodes: readonly Node[]): Map<Node, { region: string; original: Node }> {
  const copies = new Map<Node, { region: string; original: Node }>();
  for (const node of nodes) {
    const [source] = node.inputs;
    if (isRecompute(node) && source !== undefined) {
      const original = copies.get(source)?.original ?? source;
      copies.set(node, { region: String(node.attrs["region"]), original });
      continue;
    }
    const found = node.inputs.map((input) => copies.get(input));
    const first = found.find((copy) => copy !== undefined);
    if (first === undefined) continue;
    const inputs = node.inputs.map((input, at) => found[at]?.original ?? input);
    const original = withProvenance(node, () => makeNode(node.op, inputs, node.attrs, node.label));
    copies.set(node, { region: first.region, original });
  }
  return copies;
}
