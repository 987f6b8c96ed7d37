/** Ways to split a `rows` cluster's space into axes of rows and of columns. */
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import type { KernelPlan } from "../schedule/stores.ts";

/** How the space's rows and columns are split into axes. */
export interface Layout {
  readonly rows: readonly number[];
  readonly columns: readonly number[];
}

/** Layouts worth trying, the plainest first. */
export function candidateLayouts(plan: KernelPlan): Layout[] {
  const { cluster } = plan;
  const layouts: Layout[] = [];
  const seen = new Set<string>();
  const offer = (rows: readonly number[], columns: readonly number[]) => {
    const layout = { rows: withoutUnits(rows), columns: withoutUnits(columns) };
    const key = `${layout.rows.join()}/${layout.columns.join()}`;
    if (seen.has(key)) return;
    seen.add(key);
    layouts.push(layout);
  };
  const { columns, total } = cluster;
  offer(columns === undefined ? [] : [total / columns], [columns ?? total]);
  for (const shape of shapesIn(plan, total)) {
    for (let at = shape.length - 1; at >= 0; at--) {
      const inner = staticSize(shape.slice(at));
      if (columns === undefined ? at === shape.length - 1 || at === shape.length - 2 : false) {
        offer(shape.slice(0, at), [inner]);
      }
      if (inner === columns) {
        offer(shape.slice(0, at), [inner]);
        offer(shape.slice(0, at), shape.slice(at));
      }
    }
  }
  return layouts;
}

/** Distinct shapes of `total` elements among the members, their operands and what is behind them. */
function shapesIn(plan: KernelPlan, total: number): number[][] {
  const shapes = new Map<string, number[]>();
  const visit = (node: Node, depth: number): void => {
    const shape = staticShape(node.shape);
    if (staticSize(shape) === total) shapes.set(shape.join(), withoutUnits(shape));
    if (depth > 0) { for (const input of node.inputs) visit(input, depth - 1); }
  };
  for (const member of plan.cluster.members.keys()) visit(member, 3);
  return [...shapes.values()].sort((a, b) => a.length - b.length);
}

function withoutUnits(shape: readonly number[]): number[] {
  return shape.filter((extent) => extent !== 1);
}
