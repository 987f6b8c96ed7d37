/**
 * Lowers a `columns` cluster: reductions over axes that are not the last ones, such as a bias'
 * gradient. Neighbouring results are summed side by side, so that memory is read in order.
 */
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { flatten, Index, unflatten } from "../index_expr.ts";
import type { LoopRange, Statement } from "../loop_ir.ts";
import { isReduction, reducedAxes } from "../schedule/ops.ts";
import type { KernelPlan } from "../schedule/stores.ts";
import { accumulatorOf } from "./accumulators.ts";
import { KernelBuilder, type LoweredKernel, storesAfterValues } from "./kernel_builder.ts";
import { innermostDivisions } from "./divisions.ts";
import { describeKernel } from "./names.ts";
import { blockedRange, wholeRange } from "./ranges.ts";
import { operandOf } from "./attributes.ts";
import { scalarType, ValueBuilder } from "./values.ts";

/** Results that one parallel iteration sums side by side: a cache line of f32. */
const BLOCK = 16;

/** A run of neighbouring axes that are all kept or all reduced. */
interface AxisGroup {
  readonly extent: number;
  readonly reduced: boolean;
  readonly variable: string;
}

/** The kernel of a `columns` cluster. */
export function lowerColumns(plan: KernelPlan, isHeld: (node: Node) => boolean): LoweredKernel {
  const reductions = [...plan.cluster.members.keys()].filter(isReduction);
  const first = reductions[0];
  if (first === undefined) throw new TypeError("A columns cluster has no reduction");
  const shape = staticShape(operandOf(first, 0).shape);
  const reduced = reducedAxes(first);
  const merged = lowerGroups(plan, isHeld, reductions, shape, groupAxes(shape, reduced, true));
  const divisions = innermostDivisions(merged.kernel, DIVIDED);
  if (divisions === 0) return merged;
  // Axes that are read in another order are better left apart.
  const apart = lowerGroups(plan, isHeld, reductions, shape, groupAxes(shape, reduced, false));
  return innermostDivisions(apart.kernel, DIVIDED) < divisions ? apart : merged;
}

/** Variables of the axes in loops, whose divisions count. */
const DIVIDED = /^[ik]/;

function lowerGroups(
  plan: KernelPlan,
  isHeld: (node: Node) => boolean,
  reductions: readonly Node[],
  shape: readonly number[],
  groups: readonly AxisGroup[],
): LoweredKernel {
  const kept = groups.filter((group) => !group.reduced);
  const builder = new KernelBuilder();
  const names = new Map(reductions.map((node, at) => [node, `acc${at}`]));
  const values = new ValueBuilder({
    held: (node, indices) => {
      const name = names.get(node);
      if (name !== undefined) return { kind: "var", type: scalarType(node.dtype), name };
      if (plan.cluster.members.has(node) || !isHeld(node)) return undefined;
      return builder.load(node, indices);
    },
  });
  const input = unflatten(
    flatten(groups.map(indexOf), groups.map((group) => group.extent)),
    shape,
  );
  const reduce: Statement = {
    kind: "reduce",
    ranges: groups.filter((group) => group.reduced).map((group) =>
      wholeRange(group.variable, group.extent)
    ),
    body: [],
    accumulators: reductions.map((node) =>
      accumulatorOf(node, names.get(node) ?? "", values.at(operandOf(node, 0), input))
    ),
  };
  const result = flatten(kept.map(indexOf), kept.map((group) => group.extent));
  const stores = storesAfterValues(plan.stores.map((node) => ({
    buffer: builder.write(node),
    index: result.toExpr(),
    value: values.atFlat(node, result),
  })));
  const { extent, body } = spread([reduce, ...stores], groups);
  const { buffers, bindings, writes } = builder.finish();
  const axes = groups.map((group) => `${group.reduced ? "sum" : ""}${group.extent}`).join("x");
  return {
    kernel: {
      kind: "loops",
      name: describeKernel("columns", plan, axes),
      buffers,
      parallel: { variable: "u", extent },
      body,
    },
    bindings,
    writes,
    nodes: plan.nodes,
  };
}

function indexOf(group: AxisGroup): Index {
  return Index.variable(group.variable, group.extent);
}

function groupAxes(
  shape: readonly number[],
  reduced: readonly number[],
  merge: boolean,
): AxisGroup[] {
  const groups: AxisGroup[] = [];
  shape.forEach((extent, axis) => {
    if (extent === 1) return;
    const isReduced = reduced.includes(axis);
    const last = groups[groups.length - 1];
    if (merge && last !== undefined && last.reduced === isReduced) {
      groups[groups.length - 1] = { ...last, extent: last.extent * extent };
    } else {
      groups.push({
        extent,
        reduced: isReduced,
        variable: `${isReduced ? "k" : "i"}${groups.length}`,
      });
    }
  });
  return groups;
}

/** Spreads the kept axes over parallel iterations: the last in blocks, the others one by one. */
function spread(
  body: Statement[],
  groups: readonly AxisGroup[],
): { extent: number; body: Statement[] } {
  const kept = groups.filter((group) => !group.reduced);
  const lastGroup = groups[groups.length - 1];
  const innermost = lastGroup !== undefined && !lastGroup.reduced ? lastGroup : undefined;
  const blocks = innermost === undefined ? 1 : Math.ceil(innermost.extent / BLOCK);
  const outer = kept.filter((group) => group !== innermost);
  const outerSize = staticSize(outer.map((group) => group.extent));
  const unit = Index.variable("u", outerSize * blocks);
  const splits = unflatten(unit.quotient(blocks), outer.map((group) => group.extent))
    .map((index, at): Statement => ({
      kind: "let",
      name: outer[at]?.variable ?? "",
      value: index.toExpr(),
    }));
  if (innermost === undefined) return { extent: outerSize, body: [...splits, ...body] };
  const block: Statement = { kind: "let", name: "v", value: unit.remainder(blocks).toExpr() };
  const range: LoopRange = blockedRange(innermost.variable, "v", BLOCK, innermost.extent);
  return {
    extent: outerSize * blocks,
    body: [...splits, block, { kind: "loop", range, vectorize: true, body }],
  };
}
