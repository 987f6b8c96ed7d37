/** Expressions of f32, for loops that a kernel's template or its pieces need besides. */
import { Index, unflatten } from "../../compiler/index_expr.ts";
import type { BinaryOp, Expr, UnaryOp, VectorOperand } from "../../compiler/loop_ir.ts";

/** An element. */
export function load(buffer: number, index: Index): Expr {
  return { kind: "load", type: "f32", buffer, index: index.toExpr() };
}

/** A variable. */
export function variable(name: string): Expr {
  return { kind: "var", type: "f32", name };
}

/** A number. */
export function constant(value: number): Expr {
  return { kind: "const", type: "f32", value };
}

/** A function of one number. */
export function unary(op: UnaryOp, a: Expr): Expr {
  return { kind: "unary", op, type: "f32", a };
}

/** An operation on two. */
export function binary(op: BinaryOp, a: Expr, b: Expr): Expr {
  return { kind: "binary", op, type: "f32", a, b };
}

/** Where the row of a flat number begins, of rows with these extents. */
export function rowPlace(
  row: Index,
  extents: readonly number[],
  { offset, batchStrides, rowStride }: VectorOperand,
): Index {
  const strides = [...batchStrides, rowStride];
  return unflatten(row, extents).reduce(
    (sum, index, axis) => sum.add(index.scale(strides[axis] ?? 0)),
    Index.constant(offset),
  );
}
