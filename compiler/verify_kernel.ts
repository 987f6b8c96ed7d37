/** What must hold of a kernel: a lowering's bug becomes an error here that names the kernel. */
import type {
  Accumulator,
  AttentionGradKernel,
  AttentionKernel,
  ColumnOperand,
  Expr,
  Kernel,
  LoopBuffer,
  LoopKernel,
  LoopRange,
  MatmulAxis,
  MatmulKernel,
  MatmulOperand,
  MatrixOperand,
  OperandBase,
  RowNorm,
  RowNormGrad,
  ScalarType,
  Statement,
  VectorOperand,
} from "./loop_ir.ts";
import { type DType, isFloat } from "../graph/dtype.ts";
import { sizeIn } from "./sizes.ts";
import { scalarType } from "./lower/values.ts";
import { isComparison } from "./scalar_ops.ts";
import { VerifyError } from "./verify.ts";

/**
 * Types agree, variables are defined before use, buffers exist and are written only where declared,
 * templates stay inside of theirs.
 *
 * @throws {VerifyError} When that is not so.
 */
export function verifyKernel(kernel: Kernel): void {
  const checker = new KernelChecker(kernel.name, kernel.buffers);
  if (kernel.kind === "loops") {
    verifySizes(kernel, checker);
    const { sizes = [], parallel } = kernel;
    checker.block(kernel.body, new Map([...sizes, parallel.variable].map((name) => [name, "i32"])));
  } else if (kernel.kind === "matmul") {
    verifyMatmul(kernel, checker);
  } else {
    verifyAttention(kernel, checker);
  }
}

/** Every size that is named is one of the kernel's, and scratch has none. */
function verifySizes({ sizes = [], buffers, parallel }: LoopKernel, checker: KernelChecker): void {
  const named = buffers.map(({ name, elements, access }) => {
    if (access === "scratch" && typeof elements !== "number") {
      checker.fail(`has scratch ${name} of "${elements}" elements, wanted a number`);
    }
    return elements;
  });
  for (const size of [parallel.extent, ...named]) {
    if (typeof size === "string" && !sizes.includes(size)) {
      checker.fail(`has no size "${size}"`);
    }
  }
}

function verifyAttention(
  kernel: AttentionKernel | AttentionGradKernel,
  checker: KernelChecker,
): void {
  const { batch, queries, keys, depth, valueDepth } = kernel;
  const matrix = (operand: MatrixOperand | undefined, rows: number, columns: number, use: Use) => {
    if (operand === undefined) return;
    const { batchStrides, rowStride, columnStride } = operand;
    const strides = [...batchStrides, rowStride, columnStride];
    checker.elements(operand, strides, [...batch, rows, columns], use);
  };
  const vector = (operand: VectorOperand | undefined, use: Use) => {
    if (operand === undefined) return;
    checker.elements(
      operand,
      [...operand.batchStrides, operand.rowStride],
      [...batch, queries],
      use,
    );
  };
  const columns = (operand: ColumnOperand | undefined, use: Use) => {
    if (operand !== undefined) checker.elements(operand, [operand.columnStride], [depth], use);
  };
  const norm = (norm: RowNorm | undefined, grad: RowNormGrad | undefined) => {
    for (const operand of [norm?.scale, norm?.bias]) columns(operand, "read");
    if (norm !== undefined && !(norm.epsilon >= 0)) {
      checker.fail(`has a norm whose epsilon is ${norm.epsilon}, which is negative or no number`);
    }
    if (grad !== undefined && norm === undefined) checker.fail("has the gradient of no norm");
    for (const operand of [grad?.scale, grad?.bias]) columns(operand, "write");
  };
  const isForward = kernel.kind === "attention";
  norm(kernel.queryNorm, isForward ? undefined : kernel.queryNormGrad);
  norm(kernel.keyNorm, isForward ? undefined : kernel.keyNormGrad);
  matrix(kernel.q, queries, depth, "read");
  matrix(kernel.k, keys, depth, "read");
  matrix(kernel.v, keys, valueDepth, "read");
  matrix(kernel.out, queries, valueDepth, isForward ? "write" : "read");
  vector(kernel.logSumExp, isForward ? "write" : "read");
  if (isForward) return;
  matrix(kernel.outCotangent, queries, valueDepth, "read");
  matrix(kernel.dq, queries, depth, "write");
  matrix(kernel.dk, keys, depth, "write");
  matrix(kernel.dv, keys, valueDepth, "write");
}

function verifyMatmul(kernel: MatmulKernel, checker: KernelChecker): void {
  if (kernel.parts.length === 0) checker.fail("has no parts");
  for (const { batch, m, n, terms, epilogue } of kernel.parts) {
    if (terms.length === 0) checker.fail("has a part without terms");
    for (const { a, b, k } of terms) {
      checker.operand(a, { batch: extentsOf(batch), free: extentsOf(m), k });
      checker.operand(b, { batch: extentsOf(batch), free: extentsOf(n), k });
    }
    const scope = new Map<string, ScalarType>([["acc", "f32"]]);
    for (const axis of [...batch, ...m, ...n]) scope.set(axis.variable, "i32");
    checker.block(epilogue, scope);
  }
}

function extentsOf(axes: readonly MatmulAxis[]): number[] {
  return axes.map((axis) => axis.extent);
}

/** What a template does with a buffer. */
type Use = "read" | "write";

/** Extents of the axes of one side of a product. */
interface OperandExtents {
  readonly batch: readonly number[];
  readonly free: readonly number[];
  readonly k: readonly number[];
}

class KernelChecker {
  readonly #kernel: string;
  readonly #buffers: readonly LoopBuffer[];

  constructor(kernel: string, buffers: readonly LoopBuffer[]) {
    this.#kernel = kernel;
    this.#buffers = buffers;
  }

  block(statements: readonly Statement[], outer: ReadonlyMap<string, ScalarType>): void {
    const scope = new Map(outer);
    for (const statement of statements) this.#statement(statement, scope);
  }

  #statement(statement: Statement, scope: Map<string, ScalarType>): void {
    const checked = new Set<Expr>();
    const check = (expr: Expr) => this.#expression(expr, scope, checked);
    switch (statement.kind) {
      case "let":
        check(statement.value);
        scope.set(statement.name, statement.value.type);
        return;
      case "store":
      case "accumulate": {
        const buffer = this.#writable(statement.buffer);
        check(statement.index);
        check(statement.value);
        this.#require(statement.index, "i32", `the index of a store to ${buffer.name}`);
        this.#require(statement.value, scalarType(buffer.dtype), `a store to ${buffer.name}`);
        return;
      }
      case "loop": {
        this.#range(statement.range, scope);
        this.block(statement.body, new Map([...scope, [statement.range.variable, "i32"]]));
        return;
      }
      case "reduce":
        return this.#reduce(statement, scope);
    }
  }

  #reduce(statement: Statement & { kind: "reduce" }, scope: Map<string, ScalarType>): void {
    const inner = new Map(scope);
    for (const range of statement.ranges) {
      this.#range(range, inner);
      inner.set(range.variable, "i32");
    }
    for (const child of statement.body) this.#statement(child, inner);
    const checked = new Set<Expr>();
    for (const accumulator of statement.accumulators) {
      this.#expression(accumulator.value, inner, checked);
      this.#accumulator(accumulator);
    }
    for (const { name, type } of statement.accumulators) scope.set(name, type);
  }

  #accumulator({ name, op, type, value }: Accumulator): void {
    const wanted = op === "argmax" ? "f32" : type;
    this.#require(value, wanted, `the ${op} ${name}`);
    if (op === "argmax" && type !== "i32") this.fail(`has ${type} for the place ${name}`);
  }

  #range({ variable, start, end }: LoopRange, scope: ReadonlyMap<string, ScalarType>): void {
    for (const bound of [start, end]) {
      this.#expression(bound, scope, new Set());
      this.#require(bound, "i32", `a bound of ${variable}`);
    }
  }

  #require(expr: Expr, type: ScalarType, where: string): void {
    if (expr.type !== type) this.fail(`has a ${expr.type} where ${type} is wanted, in ${where}`);
  }

  /** Strides are one for each axis, and every element lies in an f32 buffer that is only read. */
  operand(operand: MatmulOperand, extents: OperandExtents): void {
    const { buffer, batchStrides, freeStrides, kStrides } = operand;
    const strides = [batchStrides, freeStrides, kStrides];
    const sizes = [extents.batch, extents.free, extents.k];
    if (strides.some((list, role) => list.length !== sizes[role]?.length)) {
      this.fail(`has an operand in buffer ${buffer} whose strides do not match its axes`);
    }
    this.elements(operand, strides.flat(), sizes.flat(), "read");
  }

  /** A template's operand or result: elements of a buffer that it may use so; results are f32. */
  elements(
    { buffer, offset }: OperandBase,
    strides: readonly number[],
    sizes: readonly number[],
    use: Use,
  ): void {
    const declared = this.#buffers[buffer];
    const isTyped = use === "read" ? isFloat : isF32;
    if (declared?.access !== use || !isTyped(declared.dtype)) {
      this.fail(`${use}s buffer ${buffer}, which is no float that it only ${use}s`);
    }
    if (strides.length !== sizes.length) {
      this.fail(`has an operand in ${declared.name} whose strides do not match its axes`);
    }
    if (sizes.includes(0)) return;
    const moves = strides.map((stride, axis) => stride * ((sizes[axis] ?? 1) - 1));
    const last = moves.reduce((sum, move) => sum + Math.max(move, 0), offset);
    const first = moves.reduce((sum, move) => sum + Math.min(move, 0), offset);
    if (first < 0 || last >= sizeIn(declared.elements, [], [])) {
      this.fail(`${use}s ${declared.name}[${first}..${last}] of ${declared.elements} elements`);
    }
  }

  #writable(buffer: number): LoopBuffer {
    const declared = this.#buffers[buffer];
    if (declared === undefined || declared.access === "read") {
      this.fail(`writes buffer ${buffer}, which it may not`);
    }
    return declared;
  }

  #expression(
    expr: Expr,
    scope: ReadonlyMap<string, ScalarType>,
    checked: Set<Expr>,
  ): void {
    if (checked.has(expr)) return;
    checked.add(expr);
    const check = (part: Expr, type?: ScalarType) => {
      this.#expression(part, scope, checked);
      if (type !== undefined) this.#require(part, type, expr.kind);
    };
    switch (expr.kind) {
      case "const":
        return;
      case "var": {
        const type = scope.get(expr.name);
        if (type === undefined) this.fail(`uses the undefined variable ${expr.name}`);
        if (type !== expr.type) this.fail(`uses ${expr.name} as ${expr.type}, which is ${type}`);
        return;
      }
      case "load": {
        const buffer = this.#buffers[expr.buffer];
        if (buffer === undefined) this.fail(`loads buffer ${expr.buffer}, which it has not`);
        this.#require(expr, scalarType(buffer.dtype), `a load of ${buffer.name}`);
        return check(expr.index, "i32");
      }
      case "binary":
        check(expr.a);
        check(expr.b, expr.a.type);
        return this.#require(expr, isComparison(expr.op) ? "bool" : expr.a.type, expr.op);
      case "select":
      case "guarded":
        check(expr.condition, "bool");
        check(expr.a, expr.type);
        return check(expr.b, expr.type);
      case "threefry":
        for (const part of [expr.key0, expr.key1, expr.counter0, expr.counter1]) check(part, "u32");
        return;
      case "unary":
      case "cast":
      case "bitcast":
      case "roundTo":
        return check(expr.a);
    }
  }

  fail(problem: string): never {
    throw new VerifyError(`Kernel ${this.#kernel} ${problem}`);
  }
}

function isF32(dtype: DType): boolean {
  return dtype === "f32";
}
