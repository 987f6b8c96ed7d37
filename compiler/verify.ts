/**
 * What must hold at each level, checked between passes: a compiler bug becomes an error here that
 * names the node, instead of wrong numbers later.
 */
import type { Node } from "../graph/node.ts";
import { formatShape, sameShape, symbolsOf } from "../graph/shape.ts";
import { formatFullSite } from "../graph/site.ts";
import { type GraphModule, moduleNodes } from "./module.ts";

/** The compiler broke one of its own rules. */
export class VerifyError extends Error {
  override readonly name = "VerifyError";
}

function fail(node: Node, problem: string): never {
  throw new VerifyError(
    `${node} ${problem} (scope "${node.scope}", made at ${formatFullSite(node.site)})`,
  );
}

/** Every node is what its op infers from its inputs. */
export function verifyGraph(module: GraphModule): void {
  for (const node of moduleNodes(module)) {
    const type = node.op.infer(node.inputs, node.attrs);
    if (type.dtype !== node.dtype || !sameShape(type.shape, node.shape)) {
      fail(node, `should be ${type.dtype}${formatShape(type.shape)}`);
    }
    if (node.op.name === "input" && !module.inputs.has(String(node.attrs["path"]))) {
      fail(node, `reads input "${String(node.attrs["path"])}", which the graph does not declare`);
    }
  }
}

/** Also: no symbolic dims are left. */
export function verifyBound(module: GraphModule): void {
  verifyGraph(module);
  for (const node of moduleNodes(module)) {
    const [symbol] = symbolsOf(node.shape);
    if (symbol !== undefined) fail(node, `still has the unbound dim "${symbol}"`);
    if (node.op.name === "dimSize") fail(node, "should have become a constant");
  }
}

/** Also: no composite ops are left. */
export function verifyPrimitive(module: GraphModule): void {
  verifyBound(module);
  for (const node of moduleNodes(module)) {
    if (node.op.kind === "composite") fail(node, "should have been decomposed");
  }
}
