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

/**
 * The rule by which a cluster would take in all of another one, given that an op reads both in the
 * same way; none where they are of different kinds or sizes. A matrix product takes in what is made of
 * next to nothing, such as dropout's mask: anything else would have to be kept until then.
 */
export function absorbingRule(cluster: Cluster, other: Cluster): FusionRule | undefined {
  if (other === cluster || other.kind !== "rows" || other.total !== cluster.total) return undefined;
  if (cluster.kind === "matmul") return isDrawn(other) ? "fuse_epilogue" : undefined;
  if (cluster.kind !== "rows") return undefined;
  if (other.columns === undefined) return "join_updates";
  return (cluster.columns ?? other.columns) === other.columns ? "fuse_rows" : undefined;
}

/** Elements that are next to nothing to read: a random key has two. */
const FEW = 16;

/** Whether the cluster is a map of next to nothing, such as random numbers, drawn from their key. */
export function isDrawn(cluster: Cluster): boolean {
  if (cluster.kind !== "rows" || cluster.columns !== undefined) return false;
  return [...cluster.members.keys()].every((member) =>
    member.inputs.every((input) => {
      const { producer } = accessOf(input);
      const isRead = isComputed(producer) || isBufferedSource(producer);
      return !isRead || cluster.members.has(producer) || sizeOf(producer) <= FEW;
    })
  );
}
