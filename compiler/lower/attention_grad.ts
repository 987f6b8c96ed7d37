/** Lowers attention's gradient to its template. */
import type { Node } from "../../graph/node.ts";
import { attentionOperands } from "../../graph/ops/normed_attention.ts";
import type { RowNormGrad } from "../loop_ir.ts";
import type { KernelPlan } from "../schedule/stores.ts";
import { attentionSizes, Operands, sizeText, storedAs } from "./attention.ts";
import { operandOf } from "./attributes.ts";
import { KernelBuilder, type LoweredKernel } from "./kernel_builder.ts";
import type { OperandReading } from "./matmul.ts";
import { describeKernel } from "./names.ts";

/** What flows back to a norm's vectors, where that is wanted. */
function normGrad(
  builder: KernelBuilder,
  scale: Node | undefined,
  bias: Node | undefined,
): RowNormGrad | undefined {
  if (scale === undefined && bias === undefined) return undefined;
  const result = (node: Node | undefined) =>
    node && { buffer: builder.write(node), offset: 0, columnStride: 1 };
  return { scale: result(scale), bias: result(bias) };
}

/** The kernel of an `attentionGrad` cluster. */
export function lowerAttentionGrad(plan: KernelPlan, reading: OperandReading): LoweredKernel {
  const builder = new KernelBuilder();
  const operands = new Operands(builder, reading);
  const node = plan.stores[0];
  if (node === undefined) throw new TypeError("An attention gradient cluster stores nothing");
  const [q, k, v] = [operandOf(node, 0), operandOf(node, 1), operandOf(node, 2)];
  const sizes = attentionSizes(node, q, k, v);
  const { norms } = attentionOperands(node);
  const parts = {
    q: operands.matrix(q),
    k: operands.matrix(k),
    v: operands.matrix(v),
    out: operands.matrix(operandOf(node, 3)),
    logSumExp: operands.vector(operandOf(node, 4)),
    outCotangent: operands.matrix(operandOf(node, 5)),
    queryNorm: operands.norm(norms.query),
    keyNorm: operands.norm(norms.key),
    dq: operands.matrixResult(storedAs(plan, "query")),
    dk: operands.matrixResult(storedAs(plan, "key")),
    dv: operands.matrixResult(storedAs(plan, "value")),
    queryNormGrad: normGrad(builder, storedAs(plan, "queryScale"), storedAs(plan, "queryBias")),
    keyNormGrad: normGrad(builder, storedAs(plan, "keyScale"), storedAs(plan, "keyBias")),
  };
  const { buffers, bindings, writes } = builder.finish();
  const name = describeKernel("attentionGrad", plan, sizeText(sizes));
  return {
    kernel: { kind: "attentionGrad", name, buffers, ...sizes, ...parts },
    bindings,
    writes,
    nodes: plan.nodes,
  };
}
