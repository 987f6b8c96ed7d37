/** Binds symbolic dims: every shape becomes numbers. */
import type { Node } from "../../graph/node.ts";
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
  const known = new Set(moduleNodes(module).flatMap(symbolsIn));
  for (const name of Object.keys(bindings)) {
    if (known.has(name)) continue;
    const names = known.size === 0 ? "it has none" : `it has ${[...known].join(", ")}`;
    throw new RangeError(`Cannot bind "${name}": the graph has no such dim (${names})`);
  }
  return rewriteModule(
    module,
    (node) => boundSize(node) ?? node,
    (node) => boundAttrs(node, bindings),
  );
}

/** The symbols that a node's binding needs: its shape's and its attributes'. */
function symbolsIn(node: Node): string[] {
  const dims = Object.values(node.attrs).flatMap((value) => Array.isArray(value) ? value : [value])
    .filter((value) => value instanceof SymbolicDim);
  return symbolsOf([...node.shape, ...dims]);
}

/** A dim's size that has become a number. */
function boundSize(node: Node): Node | undefined {
  if (node.op.name !== "dimSize") return undefined;
  const size = node.attrs["dim"];
  return typeof size === "number" ? constant(size) : undefined;
}

function boundAttrs(node: Node, bindings: DimBindings): Attrs {
  const attrs: Record<string, AttrValue> = {};
  let changed = false;
  for (const [name, value] of Object.entries(node.attrs)) {
    attrs[name] = bindAttr(value, bindings);
    changed ||= attrs[name] !== value;
  }
  return changed ? attrs : node.attrs;
}

function bindAttr(value: AttrValue, bindings: DimBindings): AttrValue {
  if (value instanceof SymbolicDim) return bindDim(value, bindings);
  if (!Array.isArray(value) || !value.some((part) => part instanceof SymbolicDim)) return value;
  return value.map((part) => part instanceof SymbolicDim ? bindDim(part, bindings) : Number(part));
}
