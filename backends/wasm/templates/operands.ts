/** The two sides of a block product, brought from strided memory into what the microkernels read. */
import { roundUp } from "../../../compiler/multiples.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { constant, localPlus } from "./control_flow.ts";
import { type AxisList, emitOffsetTable, emitStrideTable } from "./offset_table.ts";
import { chooseColumnPacking, type ColumnPacking, emitPackColumns } from "./pack_columns.ts";
import { chooseRowPacking, emitPackRows, type RowPacking } from "./pack_rows.ts";
import { COLUMN_GROUP, packedColumnsBytes } from "./panels.ts";
import type { ScratchLayout } from "./template.ts";

const CACHE_LINE = 64;

/** A range of an axis list: locals with its first element and its length. */
export interface Range {
  readonly start: Local;
  readonly count: Local;
}

/** Rows as a block product takes them. */
export interface RowBlock {
  /** Address of the table of the rows' addresses. */
  readonly rowTable: Local;
  /** Bytes to add to each. */
  readonly offset: Local;
}

/** What a left operand is asked for at most. */
export interface LeftLimits {
  /** Rows that are chosen. */
  readonly rows: number;
  /** Rows that are prepared at once; all if undefined. */
  readonly rowGroup?: number;
  readonly k: number;
}

/** Bytes that a left operand needs for its packed rows, if it packs any. */
export function packedRowsBytes({ rows, rowGroup = rows, k }: LeftLimits): number {
  return rowGroup * packedRowBytes(k);
}

/** A line more than needed, so that neighbouring rows do not share a set of the first cache. */
function packedRowBytes(k: number): number {
  return roundUp(4 * k, CACHE_LINE) + CACHE_LINE;
}

/** Scratch offsets to pack at, of operands that are not packed at the same time. */
export interface PackedAt {
  readonly left: number | undefined;
  readonly right: number | undefined;
}

/** The left side: a table of row addresses, and packed rows where `k` is not contiguous. */
export class LeftOperand {
  readonly packing: RowPacking;
  readonly #module: ModuleBuilder;
  readonly #rows: AxisList;
  readonly #k: AxisList;
  readonly #rowGroup: number;
  readonly #packedRowBytes: number;
  readonly #offsets: { readonly [Part in keyof LeftScratch]: number };
  #scratch: LeftScratch | undefined;

  /**
   * Reserves scratch for blocks within the limits. Packed rows lie at the offset `packedAt` if there is
   * one.
   */
  constructor(
    module: ModuleBuilder,
    rows: AxisList,
    k: AxisList,
    limits: LeftLimits,
    layout: ScratchLayout,
    packedAt?: number | undefined,
  ) {
    this.#module = module;
    this.#rows = rows;
    this.#k = k;
    this.#rowGroup = limits.rowGroup ?? limits.rows;
    this.packing = chooseRowPacking(rows, k);
    this.#packedRowBytes = packedRowBytes(limits.k);
    const packs = this.packing !== "none";
    this.#offsets = {
      rowTable: layout.reserve(module.addressBytes * limits.rows),
      packedTable: layout.reserve(packs ? module.addressBytes * this.#rowGroup : 0),
      kTable: layout.reserve(packs ? module.addressBytes * limits.k : 0),
      packed: packedAt ?? layout.reserve(packs ? packedRowsBytes(limits) : 0),
    };
  }

  /** Emits what is done once, before any loop. */
  begin(f: FunctionBuilder, scratchBase: Local): void {
    const { rowTable, packedTable, kTable, packed } = this.#offsets;
    const scratch = {
      rowTable: localPlus(f, scratchBase, rowTable),
      packedTable: localPlus(f, scratchBase, packedTable),
      kTable: localPlus(f, scratchBase, kTable),
      packed: localPlus(f, scratchBase, packed),
    };
    this.#scratch = scratch;
    if (this.packing === "none") return;
    const rows = constant(f, this.#rowGroup);
    emitStrideTable(f, scratch.packedTable, rows, scratch.packed, this.#packedRowBytes);
  }

  /** Emits the choice of rows; `base` is the address of element zero. */
  setRows(f: FunctionBuilder, base: Local, rows: Range): void {
    emitOffsetTable(f, { axes: this.#rows, table: this.#parts.rowTable, base, ...rows });
  }

  /** Emits the preparation of a block of k of some of the chosen rows, the first ones by default. */
  block(f: FunctionBuilder, rowCount: Local, k: Range, firstRow?: Local): RowBlock {
    const { packedTable, kTable, packed } = this.#parts;
    const offset = f.local("address");
    const rowTable = f.local("address");
    f.get(this.#parts.rowTable);
    if (firstRow !== undefined) {
      f.get(firstRow);
      f.address.plus(f.address.bytes);
    }
    f.set(rowTable);
    if (this.packing === "none") {
      f.get(k.start);
      f.address.times(4);
      f.set(offset);
      return { rowTable, offset };
    }
    emitOffsetTable(f, { axes: this.#k, table: kTable, ...k });
    for (const local of [rowTable, kTable, k.count, rowCount, packed]) f.get(local);
    f.i32.const(this.#packedRowBytes);
    f.call(emitPackRows(this.#module, this.packing));
    f.address.const(0);
    f.set(offset);
    return { rowTable: packedTable, offset };
  }

  get #parts(): LeftScratch {
    if (this.#scratch === undefined) throw new TypeError("The left operand has not begun");
    return this.#scratch;
  }
}

interface LeftScratch {
  readonly rowTable: Local;
  readonly packedTable: Local;
  readonly kTable: Local;
  readonly packed: Local;
}

/** What a right operand is asked for at most. */
export interface RightLimits {
  readonly columns: number;
  readonly k: number;
  /** Columns of its widest panels. */
  readonly panel: number;
}

/** The right side: packed panels of columns. */
export class RightOperand {
  readonly #module: ModuleBuilder;
  readonly #columns: AxisList;
  readonly #k: AxisList;
  readonly #packing: ColumnPacking;
  readonly #panel: number;
  readonly #offsets: { readonly [Part in keyof RightScratch]: number };
  #scratch: RightScratch | undefined;

  /**
   * Reserves scratch for blocks within the limits. Packed columns lie at the offset `packedAt` if there
   * is one.
   */
  constructor(
    module: ModuleBuilder,
    columns: AxisList,
    k: AxisList,
    limits: RightLimits,
    layout: ScratchLayout,
    packedAt?: number | undefined,
  ) {
    this.#module = module;
    this.#columns = columns;
    this.#k = k;
    this.#packing = chooseColumnPacking(columns, k);
    this.#panel = limits.panel;
    this.#offsets = {
      columnTable: layout.reserve(module.addressBytes * roundUp(limits.columns, COLUMN_GROUP)),
      kTable: layout.reserve(module.addressBytes * limits.k),
      packed: packedAt ?? layout.reserve(packedColumnsBytes(limits.columns, limits.k)),
    };
  }

  /** Emits what is done once, before any loop. */
  begin(f: FunctionBuilder, scratchBase: Local): void {
    const { columnTable, kTable, packed } = this.#offsets;
    this.#scratch = {
      columnTable: localPlus(f, scratchBase, columnTable),
      kTable: localPlus(f, scratchBase, kTable),
      packed: localPlus(f, scratchBase, packed),
    };
  }

  /** Address of the packed panels. */
  get packed(): Local {
    return this.#parts.packed;
  }

  /** Emits the choice of columns; `base` is the address of element zero. */
  setColumns(f: FunctionBuilder, base: Local, columns: Range): void {
    const table = this.#parts.columnTable;
    emitOffsetTable(f, { axes: this.#columns, table, base, padTo: COLUMN_GROUP, ...columns });
  }

  /** Emits the packing of a block of k of the chosen columns. */
  pack(f: FunctionBuilder, columnCount: Local, k: Range): void {
    const { columnTable, kTable, packed } = this.#parts;
    emitOffsetTable(f, { axes: this.#k, table: kTable, ...k });
    for (const local of [columnTable, kTable, k.count, columnCount, packed]) f.get(local);
    f.call(emitPackColumns(this.#module, this.#packing, this.#panel));
  }

  get #parts(): RightScratch {
    if (this.#scratch === undefined) throw new TypeError("The right operand has not begun");
    return this.#scratch;
  }
}

interface RightScratch {
  readonly columnTable: Local;
  readonly kTable: Local;
  readonly packed: Local;
}

/** A right side that lies in memory as panels already, each as long as all of k. */
export class StoredPanels {
  readonly #k: number;
  #address: Local | undefined;

  constructor(k: number) {
    this.#k = k;
  }

  /** Emits what is done once, before any loop. */
  begin(f: FunctionBuilder): void {
    this.#address = f.local("address");
  }

  /** Emits the choice of columns, which begin a panel; `base` is the address of the first panel. */
  setColumns(f: FunctionBuilder, base: Local, columns: Range): void {
    f.get(base);
    f.get(columns.start);
    f.address.plus(4 * this.#k);
    f.set(this.packed);
  }

  /** Address of the chosen columns' panels. */
  get packed(): Local {
    if (this.#address === undefined) throw new TypeError("The right operand has not begun");
    return this.#address;
  }
}
