/** By which rule an op joins a cluster. */
import type { Node } from "../../graph/node.ts";
import type { FusionRule } from "../fusion_rules.ts";
import type { Cluster } from "./cluster.ts";
import { isReduction } from "./ops.ts";

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
