/**
 * Byte offsets of a flattened list of axes: element `i` of `[e0, e1, ...]` lies at the sum of its
 * coordinates times their strides.
 */
import { mergeAxes, type StridedAxis } from "../../strided_axes.ts";
import type { FunctionBuilder, Local } from "../encoder.ts";
import { countedLoop } from "./control_flow.ts";

const ELEMENT_BYTES = 4;

/** A list of strided axes, the last fastest, with neighbours merged where their strides allow. */
export class AxisList {
  readonly axes: readonly StridedAxis[];
  /** Product of the extents. */
  readonly extent: number;

  constructor(axes: readonly StridedAxis[]) {
    this.extent = axes.reduce((total, axis) => total * axis.extent, 1);
    this.axes = mergeAxes(axes);
  }

  /** Whether all elements are neighbours. */
  get isContiguous(): boolean {
    return this.axes.length === 0 || (this.axes.length === 1 && this.#last.stride === 1);
  }

  /** Elements between neighbours, of a list that merged into one axis at most. */
  get step(): number {
    if (this.axes.length > 1) throw new RangeError("The axes have no common step");
    return this.#last.stride;
  }

  /** Whether elements `g * size` to `g * size + size - 1` are neighbours, for every whole group. */
  hasContiguousGroups(size: number): boolean {
    if (this.axes.length === 0) return false;
    return this.#last.stride === 1 && (this.axes.length === 1 || this.#last.extent % size === 0);
  }

  get #last(): StridedAxis {
    return this.axes.at(-1) ?? { extent: 1, stride: 0 };
  }

  /** Pushes the byte offset, an address, of the element whose flat index is in `index`. */
  getByteOffset(f: FunctionBuilder, index: Local): void {
    f.address.const(0);
    let inner = this.extent;
    this.axes.forEach(({ extent, stride }, position) => {
      inner = this.axes.slice(position + 1).reduce((total, axis) => total * axis.extent, 1);
      f.get(index);
      if (inner > 1) {
        f.i32.const(inner);
        f.i32.div_u();
      }
      if (position > 0) {
        f.i32.const(extent);
        f.i32.rem_u();
      }
      f.address.plus(stride * ELEMENT_BYTES);
    });
  }
}

/** What {@linkcode emitOffsetTable} writes. */
export interface OffsetTable {
  readonly axes: AxisList;
  /** Address of the table. */
  readonly table: Local;
  /** Flat index of the first element. */
  readonly start: Local;
  readonly count: Local;
  /** Entries are written for `count` rounded up to this; the last element's is repeated. */
  readonly padTo?: number;
  /** Added to each offset. */
  readonly base?: Local;
}

/** Emits code that writes a table of the byte offsets, or addresses, of neighbouring elements. */
export function emitOffsetTable(f: FunctionBuilder, spec: OffsetTable): void {
  const position = f.local("i32");
  const limit = f.local("i32");
  const index = f.local("i32");
  const padTo = spec.padTo ?? 1;
  f.get(spec.count);
  if (padTo > 1) {
    f.i32.const(padTo - 1);
    f.i32.add();
    f.i32.const(-padTo);
    f.i32.and();
  }
  f.set(limit);
  countedLoop(f, position, limit, 1, () => {
    f.get(spec.table);
    f.get(position);
    f.address.plus(f.address.bytes);
    getClamped(f, position, spec.count, padTo > 1);
    f.get(spec.start);
    f.i32.add();
    f.set(index);
    spec.axes.getByteOffset(f, index);
    if (spec.base !== undefined) {
      f.get(spec.base);
      f.address.add();
    }
    f.address.store();
  });
}

/** Pushes `position`, or `count - 1` beyond the end. */
function getClamped(f: FunctionBuilder, position: Local, count: Local, clamp: boolean): void {
  f.get(position);
  if (!clamp) return;
  f.get(count);
  f.i32.const(1);
  f.i32.sub();
  f.get(position);
  f.get(count);
  f.i32.lt_u();
  f.select("i32");
}

/** Emits code that writes the table of `count` addresses `base, base + step, ...`. */
export function emitStrideTable(
  f: FunctionBuilder,
  table: Local,
  count: Local,
  base: Local,
  stepBytes: number,
): void {
  const position = f.local("i32");
  countedLoop(f, position, count, 1, () => {
    f.get(table);
    f.get(position);
    f.address.plus(f.address.bytes);
    f.get(base);
    f.get(position);
    f.address.plus(stepBytes);
    f.address.store();
  });
}
