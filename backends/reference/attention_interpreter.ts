/** The attention templates as their defining loops. */
import type {
  AttentionGradKernel,
  AttentionKernel,
  ColumnOperand,
  MatrixOperand,
  RowNorm,
  RowNormGrad,
  VectorOperand,
} from "../../compiler/loop_ir.ts";
import { type BoundBuffer, Environment } from "./expression_interpreter.ts";
import { forEachIndex, times } from "./matmul_interpreter.ts";
import { readElement, writeElement } from "./storage.ts";

/** Gives an element of a matrix. */
type Reader = (row: number, column: number) => number;

/** Reads and writes one matrix of a batch. */
interface Matrix {
  readonly get: Reader;
  set(row: number, column: number, value: number): void;
}

/** A template's operand of any rank. */
type AnyOperand = MatrixOperand | VectorOperand | ColumnOperand;

function matrix(
  environment: Environment,
  operand: AnyOperand,
  batch: readonly number[],
): Matrix {
  const bound = environment.buffer(operand.buffer);
  const batchStrides = "batchStrides" in operand ? operand.batchStrides : [];
  const rowStride = "rowStride" in operand ? operand.rowStride : 0;
  const columnStride = "columnStride" in operand ? operand.columnStride : 0;
  const start = batchStrides.reduce(
    (sum, stride, axis) => sum + stride * (batch[axis] ?? 0),
    operand.offset,
  );
  const at = (row: number, column: number, access: string) => {
    const index = start + row * rowStride + column * columnStride;
    environment.check(bound, index, access);
    return index;
  };
  return {
    get: (row, column) => readElement(bound.data, bound.declared.dtype, at(row, column, "loads")),
    set: (row, column, value) =>
      writeElement(bound.data, bound.declared.dtype, at(row, column, "stores"), value),
  };
}

function meanOf(row: readonly number[]): number {
  return row.reduce((sum, value) => sum + value, 0) / row.length;
}

/** Rows that went through a norm, and what its gradient needs of them. */
interface NormedRows {
  /** With scale and bias. */
  readonly get: Reader;
  readonly scale: (column: number) => number;
  readonly rows: readonly {
    /** Without scale and bias. */
    readonly normalized: readonly number[];
    readonly deviation: number;
  }[];
}

function normedRows(
  environment: Environment,
  norm: RowNorm,
  read: Reader,
  [rowCount, depth]: readonly [number, number],
): NormedRows {
  const vector = (operand: ColumnOperand | undefined, absent: number) => {
    const values = operand && matrix(environment, operand, []);
    return (column: number) => values?.get(0, column) ?? absent;
  };
  const [scale, bias] = [vector(norm.scale, 1), vector(norm.bias, 0)];
  const rows = Array.from({ length: rowCount }, (_, row) => {
    const values = Array.from({ length: depth }, (_, column) => read(row, column));
    const middle = norm.center ? meanOf(values) : 0;
    const centered = values.map((value) => value - middle);
    const deviation = Math.sqrt(meanOf(centered.map((value) => value * value)) + norm.epsilon);
    return { normalized: centered.map((value) => value / deviation), deviation };
  });
  const get = (row: number, column: number) =>
    (rows[row]?.normalized[column] ?? NaN) * scale(column) + bias(column);
  return { get, scale, rows };
}

/** Turns the cotangents of normalised rows into those of the rows, and adds up the vectors'. */
class NormGradient {
  readonly #environment: Environment;
  readonly #norm: RowNorm;
  readonly #results: RowNormGrad | undefined;
  readonly #scaleSums: number[];
  readonly #biasSums: number[];

  constructor(
    environment: Environment,
    norm: RowNorm,
    results: RowNormGrad | undefined,
    depth: number,
  ) {
    this.#environment = environment;
    this.#norm = norm;
    this.#results = results;
    this.#scaleSums = Array<number>(depth).fill(0);
    this.#biasSums = Array<number>(depth).fill(0);
  }

  /** The cotangent of each row, given that of what it was normalised to. */
  rows({ rows, scale }: NormedRows, cotangents: readonly (readonly number[])[]): number[][] {
    return cotangents.map((given, row) => {
      const { normalized, deviation } = rows[row] ?? { normalized: [], deviation: NaN };
      const y = (column: number) => normalized[column] ?? NaN;
      given.forEach((value, column) => {
        this.#scaleSums[column] = (this.#scaleSums[column] ?? NaN) + value * y(column);
        this.#biasSums[column] = (this.#biasSums[column] ?? NaN) + value;
      });
      const scaled = given.map((value, column) => value * scale(column));
      const along = meanOf(scaled.map((value, column) => value * y(column)));
      const middle = this.#norm.center ? meanOf(scaled) : 0;
      return scaled.map((value, column) => (value - middle - y(column) * along) / deviation);
    });
  }

  /** Stores the sums over all batch entries. */
  finish(): void {
    const results = [[this.#results?.scale, this.#scaleSums], [
      this.#results?.bias,
      this.#biasSums,
    ]] as const;
    for (const [operand, sums] of results) {
      const target = operand && matrix(this.#environment, operand, []);
      sums.forEach((value, column) => target?.set(0, column, value));
    }
  }
}

/** Runs attention. */
export function interpretAttention(kernel: AttentionKernel, buffers: readonly BoundBuffer[]): void {
  const environment = new Environment(kernel.name, buffers);
  const { queries, keys, depth, valueDepth, scale, queryNorm, keyNorm } = kernel;
  forEachIndex(kernel.batch, (batch) => {
    const view = (operand: MatrixOperand | VectorOperand) => matrix(environment, operand, batch);
    const normed = (read: Reader, rows: number, norm: RowNorm | undefined) =>
      norm === undefined ? read : normedRows(environment, norm, read, [rows, depth]).get;
    const q = normed(view(kernel.q).get, queries, queryNorm);
    const k = normed(view(kernel.k).get, keys, keyNorm);
    const v = kernel.v && view(kernel.v);
    const out = kernel.out && view(kernel.out);
    const logSumExp = kernel.logSumExp && view(kernel.logSumExp);
    for (let row = 0; row < queries; row++) {
      const scores = Array.from(
        { length: keys },
        (_, key) => scale * times(depth, (d) => q(row, d), (d) => k(key, d)),
      );
      const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
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
  const { queries, keys, depth, valueDepth, queryNorm, keyNorm } = kernel;
  const gradient = (norm: RowNorm | undefined, results: RowNormGrad | undefined) =>
    norm && new NormGradient(environment, norm, results, depth);
  const queryGradient = gradient(queryNorm, kernel.queryNormGrad);
  const keyGradient = gradient(keyNorm, kernel.keyNormGrad);
  forEachIndex(kernel.batch, (batch) => {
    const view = (operand: MatrixOperand | VectorOperand) => matrix(environment, operand, batch);
    const [rawQ, rawK] = [view(kernel.q).get, view(kernel.k).get];
    const normedQ = queryNorm && normedRows(environment, queryNorm, rawQ, [queries, depth]);
    const normedK = keyNorm && normedRows(environment, keyNorm, rawK, [keys, depth]);
    const [q, k] = [normedQ?.get ?? rawQ, normedK?.get ?? rawK];
    const { probability, scoreGrad } = gradientScores(kernel, q, k, view);
    const dOut = view(kernel.outCotangent);
    if (kernel.dq !== undefined || queryGradient !== undefined) {
      const rows = filled(
        queries,
        depth,
        (row, column) => times(keys, (key) => scoreGrad(row, key), (key) => k(key, column)),
      );
      store(kernel.dq && view(kernel.dq), throughNorm(normedQ, queryGradient, rows));
    }
    if (kernel.dk !== undefined || keyGradient !== undefined) {
      const rows = filled(
        keys,
        depth,
        (key, column) => times(queries, (row) => scoreGrad(row, key), (row) => q(row, column)),
      );
      store(kernel.dk && view(kernel.dk), throughNorm(normedK, keyGradient, rows));
    }
    if (kernel.dv === undefined) return;
    const rows = filled(
      keys,
      valueDepth,
      (key, column) =>
        times(queries, (row) => probability(row, key), (row) => dOut.get(row, column)),
    );
    store(view(kernel.dv), rows);
  });
  queryGradient?.finish();
  keyGradient?.finish();
}

function throughNorm(
  normed: NormedRows | undefined,
  gradient: NormGradient | undefined,
  cotangents: number[][],
): number[][] {
  if (normed === undefined || gradient === undefined) return cotangents;
  return gradient.rows(normed, cotangents);
}

/** The probabilities, recomputed, and the cotangents of `q k^T`. */
function gradientScores(
  { queries, keys, depth, valueDepth, scale, ...operands }: AttentionGradKernel,
  q: Reader,
  k: Reader,
  view: (operand: MatrixOperand | VectorOperand) => Matrix,
): { readonly probability: Reader; readonly scoreGrad: Reader } {
  const [v, out, dOut] = [view(operands.v), view(operands.out), view(operands.outCotangent)];
  const lse = view(operands.logSumExp);
  const probability = filled(
    queries,
    keys,
    (row, key) =>
      Math.exp(scale * times(depth, (d) => q(row, d), (d) => k(key, d)) - lse.get(row, 0)),
  );
  const scoreGrad = probability.map((line, row) => {
    const delta = times(valueDepth, (c) => dOut.get(row, c), (c) => out.get(row, c));
    return line.map((p, key) => {
      const dP = times(valueDepth, (c) => dOut.get(row, c), (c) => v.get(key, c));
      return scale * p * (dP - delta);
    });
  });
  return {
    probability: (row, key) => probability[row]?.[key] ?? NaN,
    scoreGrad: (row, key) => scoreGrad[row]?.[key] ?? NaN,
  };
}

function filled(rows: number, columns: number, value: Reader): number[][] {
  return Array.from(
    { length: rows },
    (_, row) => Array.from({ length: columns }, (_, column) => value(row, column)),
  );
}

function store(target: Matrix | undefined, rows: readonly (readonly number[])[]): void {
  rows.forEach((line, row) => line.forEach((value, column) => target?.set(row, column, value)));
}
