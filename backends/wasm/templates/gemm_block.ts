/** The product of a block of rows with packed panels, as register tiles. */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { emitMicrokernel, type Microkernel } from "./microkernel.ts";
import { COLUMN_GROUP, forEachPanel, panelWidths } from "./panels.ts";
import { getPlus, increment } from "./control_flow.ts";

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
  /**
   * Of panels that were stored once, and so are in no near cache: the first of their rows that is
   * multiplied, and how many they have. Others are in scratch, and have `k`.
   */
  readonly stored?: { readonly kStart: Local; readonly kLength: number } | undefined;
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
  if (call.stored === undefined) {
    f.i32.const(0);
    f.get(call.k);
  } else {
    f.get(call.stored.kStart);
    f.i32.const(call.stored.kLength);
  }
  f.i32.const(Number(call.stored !== undefined));
  f.call(block);
}

/**
 * Emits, once a module, the function `(rowTable, aOffset, rows, packed, k, columns, c, cRowBytes,
 * accumulate, kStart, kLength, areFar)` that runs register tiles, panel by panel: a panel, or as much
 * of its `kLength` rows as are multiplied, stays in the first cache while the rows stream past it. Where
 * the panels are far, not zero, each is brought near during the one before it.
 */
export function emitGemmBlock(
  module: ModuleBuilder,
  tile: Microkernel,
  relaxedSimd: boolean,
): number {
  const name = `gemm_block_${tile.rows}x${tile.columns}${relaxedSimd ? "_relaxed" : ""}`;
  return module.once(name, () => {
    const panelRows = new Map(
      panelWidths(tile.columns).map((columns) =>
        [columns, emitPanelRows(module, { ...tile, columns }, relaxedSimd)] as const
      ),
    );
    const params = [
      "address",
      "address",
      "i32",
      "address",
      "i32",
      "i32",
      "address",
      "i32",
      "i32",
      "i32",
      "i32",
      "i32",
    ] as const;
    const f = module.function(name, { params, results: [] });
    emitBlockBody(f, tile, panelRows);
    return f.index;
  });
}

function emitBlockBody(
  f: FunctionBuilder,
  tile: Microkernel,
  panelRows: ReadonlyMap<number, number>,
): void {
  const [packed, columns, c] = [f.param(3), f.param(5), f.param(6)];
  const [kStart, kLength] = [f.param(9), f.param(10)];
  const [panel, next] = [f.local("address"), f.local("address")];
  forEachPanel(f, columns, tile.columns, (width, left) => {
    const callee = panelRows.get(width);
    if (callee === undefined) throw new RangeError(`No function for panels of ${width} columns`);
    const setPlus = (sum: Local, address: Local, rows: Local) => {
      f.get(address);
      f.get(rows);
      f.address.plus(4 * width);
      f.set(sum);
    };
    setPlus(panel, packed, kStart);
    setPlus(packed, packed, kLength);
    setPlus(next, packed, kStart);
    for (const parameter of [0, 1, 2]) f.get(f.param(parameter));
    f.get(panel);
    for (const parameter of [4, 6, 7, 8]) f.get(f.param(parameter));
    f.get(next);
    // Whether there is another panel as wide.
    f.get(left);
    f.i32.const(2 * width - COLUMN_GROUP);
    f.i32.gt_s();
    f.get(f.param(11));
    f.i32.and();
    f.call(callee);
    increment(f, c, 4 * width);
  });
}

/**
 * `(rowTable, aOffset, rows, panel, k, c, cRowBytes, accumulate, next, touches)`: all rows against one
 * panel. With `touches` not zero each tile brings near a part of the next panel, which is as wide.
 */
function emitPanelRows(module: ModuleBuilder, tile: Microkernel, relaxedSimd: boolean): number {
  const { rows: tileRows, columns } = tile;
  const tiles = Array.from(
    { length: tileRows },
    (_, index) => emitMicrokernel(module, { rows: index + 1, columns }, relaxedSimd),
  );
  const name = `panel_rows_${tileRows}x${columns}${relaxedSimd ? "_relaxed" : ""}`;
  const params = [
    "address",
    "address",
    "i32",
    "address",
    "i32",
    "address",
    "i32",
    "i32",
    "address",
    "i32",
  ] as const;
  const f = module.function(name, { params, results: [] });
  const [rowTable, rows, k] = [f.param(0), f.param(2), f.param(4)];
  const [c, cRowBytes] = [f.param(5), f.param(6)];
  const tilesDone = f.local("i32");
  const callTile = (tile: number) => {
    for (const position of [0, 1, 3, 4, 5, 6, 7, 8]) f.get(f.param(position));
    // The panel has as many parts of `4 k` bytes as columns.
    f.get(tilesDone);
    f.i32.const(columns - 1);
    f.i32.and();
    f.get(k);
    f.i32.mul();
    f.address.plus(4);
    f.get(f.param(9));
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
      increment(f, rowTable, f.address.bytes * tileRows);
      f.get(c);
      f.get(cRowBytes);
      f.address.plus(tileRows);
      f.set(c);
      increment(f, rows, -tileRows);
      increment(f, tilesDone, 1);
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
