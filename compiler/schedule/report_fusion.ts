/** What the scheduler's rules did, told from the kernels that came of them. */
import type { Node } from "../../graph/node.ts";
import { staticShape } from "../../graph/shape.ts";
import { operandOf } from "../lower/attributes.ts";
import type { FusionRule } from "../fusion_rules.ts";
import { isSeenThrough, type OperandReading } from "../lower/matmul.ts";
import type { RuleReport } from "../report.ts";
import { bytesOf, isWidening, sizeOf } from "./access.ts";
import type { Cluster, Clustering } from "./cluster.ts";
import { isAttentionForward, isTemplate } from "./ops.ts";
import type { KernelPlan, StorePlan } from "./stores.ts";

/** Reports what each kernel has in it that would else be a kernel, and what is one all the same. */
export function reportFusion(clustering: Clustering, plan: StorePlan, rules: RuleReport): void {
  const stored = new Set(plan.kernels.flatMap((kernel) => kernel.stores));
  const planned = new Set(plan.kernels.map((kernel) => kernel.cluster));
  const computed = new Set(plan.kernels.flatMap((kernel) => kernel.nodes));
  const atHome = new Set<Node>();
  for (const kernel of plan.kernels) {
    reportKernel(kernel, rules);
    for (const node of kernel.nodes) if (kernel.cluster.members.has(node)) atHome.add(node);
  }
  for (const { members } of clustering.clusters) {
    reportRecomputed(
      [...members.keys()].filter((at) => computed.has(at) && !atHome.has(at)),
      rules,
    );
  }
  for (const { rule, node, producer, reason } of clustering.refusals) {
    const home = clustering.of.get(node);
    const isApart = stored.has(producer) || (computed.has(producer) && !atHome.has(producer));
    if (home === undefined || !planned.has(home) || !isApart) continue;
    rules.refused(rule, node, reason);
  }
  for (const [node, reason] of plan.refusals) {
    rules.refused("recompute_cheap_values", node, reason);
  }
}

export const WIDEN_ON_LOAD = "widen_on_load";

/** Reports the half floats that templates read, or get copies of. */
export function reportWidening(
  nodes: readonly Node[],
  { copies, readsHalves }: OperandReading,
  rules: RuleReport,
): void {
  const casts = new Set<Node>();
  for (let at of nodes.filter(isTemplate).flatMap(({ inputs }) => inputs)) {
    for (; isSeenThrough(at, { copies, readsHalves: true }); at = operandOf(at, 0)) {
      if (isWidening(at)) casts.add(at);
    }
  }
  for (const cast of casts) {
    if (readsHalves) rules.applied(WIDEN_ON_LOAD, cast, "is never stored", trafficOf([cast]));
    else rules.refused(WIDEN_ON_LOAD, cast, "this backend reads f32");
  }
}

/** Bytes that values take to write and to read once. */
function trafficOf(nodes: readonly Node[]): number {
  return nodes.reduce((total, node) => total + 2 * bytesOf(node), 0);
}

function reportKernel({ cluster, stores, nodes }: KernelPlan, rules: RuleReport): void {
  const members = [...cluster.members.keys()].filter((node) => nodes.includes(node));
  const [first] = members;
  if (first === undefined) return;
  if (cluster.kind === "attention" || cluster.kind === "attentionGrad") {
    return reportAttention(first, rules);
  }
  if (members.length === 1) return;
  const saved = trafficOf(members.filter((node) => !stores.includes(node)));
  const results = stores.length === 1 ? "" : `, with ${stores.length} results`;
  const rule = ruleOf(cluster);
  const what = namesOf(rule === "fuse_epilogue" ? members.slice(1) : members);
  rules.applied(rule, first, `${what}${results}`, saved);
}

/** The rule that brings the members together, which are more than one. */
function ruleOf({ kind, columns }: Cluster): FusionRule {
  if (kind === "matmul") return "fuse_epilogue";
  if (kind === "columns") return "fuse_columns";
  return columns === undefined ? "fuse_elementwise" : "fuse_rows";
}

/** The distinct ops, in order. */
function namesOf(nodes: readonly Node[]): string {
  return [...new Set(nodes.map((node) => node.op.name))].join(", ");
}

/** The product of queries and keys, and what becomes of it, would each be written and read. */
function reportAttention(node: Node, rules: RuleReport): void {
  const queries = operandOf(node, 0);
  const keys = staticShape(operandOf(node, 1).shape).at(-2) ?? 1;
  const rows = sizeOf(queries) / (staticShape(queries.shape).at(-1) ?? 1);
  const rule = isAttentionForward(node) ? "attention_kernel" : "attention_gradient_kernel";
  const bytes = rows * keys * 4;
  rules.applied(rule, node, `scores [${rows}, ${keys}] are never stored`, 4 * bytes);
}

/** What a cluster's own kernel, if there is one, leaves to those who read it. */
function reportRecomputed(members: readonly Node[], rules: RuleReport): void {
  const last = members.at(-1);
  if (last === undefined) return;
  rules.applied("recompute_cheap_values", last, namesOf(members), trafficOf(members));
}
