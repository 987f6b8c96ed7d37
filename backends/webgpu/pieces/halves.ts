/** Ways to cut a kernel into two that touch less memory each, and compute the same one after the other. */
import type { DType } from "../../../graph/dtype.ts";
import type { Expr, KernelBuffer, Statement } from "../../../compiler/loop_ir.ts";
import { integerConstant } from "../../../compiler/index_expr.ts";
import { mapStatements, sharedRewrite, withParts } from "../../../compiler/lower/expressions.ts";
import { integerBinary } from "../../../compiler/lower/ranges.ts";
import type { PlainKernel } from "../emit_kernel.ts";

/** Two kernels in the place of one, which run in this order, and what puts their results together. */
export interface Halves {
  /** What is cut, and where: other texts for other cuts of the same kernel. */
  readonly name: string;
  /** The two, and behind them whatever else there is to do. */
  readonly kernels: readonly PlainKernel[];
  /** Memory that one hands to the next: all have these buffers behind the others. */
  readonly handed: readonly HandedBuffer[];
  /** Whether both find all of some result, of which the sum is taken: not where other halves will do. */
  readonly isAddedUp?: boolean;
  /** Whether it is worth doing though neither half touches less: what it leaves can be cut further. */
  readonly last?: boolean;
}

/** Memory between the two halves. */
export interface HandedBuffer {
  readonly name: string;
  readonly dtype: DType;
  readonly elements: number;
}

/** The halves along an axis that take no more than parts of operands. */
export function halvesAlong(
  name: string,
  extent: number,
  piece: (start: number, length: number) => PlainKernel,
): Halves[] {
  if (extent < 2) return [];
  const middle = middleOf(extent);
  const kernels = [piece(0, middle), piece(middle, extent - middle)];
  return [{ name: `${name} to ${middle}`, kernels, handed: [] }];
}

/** Where an axis is cut. */
export function middleOf(extent: number): number {
  return Math.ceil(extent / 2);
}

/** The statements with something else in the place of a variable. */
export function replaceVariable(
  statements: readonly Statement[],
  name: string,
  by: (variable: Expr) => Expr,
): Statement[] {
  const expr = sharedRewrite((before, recur): Expr =>
    before.kind === "var" && before.name === name ? by(before) : withParts(before, recur)
  );
  return mapStatements(statements, { expr });
}

/** What stands for a variable whose axis begins later; a number where it has but one value. */
export function movedBy(start: number, extent: number): (variable: Expr) => Expr {
  return (variable) =>
    extent === 1
      ? integerConstant(start)
      : start === 0
      ? variable
      : integerBinary("add", variable, integerConstant(start));
}

/** The buffers with those that are handed on behind them. */
export function withHanded(
  buffers: readonly KernelBuffer[],
  handed: readonly HandedBuffer[],
  access: "read" | "write",
): KernelBuffer[] {
  return [...buffers, ...handed.map((buffer): KernelBuffer => ({ ...buffer, access }))];
}
