/** Where in a cluster's space an op would be computed, or why it cannot be computed there. */
import type { Node } from "../../graph/node.ts";
import type { Access } from "./access.ts";
import { sizeOf } from "./access.ts";
import type { Cluster, Level } from "./cluster.ts";

/** The level at which an op would be computed in a cluster, or why there is none. */
export type Placement =
  | { readonly level: Level; readonly misfit?: undefined }
  | { readonly level?: undefined; readonly misfit: string };

/** The level at which an elementwise node, which reads some members, would be computed. */
export function levelIn(cluster: Cluster, node: Node, accesses: readonly Access[]): Placement {
  if (cluster.kind !== "rows" && cluster.kind !== "matmul" && cluster.kind !== "columns") {
    return { misfit: "its operand's kernel computes nothing else" };
  }
  let level: Level | undefined;
  for (const access of accesses) {
    const from = cluster.members.get(access.producer);
    if (from === undefined) continue;
    const here = levelThrough(cluster, from, access);
    if (here === undefined) return { misfit: misfitOf(access) };
    if (level !== undefined && level !== here) return { misfit: "it reads values of two sizes" };
    level = here;
  }
  const rows = cluster.columns === undefined ? undefined : cluster.total / cluster.columns;
  if (level !== undefined && sizeOf(node) === (level === "full" ? cluster.total : rows)) {
    return { level };
  }
  return { misfit: "it has more or fewer elements than its operand's kernel" };
}

function levelThrough(cluster: Cluster, from: Level, access: Access): Level | undefined {
  if (access.pattern === "same") return from;
  if (access.pattern === "row" && from === "row" && access.columns === cluster.columns) {
    return "full";
  }
  return undefined;
}

/** Why the op that reads so cannot be computed as the producer's elements are. */
export function misfitOf({ producer, pattern }: Access): string {
  return pattern === "row"
    ? `it reads each element of ${producer.op.name} for many of its own`
    : `it reads ${producer.op.name} in another order`;
}
