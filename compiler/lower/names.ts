/** Kernel names: what kind, which ops, what size. They go into errors, profiles and traps. */
import type { KernelPlan } from "../schedule/stores.ts";

/** At most this many op names make it into a kernel's name. */
const NAMED_OPS = 4;

/** Text such as `rows_sum_sub_rsqrt_mul_3200x64`. */
export function describeKernel(kind: string, plan: KernelPlan, size: string): string {
  const own = [...plan.cluster.members.keys()].filter((node) => plan.nodes.includes(node));
  const distinct = [...new Set(own.map((node) => node.op.name))];
  const shown = distinct.slice(0, NAMED_OPS);
  if (distinct.length > NAMED_OPS) shown.push(`${distinct.length - NAMED_OPS}more`);
  return [kind, ...shown, size].join("_");
}
