/** Short ways to write loop IR by hand. */
import type {
  Accumulator,
  BinaryOp,
  CombineOp,
  Expr,
  KernelBuffer,
  LoopKernel,
  LoopRange,
  ScalarType,
  Statement,
  UnaryOp,
} from "../../compiler/loop_ir.ts";
import { isComparison } from "../../compiler/scalar_ops.ts";
import type { DType } from "../../graph/dtype.ts";

/** A constant. */
export function constant(value: number, type: ScalarType = "f32"): Expr {
  return { kind: "const", type, value };
}

/** A whole-number constant. */
export function whole(value: number): Expr {
  return constant(value, "i32");
}

/** A variable; i32 unless told. */
export function variable(name: string, type: ScalarType = "i32"): Expr {
  return { kind: "var", type, name };
}

/** A function of one scalar. */
export function unary(op: UnaryOp, a: Expr): Expr {
  return { kind: "unary", op, type: a.type, a };
}

/** A function of two scalars. */
export function binary(op: BinaryOp, a: Expr, b: Expr): Expr {
  return { kind: "binary", op, type: isComparison(op) ? "bool" : a.type, a, b };
}

/** `a + b + ...`. */
export function sum(...parts: readonly [Expr, ...Expr[]]): Expr {
  return parts.reduce((a, b) => binary("add", a, b));
}

/** `a * b * ...`. */
export function product(...parts: readonly [Expr, ...Expr[]]): Expr {
  return parts.reduce((a, b) => binary("mul", a, b));
}

/** An element of a buffer of floats, or of the type given. */
export function load(buffer: number, index: Expr, type: ScalarType = "f32"): Expr {
  return { kind: "load", type, buffer, index };
}

/** Conversion by value. */
export function cast(type: ScalarType, a: Expr): Expr {
  return { kind: "cast", type, a };
}

/** A choice in which both sides may be evaluated, or only one. */
export function choice(kind: "select" | "guarded", condition: Expr, a: Expr, b: Expr): Expr {
  return { kind, type: a.type, condition, a, b };
}

/** `let name = value`. */
export function define(name: string, value: Expr): Statement {
  return { kind: "let", name, value };
}

/** `buffer[index] = value`. */
export function store(buffer: number, index: Expr, value: Expr): Statement {
  return { kind: "store", buffer, index, value };
}

/** `buffer[index] += value`. */
export function accumulate(buffer: number, index: Expr, value: Expr): Statement {
  return { kind: "accumulate", buffer, index, value };
}

/** From 0 to an end. */
export function upTo(name: string, end: Expr | number): LoopRange {
  return { variable: name, start: whole(0), end: typeof end === "number" ? whole(end) : end };
}

/** A loop that may be vectorised. */
export function vectorLoop(range: LoopRange, body: readonly Statement[]): Statement {
  return { kind: "loop", range, vectorize: true, body };
}

/** A loop that may not. */
export function plainLoop(range: LoopRange, body: readonly Statement[]): Statement {
  return { kind: "loop", range, vectorize: false, body };
}

/** An accumulator. */
export function accumulator(
  name: string,
  op: CombineOp,
  value: Expr,
): Accumulator {
  return { name, op, type: op === "argmax" ? "i32" : value.type, value };
}

/** A reduction over nested loops. */
export function reduce(
  ranges: readonly LoopRange[],
  accumulators: readonly Accumulator[],
  body: readonly Statement[] = [],
): Statement {
  return { kind: "reduce", ranges, body, accumulators };
}

/** A buffer's declaration. */
export function buffer(
  elements: number,
  access: KernelBuffer["access"] = "read",
  dtype: DType = "f32",
): KernelBuffer {
  return { name: `${access}_${dtype}_${elements}`, dtype, elements, access };
}

/** A kernel whose parallel variable is `u`. */
export function loopKernel(
  name: string,
  buffers: readonly KernelBuffer[],
  extent: number,
  body: readonly Statement[],
): LoopKernel {
  return { kind: "loops", name, buffers, parallel: { variable: "u", extent }, body };
}
