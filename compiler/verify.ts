/**
 * What must hold at each level, checked between passes: a compiler bug becomes an error here that
 * names the node, instead of wrong numbers later.
 */
import type { Node } from "../graph/node.ts";
import { formatShape, sameShape, symbolsOf } from "../graph/shape.ts";
import { formatFullSite } from "../graph/site.ts";
import type {
  Expr,
  Kernel,
  KernelBuffer,
  MatmulAxis,
  MatmulKernel,
  MatmulOperand,
  ScalarType,
  Statement,
} from "./loop_ir.ts";
import { type GraphModule, moduleNodes } from "./module.ts";
import type { Program, ProgramStep } from "./program.ts";

/** The compiler broke one of its own rules. */
export class VerifyError extends Error {
  override readonly name = "VerifyError";
}

function fail(node: Node, problem: string): never {
  throw new VerifyError(
    `${node} ${problem} (scope "${node.scope}", made at ${formatFullSite(node.site)})`,
  );
}

/** Every node is what its op infers from its inputs. */
export function verifyGraph(module: GraphModule): void {
  for (const node of moduleNodes(module)) {
    const type = node.op.infer(node.inputs, node.attrs);
    if (type.dtype !== node.dtype || !sameShape(type.shape, node.shape)) {
      fail(node, `should be ${type.dtype}${formatShape(type.shape)}`);
    }
    if (node.op.name === "input" && !module.inputs.has(String(node.attrs["path"]))) {
      fail(node, `reads input "${String(node.attrs["path"])}", which the graph does not declare`);
    }
  }
}

/** Also: no symbolic dims are left. */
export function verifyBound(module: GraphModule): void {
  verifyGraph(module);
  for (const node of moduleNodes(module)) {
    const [symbol] = symbolsOf(node.shape);
    if (symbol !== undefined) fail(node, `still has the unbound dim "${symbol}"`);
    if (node.op.name === "dimSize") fail(node, "should have become a constant");
  }
}

/** Also: no composite ops are left. */
export function verifyPrimitive(module: GraphModule): void {
  verifyBound(module);
  for (const node of moduleNodes(module)) {
    if (node.op.kind === "composite") fail(node, "should have been decomposed");
  }
}

/** Every kernel is well formed, and every step binds buffers that fit it and do not collide. */
export function verifyProgram(program: Program, alignment: number): void {
  for (const kernel of program.kernels) verifyKernel(kernel);
  for (const buffer of program.buffers) {
    if (buffer.offset % alignment !== 0) {
      throw new VerifyError(`Buffer ${buffer.name} is at ${buffer.offset}, off ${alignment} bytes`);
    }
    if (buffer.offset + buffer.bytes > program.arenaBytes) {
      throw new VerifyError(`Buffer ${buffer.name} ends outside of the arena`);
    }
  }
  program.steps.forEach((step, at) => verifyStep(program, step, at));
}

function verifyStep(program: Program, step: ProgramStep, at: number): void {
  const kernel = program.kernels[step.kernel];
  if (kernel === undefined) throw new VerifyError(`Step ${at} runs kernel ${step.kernel}`);
  const bound = kernel.buffers.filter((buffer) => buffer.access !== "scratch");
  if (bound.length !== step.buffers.length) {
    throw new VerifyError(
      `Step ${at}, ${kernel.name}, binds ${step.buffers.length} buffers of ${bound.length}`,
    );
  }
  const ranges = bound.map((wanted, position) => {
    const buffer = program.buffers[step.buffers[position] ?? -1];
    if (
      buffer === undefined || buffer.dtype !== wanted.dtype || buffer.elements < wanted.elements
    ) {
      throw new VerifyError(`Step ${at}, ${kernel.name}, has no fitting buffer ${wanted.name}`);
    }
    return { start: buffer.offset, end: buffer.offset + buffer.bytes, wanted };
  });
  for (const written of ranges.filter((range) => range.wanted.access !== "read")) {
    for (const other of ranges) {
      if (other === written || other.end <= written.start || other.start >= written.end) continue;
      const inPlace = other.wanted.access === "read" && other.start === written.start &&
        other.end === written.end;
      if (inPlace) continue;
      throw new VerifyError(
        `Step ${at}, ${kernel.name}, writes ${written.wanted.name} over ${other.wanted.name}`,
      );
    }
  }
}

/**
 * Types agree, variables are defined before use, buffers exist and are written only where declared.
 *
 * @throws {VerifyError} When that is not so.
 */
export function verifyKernel(kernel: Kernel): void {
  const checker = new KernelChecker(kernel.name, kernel.buffers);
  if (kernel.kind === "loops") {
    checker.block(kernel.body, new Map([[kernel.parallel.variable, "i32"]]));
  } else if (kernel.kind === "matmul") {
    verifyMatmul(kernel, checker);
  }
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

/** Extents of the axes of one side of a product. */
interface OperandExtents {
  readonly batch: readonly number[];
  readonly free: readonly number[];
  readonly k: readonly number[];
}

class KernelChecker {
  readonly #kernel: string;
  readonly #buffers: readonly KernelBuffer[];

  constructor(kernel: string, buffers: readonly KernelBuffer[]) {
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
      case "accumulate":
        check(statement.index);
        check(statement.value);
        this.#requireWritable(statement.buffer);
        return;
      case "loop": {
        check(statement.range.start);
        check(statement.range.end);
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
      this.#expression(range.start, inner, new Set());
      this.#expression(range.end, inner, new Set());
      inner.set(range.variable, "i32");
    }
    for (const child of statement.body) this.#statement(child, inner);
    const checked = new Set<Expr>();
    for (const { value } of statement.accumulators) this.#expression(value, inner, checked);
    for (const { name, type } of statement.accumulators) scope.set(name, type);
  }

  /** Strides are one for each axis, and every element lies in an f32 buffer that is only read. */
  operand(operand: MatmulOperand, extents: OperandExtents): void {
    const { buffer, offset, batchStrides, freeStrides, kStrides } = operand;
    const declared = this.#buffers[buffer];
    if (declared?.access !== "read" || declared.dtype !== "f32") {
      this.fail(`multiplies buffer ${buffer}, which is no f32 that it only reads`);
    }
    const strides = [batchStrides, freeStrides, kStrides];
    const sizes = [extents.batch, extents.free, extents.k];
    if (strides.some((list, role) => list.length !== sizes[role]?.length)) {
      this.fail(`has an operand in buffer ${buffer} whose strides do not match its axes`);
    }
    const flatSizes = sizes.flat();
    if (flatSizes.includes(0)) return;
    const moves = strides.flat().map((stride, axis) => stride * ((flatSizes[axis] ?? 1) - 1));
    const last = moves.reduce((sum, move) => sum + Math.max(move, 0), offset);
    const first = moves.reduce((sum, move) => sum + Math.min(move, 0), offset);
    if (first < 0 || last >= declared.elements) {
      this.fail(`multiplies ${declared.name}[${first}..${last}] of ${declared.elements} elements`);
    }
  }

  #requireWritable(buffer: number): void {
    const declared = this.#buffers[buffer];
    if (declared === undefined || declared.access === "read") {
      this.fail(`writes buffer ${buffer}, which it may not`);
    }
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
      if (type !== undefined && part.type !== type) {
        this.fail(`has a ${part.type} where ${type} is wanted, in ${expr.kind}`);
      }
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
      case "load":
        if (this.#buffers[expr.buffer] === undefined) this.fail(`loads buffer ${expr.buffer}`);
        return check(expr.index, "i32");
      case "binary":
        check(expr.a);
        return check(expr.b, expr.a.type);
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
