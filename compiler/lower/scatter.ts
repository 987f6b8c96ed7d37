/**
 * Lowers a scatter-add: zeros, then the updates added in their order. A parallel iteration has a
 * block of columns to itself, so that no two threads add to one place and the order never changes.
 */
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { flatten, Index, unflatten } from "../index_expr.ts";
import type { Statement } from "../loop_ir.ts";
import type { KernelPlan } from "../schedule/stores.ts";
import { KernelBuilder, type LoweredKernel } from "./kernel_builder.ts";
import { describeKernel } from "./names.ts";
import { blockedRange, clampedIndex, wholeRange } from "./ranges.ts";
import { numberAttr, operandOf } from "./attributes.ts";
import { scalarConstant, scalarType, ValueBuilder } from "./values.ts";

/** Columns to a parallel iteration. */
const BLOCK = 64;

/** The kernel of a `scatter` cluster. */
export function lowerScatter(plan: KernelPlan, isHeld: (node: Node) => boolean): LoweredKernel {
  const node = plan.stores[0];
  if (node === undefined) throw new TypeError("A scatter cluster stores nothing");
  const updates = operandOf(node, 0);
  const positions = operandOf(node, 1);
  const axis = numberAttr(node, "axis");
  const shape = staticShape(node.shape);
  const picked = staticSize(staticShape(positions.shape));
  const outer = staticSize(shape.slice(0, axis));
  const size = shape[axis] ?? 1;
  const inner = staticSize(shape.slice(axis + 1));
  const builder = new KernelBuilder();
  const values = new ValueBuilder({
    held: (at, indices) => at !== node && isHeld(at) ? builder.load(at, indices) : undefined,
  });
  const target = builder.write(node);
  const blocks = Math.ceil(inner / BLOCK);
  const unit = Index.variable("u", outer * blocks);
  const o = Index.variable("o", outer);
  const c = Index.variable("c", inner);
  const space = [outer, size, inner];
  const columns = (body: Statement[]): Statement => ({
    kind: "loop",
    range: blockedRange("c", "v", BLOCK, inner),
    vectorize: true,
    body,
  });
  const zero: Statement = {
    kind: "loop",
    range: wholeRange("s", size),
    vectorize: false,
    body: [columns([{
      kind: "store",
      buffer: target,
      index: flatten([o, Index.variable("s", size), c], space).toExpr(),
      value: scalarConstant(scalarType(node.dtype), 0),
    }])],
  };
  const p = Index.variable("p", picked);
  const position = clampedIndex(values.atFlat(positions, p), size);
  const row = Index.loaded("row", size, { kind: "var", type: "i32", name: "row" });
  const update = flatten([o, p, c], [outer, picked, inner]);
  const add: Statement = {
    kind: "loop",
    range: wholeRange("p", picked),
    vectorize: false,
    body: [
      { kind: "let", name: "row", value: position },
      columns([{
        kind: "accumulate",
        buffer: target,
        index: flatten([o, row, c], space).toExpr(),
        value: values.at(updates, unflatten(update, staticShape(updates.shape))),
      }]),
    ],
  };
  const body: Statement[] = [
    { kind: "let", name: "o", value: unit.quotient(blocks).toExpr() },
    { kind: "let", name: "v", value: unit.remainder(blocks).toExpr() },
    zero,
    add,
  ];
  const { buffers, bindings, writes } = builder.finish();
  return {
    kernel: {
      kind: "loops",
      name: describeKernel("scatter", plan, shape.join("x")),
      buffers,
      parallel: { variable: "u", extent: outer * blocks },
      body,
    },
    bindings,
    writes,
    nodes: plan.nodes,
  };
}
