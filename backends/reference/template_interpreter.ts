/** The three kernel templates, each as its defining loops. */
import type {
  AttentionGradKernel,
  AttentionKernel,
  MatmulKernel,
  MatmulOperand,
  MatmulPart,
  MatrixOperand,
  VectorOperand,
} from "../../compiler/loop_ir.ts";
import { type BoundBuffer, Environment } from "./expression_interpreter.ts";
import { compileStatements } from "./loop_interpreter.ts";
import { readElement, writeElement } from "./storage.ts";

/** Calls `body` for every index tuple, the last axis fastest. */
function forEachIndex(extents: readonly number[], body: (index: readonly number[]) => void): void {
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

/** Reads and writes one matrix of a batch. */
interface Matrix {
  get(row: number, column: number): number;
  set(row: number, column: number, value: number): void;
}

function matrix(
  environment: Environment,
  operand: MatrixOperand | VectorOperand,
  batch: readonly number[],
): Matrix {
  const bound = environment.buffer(operand.buffer);
  const start = operand.batchStrides.reduce(
    (sum, stride, axis) => sum + stride * (batch[axis] ?? 0),
    operand.offset,
  );
  const columnStride = "columnStride" in operand ? operand.columnStride : 0;
  const at = (row: number, column: number, access: string) => {
    const index = start + row * operand.rowStride + column * columnStride;
    environment.check(bound, index, access);
    return index;
  };
  return {
    get: (row, column) => readElement(bound.data, bound.declared.dtype, at(row, column, "loads")),
    set: (row, column, value) =>
      writeElement(bound.data, bound.declared.dtype, at(row, column, "stores"), value),
  };
}

function times(columns: number, left: (k: number) => number, right: (k: number) => number) {
  let sum = 0;
  for (let k = 0; k < columns; k++) sum += left(k) * right(k);
  return sum;
}

/** Runs attention. */
export function interpretAttention(kernel: AttentionKernel, buffers: readonly BoundBuffer[]): void {
  const environment = new Environment(kernel.name, buffers);
  const { queries, keys, depth, valueDepth, scale } = kernel;
  forEachIndex(kernel.batch, (batch) => {
    const view = (operand: MatrixOperand | VectorOperand) => matrix(environment, operand, batch);
    const [q, k] = [view(kernel.q), view(kernel.k)];
    const v = kernel.v && view(kernel.v);
    const out = kernel.out && view(kernel.out);
    const logSumExp = kernel.logSumExp && view(kernel.logSumExp);
    for (let row = 0; row < queries; row++) {
      const scores = Array.from(
        { length: keys },
        (_, key) => scale * times(depth, (d) => q.get(row, d), (d) => k.get(key, d)),
      );
      const largest = Math.max(...scores);
      const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
      const lse = largest + Math.log(sum);
      logSumExp?.set(row, 0, lse);
      if (v === undefined || out === undefined) continue;
      for (let column = 0; column < valueDepth; column++) {
        const value = times(
          keys,
          (key) => Math.exp((scores[key] ?? NaN) - lse),
          (key) => v.get(key, column),
        );
        out.set(row, column, value);
      }
    }
  });
}

/** Runs the gradient of attention. */
export function interpretAttentionGrad(
  kernel: AttentionGradKernel,
  buffers: readonly BoundBuffer[],
): void {
  const environment = new Environment(kernel.name, buffers);
  const { queries, keys, depth, valueDepth, scale } = kernel;
  forEachIndex(kernel.batch, (batch) => {
    const view = (operand: MatrixOperand | VectorOperand) => matrix(environment, operand, batch);
    const [q, k, v, out] = [view(kernel.q), view(kernel.k), view(kernel.v), view(kernel.out)];
    const lse = view(kernel.logSumExp);
    const dOut = view(kernel.outCotangent);
    const probability = new Float64Array(queries * keys);
    const scoreGrad = new Float64Array(queries * keys);
    for (let row = 0; row < queries; row++) {
      const delta = times(valueDepth, (c) => dOut.get(row, c), (c) => out.get(row, c));
      for (let key = 0; key < keys; key++) {
        const score = scale * times(depth, (d) => q.get(row, d), (d) => k.get(key, d));
        const p = Math.exp(score - lse.get(row, 0));
        const dP = times(valueDepth, (c) => dOut.get(row, c), (c) => v.get(key, c));
        probability[row * keys + key] = p;
        scoreGrad[row * keys + key] = scale * p * (dP - delta);
      }
    }
    const p = (row: number, key: number) => probability[row * keys + key] ?? NaN;
    const dS = (row: number, key: number) => scoreGrad[row * keys + key] ?? NaN;
    fill(
      kernel.dq && view(kernel.dq),
      queries,
      depth,
      (row, column) => times(keys, (key) => dS(row, key), (key) => k.get(key, column)),
    );
    fill(
      kernel.dk && view(kernel.dk),
      keys,
      depth,
      (key, column) => times(queries, (row) => dS(row, key), (row) => q.get(row, column)),
    );
    fill(
      kernel.dv && view(kernel.dv),
      keys,
      valueDepth,
      (key, column) => times(queries, (row) => p(row, key), (row) => dOut.get(row, column)),
    );
  });
}

function fill(
  target: Matrix | undefined,
  rows: number,
  columns: number,
  value: (row: number, column: number) => number,
): void {
  if (target === undefined) return;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) target.set(row, column, value(row, column));
  }
}
