/** Collects a kernel's buffers while its expressions are built. */
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { flatten, type Index } from "../index_expr.ts";
import type { Expr, Kernel, KernelBuffer, Statement } from "../loop_ir.ts";
import { scalarType } from "./values.ts";

/** A kernel, and the nodes whose buffers it is to be run with. */
export interface LoweredKernel {
  readonly kernel: Kernel;
  /** One for each non-scratch buffer, in order. */
  readonly bindings: readonly Node[];
  /** Nodes whose buffers it writes. */
  readonly writes: readonly Node[];
  /** Nodes computed in it, for explanations. */
  readonly nodes: readonly Node[];
  /** What must have been written before it runs, beside what it reads. */
  readonly awaits?: readonly Node[];
}

/** Buffers of a kernel under construction. Scratch buffers are numbered after all others. */
export class KernelBuilder {
  readonly #buffers: KernelBuffer[] = [];
  readonly #bindings: Node[] = [];
  readonly #numbers = new Map<Node, number>();
  readonly #scratch: KernelBuffer[] = [];
  readonly #writes: Node[] = [];

  /** The number of the node's buffer, which the kernel reads. */
  read(node: Node): number {
    return this.#number(node, "read");
  }

  /** The number of the node's buffer, which the kernel writes. */
  write(node: Node): number {
    if (!this.#writes.includes(node)) this.#writes.push(node);
    return this.#number(node, "write");
  }

  /** A buffer private to a parallel iteration; stands for its number until {@linkcode finish}. */
  scratch(elements: number): number {
    this.#scratch.push({
      name: `scratch${this.#scratch.length}`,
      dtype: "f32",
      elements,
      access: "scratch",
    });
    return SCRATCH_BASE + this.#scratch.length - 1;
  }

  /** A load of the node's element at per-axis indices. */
  load(node: Node, indices: readonly Index[]): Expr {
    const index = flatten(indices, staticShape(node.shape)).toExpr();
    return { kind: "load", type: scalarType(node.dtype), buffer: this.read(node), index };
  }

  /** The buffers, with `statement`s renumbered so that scratch comes after all bound ones. */
  finish(): { buffers: KernelBuffer[]; bindings: Node[]; writes: Node[] } {
    return {
      buffers: [...this.#buffers, ...this.#scratch],
      bindings: [...this.#bindings],
      writes: [...this.#writes],
    };
  }

  /** The final number of a buffer. */
  final(buffer: number): number {
    return buffer >= SCRATCH_BASE ? this.#buffers.length + buffer - SCRATCH_BASE : buffer;
  }

  #number(node: Node, access: "read" | "write"): number {
    const known = this.#numbers.get(node);
    if (known !== undefined) return known;
    const number = this.#buffers.length;
    this.#numbers.set(node, number);
    this.#bindings.push(node);
    this.#buffers.push({
      name: access === "read" ? `in${number}` : `out${number}`,
      dtype: node.dtype,
      elements: staticSize(staticShape(node.shape)),
      access,
    });
    return number;
  }
}

const SCRATCH_BASE = 1 << 20;

/**
 * Stores at one place of several buffers. All values are computed before the first is written, so
 * that a result may take the memory of an operand that another result needs as well.
 */
export function storesAfterValues(
  stores: readonly { buffer: number; index: Expr; value: Expr }[],
): Statement[] {
  if (stores.length === 1) return stores.map((store) => ({ kind: "store", ...store }));
  const lets = stores.map(({ value }, at): Statement => ({ kind: "let", name: `v${at}`, value }));
  return [
    ...lets,
    ...stores.map(({ buffer, index, value }, at): Statement => ({
      kind: "store",
      buffer,
      index,
      value: { kind: "var", type: value.type, name: `v${at}` },
    })),
  ];
}
