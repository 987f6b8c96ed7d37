/** A graph with named ends, and rewriting it node by node. */
import { makeNode, type Node, topologicalOrder, withProvenance } from "../graph/node.ts";
import type { Attrs } from "../graph/op.ts";

/** A traced graph as the compiler sees it: nodes under the paths of the user's structures. */
export interface GraphModule {
  readonly inputs: ReadonlyMap<string, Node>;
  readonly outputs: ReadonlyMap<string, Node>;
}

/** All nodes of the module, inputs before users; unused inputs included. */
export function moduleNodes(module: GraphModule): Node[] {
  return topologicalOrder([...module.inputs.values(), ...module.outputs.values()]);
}

/**
 * Rebuilds the module, inputs first. `rewrite` gets each node with its inputs already rebuilt, and
 * with the attributes that `attrsOf` gives it, and returns what takes its place (the node itself to
 * keep it). New nodes inherit scope and site.
 */
export function rewriteModule(
  module: GraphModule,
  rewrite: (node: Node) => Node,
  attrsOf: (node: Node) => Attrs = (node) => node.attrs,
): GraphModule {
  const made = new Map<Node, Node>();
  const mapped = (node: Node): Node => {
    const known = made.get(node);
    if (known === undefined) throw new TypeError(`${node} is used before it is rebuilt`);
    return known;
  };
  for (const node of moduleNodes(module)) {
    const provenance = { label: node.label, scope: node.scope, origin: node.origin };
    const rebuilt = withProvenance(provenance, () => {
      const inputs = node.inputs.map(mapped);
      const attrs = attrsOf(node);
      const same = attrs === node.attrs && inputs.every((input, at) => input === node.inputs[at]);
      return rewrite(same ? node : makeNode(node.op, inputs, attrs, node.label));
    });
    made.set(node, rebuilt);
  }
  const rename = (ends: ReadonlyMap<string, Node>) =>
    new Map([...ends].map(([path, node]) => [path, mapped(node)]));
  return { inputs: rename(module.inputs), outputs: rename(module.outputs) };
}
