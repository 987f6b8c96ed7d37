/** The second phase of a matmul whose k is in slices: adds up the slices' sums and runs the epilogue. */
import type { KernelBuffer } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import {
  blockRange,
  constant,
  divideWithRest,
  increment,
  timesConstant,
  whileBelow,
} from "./control_flow.ts";
import { callEpilogue } from "./epilogue.ts";
import { kernelFunction, type KernelPhase } from "./template.ts";

/** Sums of all slices, `[slice, batch, row, column]` in shared scratch. */
export interface PartialSums {
  readonly slices: number;
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
  /** Bytes between rows; a whole number of vectors. */
  readonly rowBytes: number;
}

/** Rows of a work unit. */
const UNIT_ROWS = 16;

/** Size of the slices' sums. */
export function slicesBytes({ slices, batch, rows, rowBytes }: PartialSums): number {
  return slices * batch * rows * rowBytes;
}

/** Emits the phase; its units are blocks of rows. Slices are added in order. */
export function emitAddSlices(
  module: ModuleBuilder,
  kernel: { readonly name: string; readonly buffers: readonly KernelBuffer[] },
  sums: PartialSums,
  epilogue: number,
): KernelPhase {
  const fn = kernelFunction(module, `${kernel.name}_add_slices`, kernel.buffers);
  const { f } = fn;
  const rowBlocks = Math.ceil(sums.rows / UNIT_ROWS);
  const [batch, rowBlock] = [f.local("i32"), f.local("i32")];
  const [start, end] = [f.local("address"), f.local("address")];
  whileBelow(f, fn.lo, fn.hi, () => {
    divideWithRest(f, fn.lo, rowBlocks, batch, rowBlock);
    const rows = blockRange(f, rowBlock, UNIT_ROWS, sums.rows);
    f.get(batch);
    timesConstant(f, sums.rows);
    f.get(rows.start);
    f.i32.add();
    f.address.times(sums.rowBytes);
    f.get(fn.sharedScratch);
    f.address.add();
    f.tee(start);
    f.get(rows.count);
    f.address.plus(sums.rowBytes);
    f.set(end);
    addSlices(f, start, end, sums);
    const columns = { start: constant(f, 0), count: constant(f, sums.columns) };
    callEpilogue(epilogue, fn, { batch, rows, columns }, start);
    increment(f, fn.lo, 1);
  });
  return { functionIndex: f.index, units: sums.batch * rowBlocks };
}

/** Adds, from `start` to `end`, what the other slices have at the same place. */
function addSlices(f: FunctionBuilder, start: Local, end: Local, sums: PartialSums): void {
  const sliceBytes = slicesBytes({ ...sums, slices: 1 });
  const address = f.local("address");
  f.get(start);
  f.set(address);
  whileBelow(f, address, end, () => {
    f.get(address);
    for (let slice = 0; slice < sums.slices; slice++) {
      f.get(address);
      f.v128.load(slice * sliceBytes);
      if (slice > 0) f.f32x4.add();
    }
    f.v128.store();
    increment(f, address, 16);
  });
}
