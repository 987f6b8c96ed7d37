/** Attention's operands: where a matrix of the batch lies, and its axes as lists. */
import type { MatrixOperand, VectorOperand } from "../../../compiler/loop_ir.ts";
import type { Local } from "../encoder.ts";
import { localPlus } from "./control_flow.ts";
import { AxisList } from "./offset_table.ts";
import type { KernelFunction } from "./template.ts";

/** The axis along an operand's rows. */
export function rowAxis(operand: VectorOperand, extent: number): AxisList {
  return new AxisList([{ extent, stride: operand.rowStride }]);
}

/** The axis along an operand's columns. */
export function columnAxis(operand: MatrixOperand, extent: number): AxisList {
  return new AxisList([{ extent, stride: operand.columnStride }]);
}

/** A new local with the address of the first element of batch entry `entry`, a flat index. */
export function matrixBase(
  fn: KernelFunction,
  operand: VectorOperand,
  batch: readonly number[],
  entry: Local,
): Local {
  const { f } = fn;
  const base = localPlus(f, fn.buffer(operand.buffer), 4 * operand.offset);
  const axes = batch.map((extent, axis) => ({ extent, stride: operand.batchStrides[axis] ?? 0 }));
  new AxisList(axes).getByteOffset(f, entry);
  f.get(base);
  f.address.add();
  f.set(base);
  return base;
}

/** A new local with the address of row `row` of the matrix at `base`. */
export function rowAddress(
  fn: KernelFunction,
  operand: VectorOperand,
  base: Local,
  row: Local,
): Local {
  const { f } = fn;
  const address = f.local("address");
  f.get(row);
  f.address.times(4 * operand.rowStride);
  f.get(base);
  f.address.add();
  f.set(address);
  return address;
}
