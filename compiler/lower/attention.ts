/** Lowers attention to its template. */
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import {
  attentionOperands,
  type AttentionResult,
  attentionResult,
  type OperandNorm,
} from "../../graph/ops/normed_attention.ts";
import type {
  AttentionShape,
  ColumnOperand,
  MatrixOperand,
  RowNorm,
  VectorOperand,
} from "../loop_ir.ts";
import type { KernelPlan } from "../schedule/stores.ts";
import { KernelBuilder, type LoweredKernel } from "./kernel_builder.ts";
import { type OperandReading, requiredView } from "./matmul.ts";
import { describeKernel } from "./names.ts";
import { numberAttr, operandOf } from "./attributes.ts";
import { ownStrides } from "./views.ts";

/** Makes operands of nodes, over one kernel's buffers. */
export class Operands {
  readonly #builder: KernelBuilder;
  readonly #reading: OperandReading;

  constructor(builder: KernelBuilder, reading: OperandReading) {
    this.#builder = builder;
    this.#reading = reading;
  }

  /** A [batch..., rows, columns] operand that is read. */
  matrix(node: Node): MatrixOperand {
    const { base, offset, strides } = requiredView(node, this.#reading);
    return { buffer: this.#builder.read(base), offset, ...matrixStrides(strides) };
  }

  /** A [batch..., rows] operand that is read. */
  vector(node: Node): VectorOperand {
    const { base, offset, strides } = requiredView(node, this.#reading);
    return { buffer: this.#builder.read(base), offset, ...vectorStrides(strides) };
  }

  /** The norm of an operand's rows. */
  norm(norm: OperandNorm | undefined): RowNorm | undefined {
    if (norm === undefined) return undefined;
    const { center, epsilon } = norm;
    return { center, epsilon, scale: this.#columns(norm.scale), bias: this.#columns(norm.bias) };
  }

  #columns(node: Node | undefined): ColumnOperand | undefined {
    if (node === undefined) return undefined;
    const { base, offset, strides } = requiredView(node, this.#reading);
    return { buffer: this.#builder.read(base), offset, columnStride: strides[0] ?? 0 };
  }

  /** A [batch..., rows, columns] result. */
  matrixResult(node: Node | undefined): MatrixOperand | undefined {
    if (node === undefined) return undefined;
    return {
      buffer: this.#builder.write(node),
      offset: 0,
      ...matrixStrides(ownStrides(node)),
    };
  }

  /** A [batch..., rows] result. */
  vectorResult(node: Node | undefined): VectorOperand | undefined {
    if (node === undefined) return undefined;
    return {
      buffer: this.#builder.write(node),
      offset: 0,
      ...vectorStrides(ownStrides(node)),
    };
  }
}

function matrixStrides(strides: readonly number[]) {
  return {
    batchStrides: strides.slice(0, -2),
    rowStride: strides.at(-2) ?? 0,
    columnStride: strides.at(-1) ?? 0,
  };
}

function vectorStrides(strides: readonly number[]) {
  return { batchStrides: strides.slice(0, -1), rowStride: strides.at(-1) ?? 0 };
}

export function attentionSizes(node: Node, q: Node, k: Node, v: Node | undefined) {
  const queryShape = staticShape(q.shape);
  const keyShape = staticShape(k.shape);
  return {
    batch: queryShape.slice(0, -2),
    queries: queryShape.at(-2) ?? 1,
    keys: keyShape.at(-2) ?? 1,
    depth: queryShape.at(-1) ?? 1,
    valueDepth: v === undefined ? 0 : staticShape(v.shape).at(-1) ?? 1,
    scale: numberAttr(node, "scale"),
  };
}

export function sizeText(
  { batch, queries, keys, depth }: Pick<AttentionShape, "batch" | "queries" | "keys" | "depth">,
): string {
  return [staticSize(batch), queries, keys, depth].join("x");
}

export function storedAs(plan: KernelPlan, result: AttentionResult): Node | undefined {
  return plan.stores.find((node) => attentionResult(node) === result);
}

/** The kernel of an `attention` cluster. */
export function lowerAttention(plan: KernelPlan, reading: OperandReading): LoweredKernel {
  const builder = new KernelBuilder();
  const operands = new Operands(builder, reading);
  const out = storedAs(plan, "out");
  const logSumExp = storedAs(plan, "logSumExp");
  const node = out ?? logSumExp;
  if (node === undefined) throw new TypeError("An attention cluster stores nothing");
  const q = operandOf(node, 0);
  const k = operandOf(node, 1);
  const v = out === undefined ? undefined : operandOf(out, 2);
  const sizes = attentionSizes(node, q, k, v);
  const { norms } = attentionOperands(node);
  const parts = {
    q: operands.matrix(q),
    k: operands.matrix(k),
    queryNorm: operands.norm(norms.query),
    keyNorm: operands.norm(norms.key),
    v: v === undefined ? undefined : operands.matrix(v),
    out: operands.matrixResult(out),
    logSumExp: operands.vectorResult(logSumExp),
  };
  const { buffers, bindings, writes } = builder.finish();
  const name = describeKernel("attention", plan, sizeText(sizes));
  return {
    kernel: { kind: "attention", name, buffers, ...sizes, ...parts },
    bindings,
    writes,
    nodes: plan.nodes,
  };
}
