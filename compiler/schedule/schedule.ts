/** From a graph of primitive ops to an ordered list of kernels. */
import type { Node } from "../../graph/node.ts";
import { isRecompute } from "../../graph/ops/checkpoint.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { lowerAttention } from "../lower/attention.ts";
import { lowerAttentionGrad } from "../lower/attention_grad.ts";
import { lowerColumns } from "../lower/columns.ts";
import type { LoweredKernel } from "../lower/kernel_builder.ts";
import { lowerMatmul, type OperandReading, requiredView, templateView } from "../lower/matmul.ts";
import { lowerRows } from "../lower/rows.ts";
import { lowerScatter } from "../lower/scatter.ts";
import type { GraphModule } from "../module.ts";
import { accessOf, liveOrder } from "./access.ts";
import { clusterGraph } from "./cluster.ts";
import { isBufferedSource, isComputed, isTemplate } from "./ops.ts";
import type { RuleReport } from "../report.ts";
import { mergeMatmuls } from "./merge_matmuls.ts";
import { orderKernels, withAwaited } from "./order.ts";
import { reportFusion, reportWidening, WIDEN_ON_LOAD } from "./report_fusion.ts";
import { type KernelPlan, planStores, type StorePlan } from "./stores.ts";

/** Kernels in the order in which they run. */
export interface Schedule {
  readonly kernels: readonly LoweredKernel[];
}

/**
 * Cuts the module into kernels.
 *
 * @param overwrites For each donated output node, the input node whose memory it takes.
 * @param readsHalves Whether the target's templates load half floats.
 */
export function scheduleModule(
  module: GraphModule,
  overwrites: ReadonlyMap<Node, Node>,
  rules: RuleReport,
  readsHalves: boolean,
): Schedule {
  const nodes = liveOrder([...module.inputs.values(), ...module.outputs.values()]);
  const outputs = [...module.outputs.values()].filter((node) => !isEmpty(node));
  const widens = rules.isOn(WIDEN_ON_LOAD);
  const reading = readingOf(nodes, outputs, module, widens && readsHalves);
  const { copies } = reading;
  const clustering = clusterGraph([...module.inputs.values(), ...outputs], copies, rules);
  const operands = nodes.filter(isTemplate)
    .flatMap((node) => node.inputs.map((input) => requiredView(input, reading).base));
  // What a recomputation starts from is kept, not what that is cheaply made of.
  const kept = nodes.filter(isRecompute).map((node) => accessOf(node).producer);
  const plan = planStores(clustering, outputs, [...operands, ...kept], rules);
  reportFusion(clustering, plan, rules);
  if (widens) reportWidening(nodes, reading, rules);
  const kernels = withAwaited(plan.kernels.map((kernel) => lowerKernel(kernel, plan, reading)));
  const position = new Map(clustering.order.map((node, at) => [node, at]));
  const ordered = orderKernels(kernels, position, overwrites, new Set(outputs));
  return { kernels: mergeMatmuls(ordered, overwrites, rules) };
}

function isEmpty(node: Node): boolean {
  return staticSize(staticShape(node.shape)) === 0;
}

/** Which views and sources need a buffer of their own, and what templates read. */
function readingOf(
  nodes: readonly Node[],
  outputs: readonly Node[],
  module: GraphModule,
  readsHalves: boolean,
): OperandReading {
  const copies = new Set<Node>();
  const reading = { copies, readsHalves };
  const inputs = new Set(module.inputs.values());
  for (const node of outputs) {
    if (!isComputed(node) && !inputs.has(node)) copies.add(node);
  }
  for (const node of nodes) {
    if (!isTemplate(node)) continue;
    for (const operand of node.inputs) {
      const view = templateView(operand, reading);
      const inMemory = view !== undefined && (isComputed(view.base) || copies.has(view.base) ||
        isBufferedSource(view.base));
      if (!inMemory || operand.dtype !== "f32") copies.add(operand);
    }
  }
  return reading;
}

function lowerKernel(
  plan: KernelPlan,
  stores: StorePlan,
  reading: OperandReading,
): LoweredKernel {
  switch (plan.cluster.kind) {
    case "rows":
      return lowerRows(plan, stores.isHeld);
    case "columns":
      return lowerColumns(plan, stores.isHeld);
    case "matmul":
      return lowerMatmul(plan, stores.isHeld, reading);
    case "attention":
      return lowerAttention(plan, reading);
    case "attentionGrad":
      return lowerAttentionGrad(plan, reading);
    case "scatter":
      return lowerScatter(plan, stores.isHeld);
  }
}
