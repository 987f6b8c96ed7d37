/**
 * Packs a left operand `a[rows, k]` into rows with `k` contiguous, as the microkernels read them. An
 * element's address is its row's address plus its `k`'s offset, both from tables.
 */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { countedLoop, increment, timesConstant, whileBelow } from "./control_flow.ts";
import type { AxisList } from "./offset_table.ts";
import { emitTranspose, newQuad } from "./transpose.ts";

/**
 * `none`: the rows are contiguous already. `copy`: four `k` are neighbours. `transpose`: four rows are
 * neighbours. `gather`: nothing is known.
 */
export type RowPacking = "none" | "copy" | "transpose" | "gather";

/** The cheapest packing for an operand with these axes. */
export function chooseRowPacking(rows: AxisList, k: AxisList): RowPacking {
  if (k.isContiguous) return "none";
  if (k.hasContiguousGroups(4)) return "copy";
  if (rows.hasContiguousGroups(4)) return "transpose";
  return "gather";
}

/**
 * Emits, once a module, the function `(rowTable, kTable, k, rows, packed, packedRowBytes)`. For
 * `transpose` the first row is the first of its group of neighbours.
 */
export function emitPackRows(
  module: ModuleBuilder,
  packing: Exclude<RowPacking, "none">,
): number {
  return module.once(`pack_rows_${packing}`, () => {
    const gather = emitRowByRow(module, "gather");
    if (packing === "gather") return gather;
    if (packing === "copy") return emitRowByRow(module, "copy");
    return emitTransposeRows(module, gather);
  });
}

function packRowsFunction(module: ModuleBuilder, name: string): FunctionBuilder {
  const params = ["address", "address", "i32", "i32", "address", "i32"] as const;
  return module.function(`pack_rows_${name}`, { params, results: [] });
}

/** Advances the target to the next row or group of rows, and the table likewise. */
function nextRows(f: FunctionBuilder, count: number): void {
  const [rowTable, packed, rowBytes] = [f.param(0), f.param(4), f.param(5)];
  increment(f, rowTable, f.address.bytes * count);
  f.get(packed);
  f.get(rowBytes);
  f.address.plus(count);
  f.set(packed);
}

/** Runs `body` for elements `from` (kept) up to `limit`, with the element's offset and 4 times its index. */
function elementLoop(
  f: FunctionBuilder,
  from: Local,
  limit: Local,
  step: number,
  body: (offset: Local, at: Local) => void,
): void {
  const offset = f.local("address");
  const at = f.local("i32");
  whileBelow(f, from, limit, () => {
    f.get(from);
    timesConstant(f, 4);
    f.set(at);
    f.get(f.param(1));
    f.get(at);
    f.address.plus(f.address.bytes / 4);
    f.address.load();
    f.set(offset);
    body(offset, at);
    increment(f, from, step);
  });
}

function wholeGroups(f: FunctionBuilder, count: Local): Local {
  const whole = f.local("i32");
  f.get(count);
  f.i32.const(-4);
  f.i32.and();
  f.set(whole);
  return whole;
}

function emitRowByRow(module: ModuleBuilder, packing: "copy" | "gather"): number {
  return module.once(`pack_rows_one_by_one_${packing}`, () => {
    const f = packRowsFunction(module, packing);
    const [rowTable, k, rows, packed] = [f.param(0), f.param(2), f.param(3), f.param(4)];
    const row = f.local("i32");
    const source = f.local("address");
    const element = f.local("i32");
    const whole = wholeGroups(f, k);
    const move = (offset: Local, at: Local, load: () => void, store: () => void) => {
      f.get(packed);
      f.get(at);
      f.address.plus();
      f.get(source);
      f.get(offset);
      f.address.add();
      load();
      store();
    };
    countedLoop(f, row, rows, 1, () => {
      f.get(rowTable);
      f.address.load();
      f.set(source);
      f.i32.const(0);
      f.set(element);
      if (packing === "copy") {
        elementLoop(
          f,
          element,
          whole,
          4,
          (offset, at) => move(offset, at, () => f.v128.load(), () => f.v128.store()),
        );
      }
      elementLoop(
        f,
        element,
        k,
        1,
        (offset, at) => move(offset, at, () => f.f32.load(), () => f.f32.store()),
      );
      nextRows(f, 1);
    });
    return f.index;
  });
}

/**
 * Four `k` at a time across all rows: so the operand is read along its lines, and what is written, a
 * part of each row, stays in the first cache.
 */
function emitTransposeRows(module: ModuleBuilder, gather: number): number {
  const f = packRowsFunction(module, "transpose");
  const [rowTable, kTable, k, rows, packed, rowBytes] = [0, 1, 2, 3, 4, 5].map((at) =>
    f.param(at)
  ) as [Local, Local, Local, Local, Local, Local];
  const element = f.local("i32");
  const wholeRows = wholeGroups(f, rows);
  const wholeK = wholeGroups(f, k);
  const quad = newQuad(f);
  const spare = newQuad(f);
  const offsets = quad.map(() => f.local("address"));
  const walk = { rowTable, rows: wholeRows, packed, rowBytes };
  elementLoop(f, element, wholeK, 4, (_offset, at) => {
    offsets.forEach((offset, position) => {
      f.get(kTable);
      f.get(at);
      f.address.plus(f.address.bytes / 4);
      f.address.load(f.address.bytes * position);
      f.set(offset);
    });
    rowGroupLoop(f, walk, at, (source, target) => {
      quad.forEach((vector, position) => {
        f.get(source);
        f.get(offsets[position] ?? source);
        f.address.add();
        f.v128.load();
        f.set(vector);
      });
      emitTranspose(f, quad, spare);
      quad.forEach((vector) => storeNextRow(f, target, rowBytes, () => f.get(vector)));
    });
  });
  elementLoop(f, element, k, 1, (offset, at) => {
    rowGroupLoop(f, walk, at, (source, target) => {
      f.get(source);
      f.get(offset);
      f.address.add();
      f.v128.load();
      f.set(quad[0]);
      for (let lane = 0; lane < 4; lane++) {
        f.get(target);
        f.get(quad[0]);
        f.v128.store32_lane(lane);
        f.get(target);
        f.get(rowBytes);
        f.address.plus();
        f.set(target);
      }
    });
  });
  gatherLastRows(f, gather, walk);
  return f.index;
}

interface RowWalk {
  readonly rowTable: Local;
  readonly rows: Local;
  readonly packed: Local;
  readonly rowBytes: Local;
}

/**
 * Runs `body` for each group of four rows, with the first row's address and with where element `at`
 * (in bytes) of its packed row lies; `body` moves that on by four rows.
 */
function rowGroupLoop(
  f: FunctionBuilder,
  walk: RowWalk,
  at: Local,
  body: (source: Local, target: Local) => void,
): void {
  const row = f.local("i32");
  const [source, target, entry] = [0, 1, 2].map(() => f.local("address")) as [
    Local,
    Local,
    Local,
  ];
  f.get(walk.packed);
  f.get(at);
  f.address.plus();
  f.set(target);
  f.get(walk.rowTable);
  f.set(entry);
  countedLoop(f, row, walk.rows, 4, () => {
    f.get(entry);
    f.address.load();
    f.set(source);
    body(source, target);
    increment(f, entry, 4 * f.address.bytes);
  });
}

function storeNextRow(f: FunctionBuilder, target: Local, rowBytes: Local, get: () => void): void {
  f.get(target);
  get();
  f.v128.store();
  f.get(target);
  f.get(rowBytes);
  f.address.plus();
  f.set(target);
}

/** Packs the rows beyond the whole groups of four. */
function gatherLastRows(f: FunctionBuilder, gather: number, walk: RowWalk): void {
  f.get(walk.rowTable);
  f.get(walk.rows);
  f.address.plus(f.address.bytes);
  f.get(f.param(1));
  f.get(f.param(2));
  f.get(f.param(3));
  f.i32.const(3);
  f.i32.and();
  f.get(walk.packed);
  f.get(walk.rows);
  f.get(walk.rowBytes);
  f.i32.mul();
  f.address.plus();
  f.get(walk.rowBytes);
  f.call(gather);
}
