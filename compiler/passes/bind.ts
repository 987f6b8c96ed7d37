/** Binds symbolic dims: every shape becomes numbers. */
import { makeNode, type Node } from "../../graph/node.ts";
import type { Attrs, AttrValue } from "../../graph/op.ts";
import { constant } from "../../graph/ops/mod.ts";
import { bindDim, type DimBindings, SymbolicDim, symbolsOf } from "../../graph/shape.ts";
import { type GraphModule, moduleNodes, rewriteModule } from "../module.ts";

/**
 * The module with every dim bound.
 *
 * @throws {RangeError} When a symbol is unbound, bound to something that is no size, or not in the
 *   graph at all.
 */
export function bindDims(module: GraphModule, bindings: DimBindings): GraphModule {
  const known = new Set(moduleNodes(module).flatMap((node) => symbolsOf(node.shape)));
  for (const name of Object.keys(bindings)) {
    if (known.has(name)) continue;
    const names = known.size === 0 ? "it has none" : `it has ${[...known].join(", ")}`;
    throw new RangeError(`Cannot bind "${name}": the graph has no such dim (${names})`);
  }
  return rewriteModule(module, (node) => bindNode(node, bindings));
}

function bindNode(node: Node, bindings: DimBindings): Node {
  if (node.op.name === "dimSize") {
    const size = node.attrs["dim"];
    if (typeof size === "number" || size instanceof SymbolicDim) {
      return constant(bindDim(size, bindings));
    }
  }
  const attrs: Record<string, AttrValue> = {};
  let changed = symbolsOf(node.shape).length > 0;
  for (const [name, value] of Object.entries(node.attrs)) {
    attrs[name] = bindAttr(value, bindings);
    changed ||= attrs[name] !== value;
  }
  return changed ? makeNode(node.op, node.inputs, attrs as Attrs, node.label) : node;
}

function bindAttr(value: AttrValue, bindings: DimBindings): AttrValue {
  if (value instanceof SymbolicDim) return bindDim(value, bindings);
  if (!Array.isArray(value) || !value.some((part) => part instanceof SymbolicDim)) return value;
  return value.map((part) => part instanceof SymbolicDim ? bindDim(part, bindings) : Number(part));
}
