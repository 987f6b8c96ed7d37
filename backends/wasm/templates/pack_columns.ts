/**
 * Packs a right operand `b[k, columns]` into {@linkcode forEachPanel panels}. An element's address is
 * its column's address plus its `k`'s offset, both from tables, so any strides work; columns beyond
 * the last repeat it, and what is computed from them is never stored.
 */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { countedLoop, getPlus, increment, timesConstant, whileBelow } from "./control_flow.ts";
import type { AxisList } from "./offset_table.ts";
import { COLUMN_GROUP, forEachPanel } from "./panels.ts";
import { emitTouchLines, TOUCHED_ROWS } from "./touch_lines.ts";
import { emitTranspose, newQuad } from "./transpose.ts";

/**
 * `rows`: all columns are neighbours. `copy`: four columns are neighbours. `transpose`: four `k` are
 * neighbours. `gather`: nothing is known.
 */
export type ColumnPacking = "rows" | "copy" | "transpose" | "gather";

/** The fastest packing for an operand with these axes. */
export function chooseColumnPacking(columns: AxisList, k: AxisList): ColumnPacking {
  if (columns.isContiguous && columns.extent >= 2 * COLUMN_GROUP) return "rows";
  if (columns.hasContiguousGroups(COLUMN_GROUP)) return "copy";
  if (k.hasContiguousGroups(COLUMN_GROUP)) return "transpose";
  return "gather";
}

/**
 * Emits, once a module, the function `(columnTable, kTable, k, columns, packed)` that packs into panels
 * of at most `widest` columns. The tables hold byte addresses and byte offsets; the columns' is padded
 * to a multiple of {@linkcode COLUMN_GROUP}.
 */
export function emitPackColumns(
  module: ModuleBuilder,
  packing: ColumnPacking,
  widest: number,
): number {
  const name = `pack_columns_${packing}_${widest}`;
  return module.once(name, () => {
    if (packing === "rows") return emitPackWholeRows(module, name, widest);
    const gather = emitGatherGroup(module);
    const groups = packing === "copy"
      ? {
        panel: emitCopyGroup(module, widest / COLUMN_GROUP),
        whole: emitCopyGroup(module, 1),
        any: gather,
      }
      : { any: packing === "transpose" ? emitTransposeGroup(module, gather) : gather };
    const f = module.function(name, { params: PARAMETERS, results: [] });
    emitGroups(f, groups, widest);
    return f.index;
  });
}

const PARAMETERS = ["address", "address", "i32", "i32", "address"] as const;

/** Functions `(columnTable, kTable, k, packed, rowBytes)` for one group of columns. */
interface GroupFunctions {
  /** For the groups of one of the widest panels, all at once. */
  readonly panel?: number;
  /** For a group of which every column exists. */
  readonly whole?: number;
  readonly any: number;
}

function emitGroups(f: FunctionBuilder, groups: GroupFunctions, widest: number): void {
  const { panel, whole, any } = groups;
  const [columnTable, kTable, k, columns, packed] = [0, 1, 2, 3, 4].map((at) => f.param(at)) as [
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const call = (callee: number, width: number, group: number) => {
    getPlus(f, columnTable, f.address.bytes * COLUMN_GROUP * group);
    f.get(kTable);
    f.get(k);
    getPlus(f, packed, 4 * COLUMN_GROUP * group);
    f.i32.const(4 * width);
    f.call(callee);
  };
  const ifLeft = (left: Local, count: number, then: () => void, otherwise: () => void) => {
    f.get(left);
    f.i32.const(count);
    f.i32.ge_s();
    f.if(then, otherwise);
  };
  const callGroups = (left: Local, width: number) => {
    for (let group = 0; group < width / COLUMN_GROUP; group++) {
      const callAny = () => call(any, width, group);
      if (whole === undefined) callAny();
      else ifLeft(left, COLUMN_GROUP * (group + 1), () => call(whole, width, group), callAny);
    }
  };
  forEachPanel(f, columns, widest, (width, left) => {
    if (panel === undefined || width < widest) callGroups(left, width);
    else ifLeft(left, width, () => call(panel, width, 0), () => callGroups(left, width));
    increment(f, columnTable, f.address.bytes * width);
    f.get(packed);
    f.get(k);
    f.address.plus(4 * width);
    f.set(packed);
  });
}

function groupFunction(module: ModuleBuilder, name: string): FunctionBuilder {
  const params = ["address", "address", "i32", "address", "i32"] as const;
  return module.function(`pack_columns_${name}`, { params, results: [] });
}

function loadAddresses(f: FunctionBuilder, table: Local, count: number, step: number): Local[] {
  return Array.from({ length: count }, (_, position) => {
    const address = f.local("address");
    f.get(table);
    f.address.load(f.address.bytes * step * position);
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
  const offset = f.local("address");
  countedLoop(f, row, limit, step, () => {
    f.get(kTable);
    f.address.load();
    f.set(offset);
    body(offset);
    increment(f, kTable, f.address.bytes * step);
    f.get(packed);
    f.get(rowBytes);
    f.address.plus(step);
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
        f.address.add();
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

/** Rows and columns that one round of {@linkcode emitPackWholeRows} copies. */
const ROWS_AT_ONCE = 2;
const COLUMNS_AT_ONCE = 16;

/**
 * Two rows at a time, across all whole panels, and the columns left over as groups. Walking down one
 * panel at a time would touch every cache line and page of the operand once for each panel.
 */
function emitPackWholeRows(module: ModuleBuilder, name: string, width: number): number {
  const rest = emitPackColumns(module, "copy", width);
  const f = module.function(name, { params: PARAMETERS, results: [] });
  const [columnTable, kTable, k, columns, packed] = [0, 1, 2, 3, 4].map((at) => f.param(at)) as [
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const [row, pairedRows] = [f.local("i32"), f.local("i32")];
  const target = f.local("address");
  const [panels, panelBytes, rowBytes] = [f.local("i32"), f.local("i32"), f.local("i32")];
  f.get(columns);
  f.i32.const(Math.log2(width));
  f.i32.shr_u();
  f.set(panels);
  f.get(k);
  timesConstant(f, 4 * width);
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
      const source = f.local("address");
      f.get(columnTable);
      f.address.load();
      f.get(kTable);
      f.get(row);
      f.address.plus(f.address.bytes);
      f.address.load(f.address.bytes * position);
      f.address.add();
      f.set(source);
      return source;
    });
  const setTarget = () => {
    f.get(packed);
    f.get(row);
    f.address.plus(4 * width);
    f.set(target);
  };
  const copyRows = (count: number) => {
    const sources = rowSources(count);
    setTarget();
    copyAcrossPanels(f, { sources, target, width, panels, panelBytes });
    increment(f, row, count);
  };
  const touchedRows = f.local("i32");
  const nextTouched = f.local("i32");
  f.get(k);
  f.i32.const(-TOUCHED_ROWS);
  f.i32.and();
  f.set(touchedRows);
  whileBelow(f, row, touchedRows, () => {
    emitTouchLines(f, rowSources(TOUCHED_ROWS), rowBytes);
    f.get(row);
    f.i32.const(TOUCHED_ROWS);
    f.i32.add();
    f.set(nextTouched);
    whileBelow(f, row, nextTouched, () => copyRows(ROWS_AT_ONCE));
  });
  whileBelow(f, row, pairedRows, () => copyRows(ROWS_AT_ONCE));
  whileBelow(f, row, k, () => copyRows(1));
  callRest(f, rest, { columnTable, kTable, k, columns, packed, width, panels, panelBytes });
  return f.index;
}

interface PanelRows {
  /** Where neighbouring rows are read. */
  readonly sources: readonly Local[];
  /** Where the first of them is written in the first panel. */
  readonly target: Local;
  readonly width: number;
  readonly panels: Local;
  readonly panelBytes: Local;
}

/** Copies a few rows into every panel, a round of panels at a time and then one by one. */
function copyAcrossPanels(f: FunctionBuilder, rows: PanelRows): void {
  const left = f.local("i32");
  f.get(rows.panels);
  f.set(left);
  for (const count of new Set([COLUMNS_AT_ONCE / rows.width, 1])) {
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

function copyPanels(f: FunctionBuilder, rows: PanelRows, count: number): void {
  const { sources, target, width, panelBytes } = rows;
  for (let position = 0; position < count; position++) {
    sources.forEach((source, row) => {
      for (let vector = 0; vector < width / COLUMN_GROUP; vector++) {
        f.get(target);
        f.get(source);
        f.v128.load(4 * width * position + 16 * vector);
        f.v128.store(4 * width * row + 16 * vector);
      }
    });
    f.get(target);
    f.get(panelBytes);
    f.address.plus();
    f.set(target);
  }
  for (const source of sources) increment(f, source, 4 * width * count);
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
    readonly width: number;
    readonly panels: Local;
    readonly panelBytes: Local;
  },
): void {
  f.get(at.columnTable);
  f.get(at.panels);
  f.address.plus(f.address.bytes * at.width);
  f.get(at.kTable);
  f.get(at.k);
  f.get(at.columns);
  f.i32.const(at.width - 1);
  f.i32.and();
  f.get(at.packed);
  f.get(at.panels);
  f.get(at.panelBytes);
  f.i32.mul();
  f.address.plus();
  f.call(rest);
}

/** For several groups that make a whole panel the row is as long, whatever `rowBytes` says. */
function emitCopyGroup(module: ModuleBuilder, vectors: number): number {
  return module.once(`pack_columns_copy${COLUMN_GROUP * vectors}`, () => {
    const f = groupFunction(module, `copy${COLUMN_GROUP * vectors}`);
    const groups = loadAddresses(f, f.param(0), vectors, COLUMN_GROUP);
    rowLoop(f, f.param(2), 1, (offset) => {
      groups.forEach((group, vector) => {
        f.get(f.param(3));
        f.get(group);
        f.get(offset);
        f.address.add();
        f.v128.load();
        f.v128.store(16 * vector);
      });
    });
    return f.index;
  });
}

function emitTransposeGroup(module: ModuleBuilder, gather: number): number {
  return module.once("pack_columns_transpose4", () => {
    const f = groupFunction(module, "transpose4");
    const columns = loadAddresses(f, f.param(0), COLUMN_GROUP, 1);
    const [kTable, k, packed, rowBytes] = [f.param(1), f.param(2), f.param(3), f.param(4)];
    const quad = newQuad(f);
    const spare = newQuad(f);
    const whole = f.local("i32");
    const target = f.local("address");
    f.get(k);
    f.i32.const(-4);
    f.i32.and();
    f.set(whole);
    rowLoop(f, whole, 4, (offset) => {
      columns.forEach((column, position) => {
        f.get(column);
        f.get(offset);
        f.address.add();
        f.v128.load();
        f.set(quad[position] ?? quad[0]);
      });
      emitTranspose(f, quad, spare);
      quad.forEach((row, position) => {
        f.get(position === 0 ? packed : target);
        if (position > 0) {
          f.get(rowBytes);
          f.address.plus();
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
  });
}
