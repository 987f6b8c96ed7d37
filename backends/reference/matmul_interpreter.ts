/** The matmul template as its defining loops. */
import type { MatmulKernel, MatmulOperand, MatmulPart } from "../../compiler/loop_ir.ts";
import { type BoundBuffer, Environment } from "./expression_interpreter.ts";
import { compileStatements } from "./loop_interpreter.ts";
import { readElement } from "./storage.ts";

/** Calls `body` for every index tuple, the last axis fastest. */
export function forEachIndex(
  extents: readonly number[],
  body: (index: readonly number[]) => void,
): void {
  const index = extents.map(() => 0);
  const walk = (axis: number): void => {
    if (axis === extents.length) return body(index);
    for (let at = 0; at < (extents[axis] ?? 0); at++) {
      index[axis] = at;
      walk(axis + 1);
    }
  };
  walk(0);
}

/** Runs a matmul's parts and their epilogues. */
export function interpretMatmul(kernel: MatmulKernel, buffers: readonly BoundBuffer[]): void {
  for (const part of kernel.parts) interpretPart(kernel.name, part, buffers);
}

function interpretPart(name: string, part: MatmulPart, buffers: readonly BoundBuffer[]): void {
  const environment = new Environment(name, buffers);
  const outer = [...part.batch, ...part.m, ...part.n];
  const cells = outer.map((axis) => environment.variable(axis.variable));
  const acc = environment.variable("acc");
  const epilogue = compileStatements(environment, part.epilogue);
  const terms = part.terms.map(({ a, b, k }) => ({
    left: operandReader(environment, a, k),
    right: operandReader(environment, b, k),
    length: k.reduce((total, extent) => total * extent, 1),
  }));
  const [batchEnd, mEnd] = [part.batch.length, part.batch.length + part.m.length];
  forEachIndex(outer.map((axis) => axis.extent), (index) => {
    const batch = index.slice(0, batchEnd);
    const [m, n] = [index.slice(batchEnd, mEnd), index.slice(mEnd)];
    acc.value = terms.reduce(
      (sum, { left, right, length }) => sum + times(length, left(batch, m), right(batch, n)),
      0,
    );
    index.forEach((value, axis) => {
      const cell = cells[axis];
      if (cell !== undefined) cell.value = value;
    });
    epilogue();
  });
}

/** Gives, for a batch entry and a row or column, the elements by their flat k. */
function operandReader(environment: Environment, operand: MatmulOperand, k: readonly number[]) {
  const bound = environment.buffer(operand.buffer);
  const offsets: number[] = [];
  forEachIndex(k, (index) => offsets.push(dot(operand.kStrides, index)));
  return (batch: readonly number[], free: readonly number[]) => {
    const start = operand.offset + dot(operand.batchStrides, batch) +
      dot(operand.freeStrides, free);
    return (at: number): number => {
      const index = start + (offsets[at] ?? 0);
      environment.check(bound, index, "loads");
      return readElement(bound.data, bound.declared.dtype, index);
    };
  };
}

function dot(strides: readonly number[], index: readonly number[]): number {
  return strides.reduce((sum, stride, axis) => sum + stride * (index[axis] ?? 0), 0);
}

/** The sum of products over `columns` places. */
export function times(columns: number, left: (k: number) => number, right: (k: number) => number) {
  let sum = 0;
  for (let k = 0; k < columns; k++) sum += left(k) * right(k);
  return sum;
}
