/** The f64 interpreter of graphs, straight from the op records. Slow and obvious: the oracle. */
import { type Node, topologicalOrder } from "../../graph/node.ts";
import type { Attrs, AttrValue, ReferenceTensor } from "../../graph/op.ts";
import {
  bindDim,
  type DimBindings,
  formatShape,
  sameShape,
  type StaticShape,
  staticSize,
  SymbolicDim,
} from "../../graph/shape.ts";

/**
 * The values of `nodes`, and of all that they need, in f64.
 *
 * @param inputs Value of each `input` node by its path.
 * @param bindings Sizes of the symbolic dims.
 * @throws {TypeError} When an input has no value, or one of another element type, shape or length.
 * @throws {RangeError} When a dim has no binding.
 */
export function evaluateGraph(
  nodes: Iterable<Node>,
  inputs: ReadonlyMap<string, ReferenceTensor>,
  bindings: DimBindings = {},
): Map<Node, ReferenceTensor> {
  const values = new Map<Node, ReferenceTensor>();
  const valueOf = (node: Node): ReferenceTensor => {
    const value = values.get(node);
    if (value === undefined) throw new TypeError(`${node} is used before it has a value`);
    return value;
  };
  for (const node of topologicalOrder(nodes)) {
    const shape = node.shape.map((size) => bindDim(size, bindings));
    const value = node.op.name === "input" ? givenValue(node, shape, inputs) : {
      dtype: node.dtype,
      shape,
      data: evaluateNode(node, shape, node.inputs.map(valueOf), bindings),
    };
    values.set(node, value);
  }
  return values;
}

/** The value of one node in f64; see {@linkcode evaluateGraph}. */
export function evaluate(
  node: Node,
  inputs: ReadonlyMap<string, ReferenceTensor> = new Map(),
  bindings: DimBindings = {},
): ReferenceTensor {
  const value = evaluateGraph([node], inputs, bindings).get(node);
  if (value === undefined) throw new TypeError(`${node} was not evaluated`);
  return value;
}

function evaluateNode(
  node: Node,
  shape: StaticShape,
  inputs: readonly ReferenceTensor[],
  bindings: DimBindings,
): Float64Array {
  const output = { dtype: node.dtype, shape };
  const data = node.op.reference(inputs, output, bindAttrs(node.attrs, bindings));
  if (data.length === staticSize(shape)) return data;
  throw new TypeError(
    `${node}: its reference gave ${data.length} numbers: wanted ${staticSize(shape)}`,
  );
}

function givenValue(
  node: Node,
  shape: StaticShape,
  inputs: ReadonlyMap<string, ReferenceTensor>,
): ReferenceTensor {
  const path = String(node.attrs["path"]);
  const value = inputs.get(path);
  if (value === undefined) throw new TypeError(`Input "${path}" was not given`);
  const fits = value.dtype === node.dtype && sameShape(value.shape, shape);
  if (fits && value.data.length === staticSize(shape)) return value;
  throw new TypeError(
    `Input "${path}" is ${value.dtype}${formatShape(value.shape)} with ${value.data.length} ` +
      `numbers: wanted ${node.dtype}${formatShape(shape)}`,
  );
}

/** The attributes with every symbolic dim bound. */
function bindAttrs(attrs: Attrs, bindings: DimBindings): Attrs {
  const bound = (value: AttrValue): AttrValue => {
    if (value instanceof SymbolicDim) return bindDim(value, bindings);
    if (!Array.isArray(value) || !value.some((size) => size instanceof SymbolicDim)) return value;
    return value.map((size) =>
      size instanceof SymbolicDim ? bindDim(size, bindings) : Number(size)
    );
  };
  return Object.fromEntries(Object.entries(attrs).map(([name, value]) => [name, bound(value)]));
}
