/**
 * Packs a right operand `b[k, columns]` into panels of eight columns: panel `p` holds `k` rows of
 * eight, and the last, when at most four columns are left, `k` rows of four. An element's address is
 * its column's address plus its `k`'s offset, both from tables, so any strides work; columns beyond
 * the last repeat it, and what is computed from them is never stored.
 */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import {
  countedLoop,
  getPlus,
  i32s,
  increment,
  timesConstant,
  whileBelow,
} from "./control_flow.ts";
import { PANEL_COLUMNS } from "./microkernel.ts";
import type { AxisList } from "./offset_table.ts";
import { emitTouchLines, TOUCHED_ROWS } from "./touch_lines.ts";
import { emitTranspose, newQuad } from "./transpose.ts";

/**
 * `rows`: all columns are neighbours. `copy`: four columns are neighbours. `transpose`: four `k` are
 * neighbours. `gather`: nothing is known.
 */
export type ColumnPacking = "rows" | "copy" | "transpose" | "gather";

/** Columns that one step of a packing handles. */
export const COLUMN_GROUP = 4;

/** The fastest packing for an operand with these axes. */
export function chooseColumnPacking(columns: AxisList, k: AxisList): ColumnPacking {
  if (columns.isContiguous && columns.extent >= PANEL_COLUMNS) return "rows";
  if (columns.hasContiguousGroups(COLUMN_GROUP)) return "copy";
  if (k.hasContiguousGroups(COLUMN_GROUP)) return "transpose";
  return "gather";
}

/** Bytes that `columns` packed columns of length `k` take at most. */
export function packedColumnsBytes(columns: number, k: number): number {
  return 4 * k * Math.ceil(columns / PANEL_COLUMNS) * PANEL_COLUMNS;
}

/**
 * Emits, once a module, the function `(columnTable, kTable, k, columns, packed)`. The tables hold byte
 * addresses and byte offsets; the columns' is padded to a multiple of {@linkcode COLUMN_GROUP}.
 */
export function emitPackColumns(module: ModuleBuilder, packing: ColumnPacking): number {
  return module.once(`pack_columns_${packing}`, () => {
    if (packing === "rows") return emitPackWholeRows(module);
    const gather = emitGatherGroup(module);
    const transpose = packing === "transpose" ? emitTransposeGroup(module, gather) : undefined;
    const copy = packing === "copy"
      ? { narrow: emitCopyGroup(module, 1), wide: emitCopyGroup(module, 2) }
      : undefined;
    const f = module.function(`pack_columns_${packing}`, { params: i32s(5), results: [] });
    emitGroups(f, { wide: copy?.wide, whole: copy?.narrow, any: transpose ?? gather });
    return f.index;
  });
}

/** Functions `(columnTable, kTable, k, packed, rowBytes)` for one group of columns. */
interface GroupFunctions {
  /** For two neighbouring groups that fill a panel. */
  readonly wide: number | undefined;
  /** For a group of which every column exists. */
  readonly whole: number | undefined;
  readonly any: number;
}

function emitGroups(f: FunctionBuilder, groups: GroupFunctions): void {
  const [columnTable, kTable, k, columns, packed] = [0, 1, 2, 3, 4].map((at) => f.param(at)) as [
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const left = f.local("i32");
  const rowBytes = f.local("i32");
  const second = f.local("i32");
  const call = (group: number, table: () => void, target: () => void) => {
    table();
    f.get(kTable);
    f.get(k);
    target();
    f.get(rowBytes);
    f.call(group);
  };
  const callGroup = (table: () => void, target: () => void) => {
    const { whole, any } = groups;
    if (whole === undefined) return call(any, table, target);
    f.get(left);
    f.i32.const(COLUMN_GROUP);
    f.i32.ge_u();
    f.if(() => call(whole, table, target), () => call(any, table, target));
  };
  const callPanel = () => {
    f.get(left);
    f.i32.const(COLUMN_GROUP);
    f.i32.gt_u();
    f.set(second);
    f.i32.const(16);
    f.get(second);
    f.i32.shl();
    f.set(rowBytes);
    callGroup(() => f.get(columnTable), () => f.get(packed));
    f.get(second);
    f.if(() => {
      increment(f, left, -COLUMN_GROUP);
      callGroup(() => getPlus(f, columnTable, 4 * COLUMN_GROUP), () => getPlus(f, packed, 16));
      increment(f, left, COLUMN_GROUP);
    });
  };
  f.get(columns);
  f.set(left);
  const panelStart = f.local("i32");
  whileBelow(f, panelStart, columns, () => {
    const { wide } = groups;
    if (wide === undefined) {
      callPanel();
    } else {
      f.get(left);
      f.i32.const(PANEL_COLUMNS);
      f.i32.ge_u();
      f.if(() => call(wide, () => f.get(columnTable), () => f.get(packed)), callPanel);
    }
    increment(f, columnTable, 4 * PANEL_COLUMNS);
    f.get(packed);
    f.get(k);
    timesConstant(f, 4 * PANEL_COLUMNS);
    f.i32.add();
    f.set(packed);
    increment(f, left, -PANEL_COLUMNS);
    increment(f, panelStart, PANEL_COLUMNS);
  });
}

function groupFunction(module: ModuleBuilder, name: string): FunctionBuilder {
  return module.function(`pack_columns_${name}`, { params: i32s(5), results: [] });
}

function loadAddresses(f: FunctionBuilder, table: Local, count: number, step: number): Local[] {
  return Array.from({ length: count }, (_, position) => {
    const address = f.local("i32");
    f.get(table);
    f.i32.load(4 * step * position);
    f.set(address);
    return address;
  });
}

/** Emits `for (row = 0; row < k; row += step)` with the row's offset loaded and `packed` advanced. */
function rowLoop(
  f: FunctionBuilder,
  limit: Local,
  step: number,
  body: (offset: Local) => void,
): void {
  const [kTable, packed, rowBytes] = [f.param(1), f.param(3), f.param(4)];
  const row = f.local("i32");
  const offset = f.local("i32");
  countedLoop(f, row, limit, step, () => {
    f.get(kTable);
    f.i32.load();
    f.set(offset);
    body(offset);
    increment(f, kTable, 4 * step);
    f.get(packed);
    f.get(rowBytes);
    timesConstant(f, step);
    f.i32.add();
    f.set(packed);
  });
}

function emitGatherGroup(module: ModuleBuilder): number {
  return module.once("pack_columns_gather4", () => {
    const f = groupFunction(module, "gather4");
    const columns = loadAddresses(f, f.param(0), COLUMN_GROUP, 1);
    const lanes = f.local("v128");
    rowLoop(f, f.param(2), 1, (offset) => {
      columns.forEach((column, lane) => {
        f.get(column);
        f.get(offset);
        f.i32.add();
        if (lane === 0) {
          f.v128.load32_zero();
        } else {
          f.get(lanes);
          f.v128.load32_lane(lane);
        }
        f.set(lanes);
      });
      f.get(f.param(3));
      f.get(lanes);
      f.v128.store();
    });
    return f.index;
  });
}

/** Rows and panels that one round of {@linkcode emitPackWholeRows} copies. */
const ROWS_AT_ONCE = 2;
const PANELS_AT_ONCE = 2;

/**
 * Two rows at a time, across all whole panels, and the columns left over as groups. Walking down one
 * panel at a time would touch every cache line and page of the operand once for each panel.
 */
function emitPackWholeRows(module: ModuleBuilder): number {
  const rest = emitPackColumns(module, "copy");
  const f = module.function("pack_columns_rows", { params: i32s(5), results: [] });
  const [columnTable, kTable, k, columns, packed] = [0, 1, 2, 3, 4].map((at) => f.param(at)) as [
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const [row, pairedRows, target, panels, panelBytes, rowBytes] = Array.from(
    { length: 6 },
    () => f.local("i32"),
  ) as [Local, Local, Local, Local, Local, Local];
  f.get(columns);
  f.i32.const(Math.log2(PANEL_COLUMNS));
  f.i32.shr_u();
  f.set(panels);
  f.get(k);
  timesConstant(f, 4 * PANEL_COLUMNS);
  f.set(panelBytes);
  f.get(columns);
  timesConstant(f, 4);
  f.set(rowBytes);
  f.get(k);
  f.i32.const(-ROWS_AT_ONCE);
  f.i32.and();
  f.set(pairedRows);
  const rowSources = (count: number) =>
    Array.from({ length: count }, (_, position) => {
      const source = f.local("i32");
      f.get(columnTable);
      f.i32.load();
      f.get(kTable);
      f.get(row);
      timesConstant(f, 4);
      f.i32.add();
      f.i32.load(4 * position);
      f.i32.add();
      f.set(source);
      return source;
    });
  const setTarget = () => {
    f.get(packed);
    f.get(row);
    timesConstant(f, 4 * PANEL_COLUMNS);
    f.i32.add();
    f.set(target);
  };
  const copyRows = (count: number) => {
    const sources = rowSources(count);
    setTarget();
    copyAcrossPanels(f, { sources, target, panels, panelBytes });
    increment(f, row, count);
  };
  const touchedRows = f.local("i32");
  const nextTouched = f.local("i32");
  f.get(k);
  f.i32.const(-TOUCHED_ROWS);
  f.i32.and();
  f.set(touchedRows);
  whileBelow(f, row, touchedRows, () => {
    setTarget();
    emitTouchLines(f, rowSources(TOUCHED_ROWS), rowBytes, target);
    f.get(row);
    f.i32.const(TOUCHED_ROWS);
    f.i32.add();
    f.set(nextTouched);
    whileBelow(f, row, nextTouched, () => copyRows(ROWS_AT_ONCE));
  });
  whileBelow(f, row, pairedRows, () => copyRows(ROWS_AT_ONCE));
  whileBelow(f, row, k, () => copyRows(1));
  callRest(f, rest, { columnTable, kTable, k, columns, packed, panels, panelBytes });
  return f.index;
}

interface PanelRows {
  /** Where neighbouring rows are read. */
  readonly sources: readonly Local[];
  /** Where the first of them is written in the first panel. */
  readonly target: Local;
  readonly panels: Local;
  readonly panelBytes: Local;
}

/** Copies a few rows into every panel, a round of panels at a time and then one by one. */
function copyAcrossPanels(f: FunctionBuilder, rows: PanelRows): void {
  const left = f.local("i32");
  f.get(rows.panels);
  f.set(left);
  for (const count of [PANELS_AT_ONCE, 1]) {
    f.block((done) => {
      f.loop((again) => {
        f.get(left);
        f.i32.const(count);
        f.i32.lt_u();
        f.brIf(done);
        copyPanels(f, rows, count);
        increment(f, left, -count);
        f.br(again);
      });
    });
  }
}

function copyPanels(f: FunctionBuilder, { sources, target, panelBytes }: PanelRows, count: number) {
  for (let position = 0; position < count; position++) {
    sources.forEach((source, row) => {
      for (let vector = 0; vector < 2; vector++) {
        f.get(target);
        f.get(source);
        f.v128.load(4 * PANEL_COLUMNS * position + 16 * vector);
        f.v128.store(4 * PANEL_COLUMNS * row + 16 * vector);
      }
    });
    f.get(target);
    f.get(panelBytes);
    f.i32.add();
    f.set(target);
  }
  for (const source of sources) increment(f, source, 4 * PANEL_COLUMNS * count);
}

/** Packs the columns beyond the whole panels. */
function callRest(
  f: FunctionBuilder,
  rest: number,
  at: {
    readonly columnTable: Local;
    readonly kTable: Local;
    readonly k: Local;
    readonly columns: Local;
    readonly packed: Local;
    readonly panels: Local;
    readonly panelBytes: Local;
  },
): void {
  f.get(at.columnTable);
  f.get(at.panels);
  timesConstant(f, 4 * PANEL_COLUMNS);
  f.i32.add();
  f.get(at.kTable);
  f.get(at.k);
  f.get(at.columns);
  f.i32.const(PANEL_COLUMNS - 1);
  f.i32.and();
  f.get(at.packed);
  f.get(at.panels);
  f.get(at.panelBytes);
  f.i32.mul();
  f.i32.add();
  f.call(rest);
}

/** For eight whole neighbouring columns the row is 32 bytes, whatever `rowBytes` says. */
function emitCopyGroup(module: ModuleBuilder, vectors: number): number {
  const f = groupFunction(module, `copy${4 * vectors}`);
  if (vectors === 2) {
    f.i32.const(4 * PANEL_COLUMNS);
    f.set(f.param(4));
  }
  const groups = loadAddresses(f, f.param(0), vectors, COLUMN_GROUP);
  rowLoop(f, f.param(2), 1, (offset) => {
    groups.forEach((group, vector) => {
      f.get(f.param(3));
      f.get(group);
      f.get(offset);
      f.i32.add();
      f.v128.load();
      f.v128.store(16 * vector);
    });
  });
  return f.index;
}

function emitTransposeGroup(module: ModuleBuilder, gather: number): number {
  const f = groupFunction(module, "transpose4");
  const columns = loadAddresses(f, f.param(0), COLUMN_GROUP, 1);
  const [kTable, k, packed, rowBytes] = [f.param(1), f.param(2), f.param(3), f.param(4)];
  const quad = newQuad(f);
  const spare = newQuad(f);
  const whole = f.local("i32");
  const target = f.local("i32");
  f.get(k);
  f.i32.const(-4);
  f.i32.and();
  f.set(whole);
  rowLoop(f, whole, 4, (offset) => {
    columns.forEach((column, position) => {
      f.get(column);
      f.get(offset);
      f.i32.add();
      f.v128.load();
      f.set(quad[position] ?? quad[0]);
    });
    emitTranspose(f, quad, spare);
    quad.forEach((row, position) => {
      f.get(position === 0 ? packed : target);
      if (position > 0) {
        f.get(rowBytes);
        f.i32.add();
      }
      f.tee(target);
      f.get(row);
      f.v128.store();
    });
  });
  f.get(f.param(0));
  f.get(kTable);
  f.get(k);
  f.i32.const(3);
  f.i32.and();
  f.get(packed);
  f.get(rowBytes);
  f.call(gather);
  return f.index;
}
