/** By which rule an op joins a cluster, and why it cannot. */
import type { Node } from "../../graph/node.ts";
import type { FusionRule } from "../fusion_rules.ts";
import { type Access, accessOf, sizeOf } from "./access.ts";
import type { Cluster } from "./cluster.ts";
import { misfitOf } from "./levels.ts";
import { isBufferedSource, isComputed, isReduction } from "./ops.ts";

/** The rule by which the node would join the cluster; none where it is another of its results. */
export function joiningRule(cluster: Cluster, node: Node): FusionRule | undefined {
  switch (cluster.kind) {
    case "matmul":
      return "fuse_epilogue";
    case "columns":
      return "fuse_columns";
    case "rows":
      return cluster.columns !== undefined || isReduction(node) ? "fuse_rows" : "fuse_elementwise";
    case "attention":
    case "attentionGrad":
    case "scatter":
      return undefined;
  }
}

/** Why a reduction of rows cannot be computed in the cluster of what it reads, if it cannot. */
export function reductionMisfit(
  cluster: Cluster,
  access: Access,
  total: number,
  columns: number,
): string | undefined {
  if (cluster.kind === "matmul") {
    return "it needs whole rows, and a matrix product has a tile of them";
  }
  if (cluster.kind !== "rows") return "its operand's kernel computes nothing else";
  if (access.pattern !== "same") return misfitOf(access);
  const isSameSpace = cluster.members.get(access.producer) === "full" && cluster.total === total &&
    (cluster.columns ?? columns) === columns;
  return isSameSpace ? undefined : "its rows are not the rows of its operand's kernel";
}

/** Whether the cluster is of elementwise ops alone. */
export function isMap({ kind, columns }: Cluster): boolean {
  return kind === "rows" && columns === undefined;
}

/** Elements that are next to nothing to read: a random key has two. */
const FEW = 16;

/** Whether the cluster is a map of next to nothing, such as random numbers, drawn from their key. */
export function isDrawn(cluster: Cluster): boolean {
  if (!isMap(cluster)) return false;
  return [...cluster.members.keys()].every((member) =>
    member.inputs.every((input) => {
      const { producer } = accessOf(input);
      const isRead = isComputed(producer) || isBufferedSource(producer);
      return !isRead || cluster.members.has(producer) || sizeOf(producer) <= FEW;
    })
  );
}
