/** Kernels of one loop, written in one way however it is divided into blocks. */
import type { Expr, LoopRange, Statement } from "../loop_ir.ts";
import { integerBinary, variable } from "../lower/ranges.ts";
import { integerConstant } from "../index_expr.ts";
import type { PlainLoopKernel } from "../sizes.ts";

/**
 * The kernel with its one loop over `u * block .. min(u * block + block, total)`, so that loops of one
 * block, of full blocks and of a last block that is shorter are of one form. Undefined where it is not
 * one such loop, or is written so already.
 */
export function blockedForm(kernel: PlainLoopKernel): PlainLoopKernel | undefined {
  const [loop, ...others] = kernel.body;
  if (loop?.kind !== "loop" || others.length > 0) return undefined;
  const unit = kernel.parallel.variable;
  const blocks = blocksOf(loop.range, unit, kernel.parallel.extent);
  if (blocks === undefined) return undefined;
  const start = integerBinary("mul", variable(unit), integerConstant(blocks.block));
  const end = integerBinary("add", start, integerConstant(blocks.block));
  const last = integerBinary("min", end, integerConstant(blocks.total));
  const range = { variable: loop.range.variable, start, end: last };
  const body: Statement[] = [{ ...loop, range }];
  return { ...kernel, body };
}

/** How the range divides a loop, where all of its numbers are known and none is cut short. */
function blocksOf(
  { start, end }: LoopRange,
  unit: string,
  units: number,
): { readonly block: number; readonly total: number } | undefined {
  if (units === 1 && numberOf(start) === 0) {
    const total = numberOf(end);
    return total === undefined ? undefined : { block: total, total };
  }
  const block = factorOf(start, unit);
  const isFull = end.kind === "binary" && end.op === "add" && factorOf(end.a, unit) === block &&
    numberOf(end.b) === block;
  return isFull && block !== undefined ? { block, total: units * block } : undefined;
}

/** The number that the expression multiplies the variable by, where that is all it does. */
function factorOf(expr: Expr, name: string): number | undefined {
  const isMultiple = expr.kind === "binary" && expr.op === "mul" && expr.a.kind === "var" &&
    expr.a.name === name;
  return isMultiple ? numberOf(expr.b) : undefined;
}

function numberOf(expr: Expr): number | undefined {
  return expr.kind === "const" ? expr.value : undefined;
}
