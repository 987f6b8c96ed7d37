/** Kernels whose extents and lengths are another number for each member of a step. */
import type { Expr, KernelBuffer, LoopKernel, Size } from "./loop_ir.ts";
import { integerConstant } from "./index_expr.ts";
import { mapStatements, sharedRewrite, withParts } from "./lower/expressions.ts";

/**
 * A size as a number.
 *
 * @param names The kernel's sizes.
 * @param values Their values, in the same order.
 * @throws {RangeError} When it is the name of no size that has a value.
 */
export function sizeIn(
  size: Size,
  names: readonly string[] | undefined,
  values: readonly number[],
): number {
  if (typeof size === "number") return size;
  const value = values[names?.indexOf(size) ?? -1];
  if (value === undefined) throw new RangeError(`The size "${size}" has no value`);
  return value;
}

/** A kernel of loops in which all numbers are known. */
export interface PlainLoopKernel extends LoopKernel {
  readonly buffers: readonly KernelBuffer[];
  readonly parallel: { readonly variable: string; readonly extent: number };
}

/**
 * The kernel with the values in place of its sizes.
 *
 * @throws {RangeError} When there are more or fewer values than sizes.
 */
export function withSizes(kernel: LoopKernel, values: readonly number[]): PlainLoopKernel {
  const { sizes = [], ...plain } = kernel;
  if (sizes.length !== values.length) {
    throw new RangeError(
      `Kernel ${kernel.name} has ${sizes.length} sizes, it got ${values.length} values`,
    );
  }
  const number = (size: Size) => sizeIn(size, sizes, values);
  const buffers = kernel.buffers.map((buffer) => ({
    ...buffer,
    elements: number(buffer.elements),
  }));
  const parallel = { ...kernel.parallel, extent: number(kernel.parallel.extent) };
  if (sizes.length === 0) return { ...plain, buffers, parallel };
  const expr = sharedRewrite((before, recur): Expr =>
    before.kind === "var" && sizes.includes(before.name)
      ? integerConstant(number(before.name))
      : withParts(before, recur)
  );
  return { ...plain, buffers, parallel, body: mapStatements(kernel.body, { expr }) };
}
