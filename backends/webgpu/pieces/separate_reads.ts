/**
 * Kernels in which each place that a buffer is read at has a buffer of its own, in the same memory: what
 * reads both ends of a tensor then need not bind what lies between.
 */
import type {
  AttentionGradKernel,
  AttentionKernel,
  ColumnOperand,
  KernelBuffer,
  MatmulKernel,
  OperandBase,
  RowNorm,
  Statement,
} from "../../../compiler/loop_ir.ts";
import {
  ExpressionNumbers,
  mapStatements,
  sharedRewrite,
  withParts,
} from "../../../compiler/lower/expressions.ts";
import type { PlainKernel } from "../emit_kernel.ts";

/** A kernel, and which buffer each of its buffers was. */
export interface SeparateReads {
  readonly kernel: PlainKernel;
  readonly sources: readonly number[];
}

/** The kernel with separate buffers; those that it had keep their numbers. */
export function separateReads(kernel: PlainKernel): SeparateReads {
  const readers = new Readers(kernel.buffers);
  const separate = separated(kernel, readers);
  return { kernel: { ...separate, buffers: readers.buffers }, sources: readers.sources };
}

function separated(kernel: PlainKernel, readers: Readers): PlainKernel {
  switch (kernel.kind) {
    case "loops":
      return { ...kernel, body: readers.statements(kernel.body) };
    case "matmul":
      return separateMatmul(kernel, readers);
    case "attention":
      return separateAttention(kernel, readers, ["q", "k", "v"]);
    case "attentionGrad":
      return separateAttention(kernel, readers, GRAD_OPERANDS);
  }
}

const GRAD_OPERANDS = ["q", "k", "v", "out", "logSumExp", "outCotangent"] as const;

function separateMatmul(kernel: MatmulKernel, readers: Readers): MatmulKernel {
  return {
    ...kernel,
    parts: kernel.parts.map((part) => ({
      ...part,
      terms: part.terms.map((term) => ({
        ...term,
        a: readers.operand(term.a, "a"),
        b: readers.operand(term.b, "b"),
      })),
      epilogue: readers.statements(part.epilogue),
    })),
  };
}

function separateAttention<Kernel extends AttentionKernel | AttentionGradKernel>(
  kernel: Kernel,
  readers: Readers,
  names: readonly (keyof Kernel & string)[],
): Kernel {
  const operands = names.map((name) => {
    const operand = kernel[name] as OperandBase | undefined;
    return [name, operand && readers.operand(operand, name)];
  });
  const vector = (operand: ColumnOperand | undefined) =>
    operand && readers.operand(operand, "vector");
  const norm = (of: RowNorm | undefined): RowNorm | undefined =>
    of && { ...of, scale: vector(of.scale), bias: vector(of.bias) };
  const { queryNorm, keyNorm } = kernel;
  return {
    ...kernel,
    ...Object.fromEntries(operands),
    queryNorm: norm(queryNorm),
    keyNorm: norm(keyNorm),
  };
}

/** Numbers for buffers, a new one for each other place that one is read at. */
class Readers {
  readonly buffers: KernelBuffer[];
  readonly sources: number[];
  readonly #numbers = new ExpressionNumbers();
  /** By buffer: the numbers of the places that it is read at. */
  readonly #places: readonly Map<string, number>[];

  constructor(buffers: readonly KernelBuffer[]) {
    this.buffers = [...buffers];
    this.sources = [...buffers.keys()];
    this.#places = buffers.map(() => new Map());
  }

  /** @param role Operands of different ones are cut along different axes. */
  operand<Operand extends OperandBase>(operand: Operand, role: string): Operand {
    const place = `${role} ${JSON.stringify(operand)}`;
    return { ...operand, buffer: this.#of(operand.buffer, place) };
  }

  statements(statements: readonly Statement[]): Statement[] {
    const expr = sharedRewrite((before, recur) => {
      const after = withParts(before, recur);
      if (before.kind !== "load" || after.kind !== "load") return after;
      const place = String(this.#numbers.of(before.index));
      return { ...after, buffer: this.#of(before.buffer, place) };
    });
    return mapStatements(statements, { expr });
  }

  #of(buffer: number, place: string): number {
    const [declared, places] = [this.buffers[buffer], this.#places[buffer]];
    if (declared?.access !== "read" || places === undefined) return buffer;
    const number = places.get(place) ?? (places.size === 0 ? buffer : this.buffers.length);
    places.set(place, number);
    if (number === this.buffers.length) {
      this.buffers.push(declared);
      this.sources.push(buffer);
    }
    return number;
  }
}
