/** The product of a block of rows with packed panels, as register tiles. */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { emitMicrokernel, PANEL_COLUMNS } from "./microkernel.ts";
import { getPlus, i32s, increment, timesConstant, whileBelow } from "./control_flow.ts";

/** Arguments of a block product, as locals and constants of the calling function. */
export interface GemmBlockCall {
  /** Address of the rows' byte addresses. */
  readonly rowTable: Local;
  /** Bytes added to each row's address. */
  readonly aOffset: Local;
  readonly rows: Local;
  /** Address of the packed panels. */
  readonly packed: Local;
  readonly k: Local;
  /** Columns of the product; the last panel is padded to a whole number of vectors. */
  readonly columns: Local;
  readonly c: Local;
  /** Bytes between rows of the product. */
  readonly cRowBytes: number;
  /** Not zero: add to what the block holds. */
  readonly accumulate: Local;
}

/** Emits a call of the function that {@linkcode emitGemmBlock} gave. */
export function callGemmBlock(f: FunctionBuilder, block: number, call: GemmBlockCall): void {
  f.get(call.rowTable);
  f.get(call.aOffset);
  f.get(call.rows);
  f.get(call.packed);
  f.get(call.k);
  f.get(call.columns);
  f.get(call.c);
  f.i32.const(call.cRowBytes);
  f.get(call.accumulate);
  f.call(block);
}

/**
 * Emits, once a module, the function `(rowTable, aOffset, rows, packed, k, columns, c, cRowBytes,
 * accumulate)` that runs register tiles of `tileRows` rows, panel by panel: a panel stays in the first
 * cache while the rows stream past it.
 */
export function emitGemmBlock(
  module: ModuleBuilder,
  tileRows: number,
  relaxedSimd: boolean,
): number {
  const name = `gemm_block_${tileRows}${relaxedSimd ? "_relaxed" : ""}`;
  return module.once(name, () => {
    const panels = [1, 2].map((vectors) => emitPanelRows(module, tileRows, vectors, relaxedSimd));
    const f = module.function(name, { params: i32s(9), results: [] });
    emitBlockBody(f, panels);
    return f.index;
  });
}

function emitBlockBody(f: FunctionBuilder, panels: readonly number[]): void {
  const [narrow, wide] = panels;
  if (narrow === undefined || wide === undefined) throw new RangeError("Two panel widths wanted");
  const columns = f.param(5);
  const done = f.local("i32");
  const packed = f.param(3);
  const c = f.param(6);
  const callPanel = (panel: number) => {
    for (const position of [0, 1, 2, 3, 4, 6, 7, 8]) f.get(f.param(position));
    f.call(panel);
  };
  whileBelow(f, done, columns, () => {
    f.get(columns);
    f.get(done);
    f.i32.sub();
    f.i32.const(PANEL_COLUMNS / 2);
    f.i32.gt_u();
    f.if(() => callPanel(wide), () => callPanel(narrow));
    increment(f, done, PANEL_COLUMNS);
    increment(f, c, 4 * PANEL_COLUMNS);
    f.get(packed);
    f.get(f.param(4));
    timesConstant(f, 4 * PANEL_COLUMNS);
    f.i32.add();
    f.set(packed);
  });
}

/** `(rowTable, aOffset, rows, panel, k, c, cRowBytes, accumulate)`: all rows against one panel. */
function emitPanelRows(
  module: ModuleBuilder,
  tileRows: number,
  vectors: number,
  relaxedSimd: boolean,
): number {
  const tiles = Array.from(
    { length: tileRows },
    (_, index) => emitMicrokernel(module, index + 1, vectors, relaxedSimd),
  );
  const name = `panel_rows_${tileRows}x${4 * vectors}${relaxedSimd ? "_relaxed" : ""}`;
  const f = module.function(name, { params: i32s(8), results: [] });
  const [rowTable, rows, c, cRowBytes] = [f.param(0), f.param(2), f.param(5), f.param(6)];
  const callTile = (tile: number) => {
    for (const position of [0, 1, 3, 4, 5, 6, 7]) f.get(f.param(position));
    f.call(tile);
  };
  const fullTile = tiles[tileRows - 1];
  if (fullTile === undefined) throw new RangeError(`No register tile of ${tileRows} rows`);
  f.block((finished) => {
    f.loop((again) => {
      f.get(rows);
      f.i32.const(tileRows);
      f.i32.lt_u();
      f.brIf(finished);
      callTile(fullTile);
      increment(f, rowTable, 4 * tileRows);
      f.get(c);
      f.get(cRowBytes);
      timesConstant(f, tileRows);
      f.i32.add();
      f.set(c);
      increment(f, rows, -tileRows);
      f.br(again);
    });
  });
  tiles.slice(0, -1).forEach((tile, index) => {
    getPlus(f, rows, -(index + 1));
    f.i32.eqz();
    f.if(() => callTile(tile));
  });
  return f.index;
}
