/** Where in a cluster's space an op would be computed. */
import type { Node } from "../../graph/node.ts";
import type { Access } from "./access.ts";
import { sizeOf } from "./access.ts";
import type { Cluster, Level } from "./cluster.ts";

/** The level at which an elementwise node would be computed in the cluster; undefined if it cannot. */
export function levelIn(
  cluster: Cluster,
  node: Node,
  accesses: readonly Access[],
): Level | undefined {
  if (cluster.kind !== "rows" && cluster.kind !== "matmul" && cluster.kind !== "columns") {
    return undefined;
  }
  const size = sizeOf(node);
  let level: Level | undefined;
  for (const access of accesses) {
    const from = cluster.members.get(access.producer);
    if (from === undefined) continue;
    const here = levelThrough(cluster, from, access);
    if (here === undefined || (level !== undefined && level !== here)) return undefined;
    level = here;
  }
  if (level === undefined) return undefined;
  const rows = cluster.columns === undefined ? undefined : cluster.total / cluster.columns;
  return size === (level === "full" ? cluster.total : rows) ? level : undefined;
}

function levelThrough(cluster: Cluster, from: Level, access: Access): Level | undefined {
  if (access.pattern === "same") return from;
  if (access.pattern === "row" && from === "row" && access.columns === cluster.columns) {
    return "full";
  }
  return undefined;
}
