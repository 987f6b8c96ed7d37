/** Which elements of its buffers a kernel may load and store. */
import type {
  AttentionGradKernel,
  AttentionKernel,
  ColumnOperand,
  Expr,
  KernelBuffer,
  MatmulPart,
  MatrixOperand,
  Statement,
  VectorOperand,
} from "../../../compiler/loop_ir.ts";
import { visitExpressions } from "../../../compiler/lower/expressions.ts";
import type { PlainKernel } from "../emit_kernel.ts";
import { WORKSPACE, workspaceElements } from "../templates/attention_norms.ts";
import { ANY, hull, type Interval, Intervals } from "./intervals.ts";

/**
 * For each of the kernel's buffers the first and the last element that it may touch; undefined where it
 * touches none. What lies between them it need not touch.
 */
export function touchedElements(kernel: PlainKernel): (Interval | undefined)[] {
  const touched = new Touched(kernel.buffers);
  switch (kernel.kind) {
    case "loops":
      touched.axis(kernel.parallel.variable, kernel.parallel.extent);
      if (kernel.parallel.extent > 0) touched.statements(kernel.body);
      break;
    case "matmul":
      for (const part of kernel.parts) ofPart(touched, part);
      break;
    case "attention":
    case "attentionGrad":
      ofAttention(touched, kernel);
      break;
  }
  return touched.found;
}

/** How far an operand goes along an axis. */
type Axis = readonly [stride: number | undefined, extent: number];

class Touched {
  readonly found: (Interval | undefined)[];
  readonly #buffers: readonly KernelBuffer[];
  readonly #intervals = new Intervals();

  constructor(buffers: readonly KernelBuffer[]) {
    this.#buffers = buffers;
    this.found = buffers.map(() => undefined);
  }

  /** Says that a variable counts from 0 on. */
  axis(variable: string, extent: number): void {
    this.#intervals.bind(variable, [0, extent - 1]);
  }

  add(buffer: number, [low, high]: Interval): void {
    const elements = this.#buffers[buffer]?.elements ?? 0;
    const inside: Interval = [Math.max(low, 0), Math.min(high, elements - 1)];
    if (inside[0] > inside[1]) return;
    const before = this.found[buffer];
    this.found[buffer] = before === undefined ? inside : hull(before, inside);
  }

  strided(buffer: number, offset: number, axes: readonly Axis[]): void {
    if (axes.some(([, extent]) => extent === 0)) return;
    let [low, high] = [offset, offset];
    for (const [stride = 0, extent] of axes) {
      const reach = stride * (extent - 1);
      if (reach < 0) low += reach;
      else high += reach;
    }
    this.add(buffer, [low, high]);
  }

  statements(body: readonly Statement[]): void {
    for (const statement of body) this.#statement(statement);
  }

  #statement(statement: Statement): void {
    switch (statement.kind) {
      case "let":
        this.#loads([statement.value]);
        this.#intervals.define(statement.name, statement.value);
        break;
      case "store":
      case "accumulate":
        this.#loads([statement.index, statement.value]);
        this.add(statement.buffer, this.#intervals.of(statement.index));
        break;
      case "loop":
        if (this.#range(statement.range)) this.statements(statement.body);
        break;
      case "reduce": {
        const runs = statement.ranges.map((range) => this.#range(range));
        if (runs.every((some) => some)) {
          this.statements(statement.body);
          this.#loads(statement.accumulators.map(({ value }) => value));
        }
        for (const { name } of statement.accumulators) this.#intervals.bind(name, ANY);
        break;
      }
    }
  }

  /** Says what a loop's variable may be, and whether the loop may run at all. */
  #range({ variable, start, end }: { variable: string; start: Expr; end: Expr }): boolean {
    this.#loads([start, end]);
    const [first] = this.#intervals.of(start);
    const last = this.#intervals.of(end)[1] - 1;
    this.#intervals.bind(variable, [first, last]);
    return first <= last;
  }

  #loads(roots: readonly Expr[]): void {
    visitExpressions(roots, (expr) => {
      if (expr.kind === "load") this.add(expr.buffer, this.#intervals.of(expr.index));
    });
  }
}

function ofPart(touched: Touched, { batch, m, n, terms, epilogue }: MatmulPart): void {
  if ([...batch, ...m, ...n].some(({ extent }) => extent === 0)) return;
  const axes = (strides: readonly number[], extents: readonly number[]) =>
    extents.map((extent, at): Axis => [strides[at], extent]);
  const extents = (of: typeof batch) => of.map(({ extent }) => extent);
  for (const { a, b, k } of terms) {
    for (const [operand, free] of [[a, m], [b, n]] as const) {
      touched.strided(operand.buffer, operand.offset, [
        ...axes(operand.batchStrides, extents(batch)),
        ...axes(operand.freeStrides, extents(free)),
        ...axes(operand.kStrides, k),
      ]);
    }
  }
  for (const { variable, extent } of [...batch, ...m, ...n]) touched.axis(variable, extent);
  touched.statements(epilogue);
}

function ofAttention(touched: Touched, kernel: AttentionKernel | AttentionGradKernel): void {
  const { batch, queries, keys, depth, valueDepth, queryNorm, keyNorm } = kernel;
  const rows = (operand: MatrixOperand | VectorOperand | undefined, count: number, wide = 1) => {
    if (operand === undefined) return;
    touched.strided(operand.buffer, operand.offset, [
      ...batch.map((extent, at): Axis => [operand.batchStrides[at], extent]),
      [operand.rowStride, count],
      ["columnStride" in operand ? operand.columnStride : 0, wide],
    ]);
  };
  const columns = (operand: ColumnOperand | undefined) => {
    if (operand === undefined) return;
    touched.strided(operand.buffer, operand.offset, [[operand.columnStride, depth]]);
  };
  const workspace = kernel.buffers.findIndex(({ name }) => name === WORKSPACE);
  if (workspace >= 0) touched.add(workspace, [0, workspaceElements(kernel) - 1]);
  rows(kernel.q, queries, depth);
  rows(kernel.k, keys, depth);
  rows(kernel.v, keys, valueDepth);
  rows(kernel.out, queries, valueDepth);
  rows(kernel.logSumExp, queries);
  for (const norm of [queryNorm, keyNorm]) {
    columns(norm?.scale);
    columns(norm?.bias);
  }
  if (kernel.kind === "attention") return;
  rows(kernel.outCotangent, queries, valueDepth);
  rows(kernel.dq, queries, depth);
  rows(kernel.dk, keys, depth);
  rows(kernel.dv, keys, valueDepth);
  for (const grad of [kernel.queryNormGrad, kernel.keyNormGrad]) {
    columns(grad?.scale);
    columns(grad?.bias);
  }
}
